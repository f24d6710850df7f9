"""Public names that load on first use: TensorFlow is dear."""

import ast
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazily(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package.

    Its names are those that it imports under `if TYPE_CHECKING:`, where type checkers and editors
    find them too.

    Args:
        package: its `__name__`.
        file: its `__file__`, which is read when a name is first asked for.
    """

    @functools.cache
    def homes() -> dict[str, str]:
        """Return the module of each name."""
        blocks = [n for n in ast.parse(Path(file).read_text("utf-8")).body if isinstance(n, ast.If)]
        imports = [n for block in blocks for n in block.body if isinstance(n, ast.ImportFrom)]
        return {alias.name: str(n.module) for n in imports for alias in n.names}

    def get(name: str) -> Any:
        if name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes()[name]), name)

    def names() -> list[str]:
        return sorted({*vars(importlib.import_module(package)), *homes()})

    return get, names
