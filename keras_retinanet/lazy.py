"""Names that load on first use, as importing TensorFlow takes seconds, or that a user gives."""

import importlib
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_retinanet.errors import UserError


def lazily(
    package: str, modules: Mapping[str, str], *, before: Callable[[], None] = lambda: None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package.

    Args:
        package: its `__name__`.
        modules: a module below it, itself such a name, or with a dot before it one of the package
            above -> the names that it gives, in one text.
        before: called before such a module is imported; may raise.
    """
    homes = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        before()
        return getattr(importlib.import_module(f".{homes[name]}", package), name)

    def names() -> list[str]:
        return sorted({*vars(importlib.import_module(package)), *homes, *modules})

    return get, names


def named_object(name: str, expected: str) -> Any:
    """Import what `name`, "module:attribute", stands for; the working folder is looked into too.

    Args:
        expected: for messages, such as "a callback as module:Class".

    Raises:
        UserError: the name has another form, or Python cannot import it.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute.isidentifier():
        raise UserError(f"Expected {expected}. Received: {name}.")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # a module may raise anything
        raise UserError(
            f"Expected {expected} that Python can import. Received: {name} "
            f"({type(error).__name__}: {error}). Check the names, or run in the folder of the "
            "module."
        ) from error


def require_tensorflow_backend() -> None:
    """Raise a `UserError` if Keras was told to use another backend than TensorFlow."""
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise UserError(
            "Expected Keras with the TensorFlow backend, for which this package is written. "
            f"Received: KERAS_BACKEND={backend}. Unset the variable, or set it to tensorflow."
        )


def register_with_keras(package: str, modules: Mapping[str, str]) -> None:
    """Let Keras load saved objects of `package` without an import of the modules that have them.

    `keras.saving.load_model` imports no package by itself; it knows the classes that were
    registered. A stand-in for each class is registered as soon as Keras is imported; it imports
    the class when Keras builds one. The class itself then takes its place.

    Args:
        package: the `__name__` under which the classes are registered.
        modules: a module below it -> the names of its registered classes, in one text.
    """

    def register(keras: ModuleType) -> None:
        known = keras.saving.get_custom_objects()
        for module, names in modules.items():
            for name in names.split():
                known.setdefault(f"{package}>{name}", _stand_in(f"{package}.{module}", name))

    if "keras" in sys.modules:
        register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _AfterImport("keras", register))


def _stand_in(module: str, name: str) -> type:
    def from_config(cls: type, config: dict[str, Any]) -> Any:
        return getattr(importlib.import_module(module), name).from_config(config)

    return type(name, (), {"from_config": classmethod(from_config)})


class _AfterImport(importlib.abc.MetaPathFinder):
    """Call `action` with the module `name` after its first import."""

    def __init__(self, name: str, action: Callable[[ModuleType], None]):
        self.name, self.action = name, action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self.action(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
