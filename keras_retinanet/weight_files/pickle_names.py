"""What each name in a pickle stands for here: one of a few builders of plain values, or nothing.

A pickle names classes and functions to call. Nothing that a file names is imported or called:
  what builds containers, NumPy arrays and scalars is done by the functions below;
  a class of no interest (an option holder, a logger's buffer) becomes INERT, which takes any
    call, state or item and keeps none;
  every other name, all functions among them, is refused.
Every object given here has a `__setstate__`, so that a pickle cannot set attributes of one.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import MAX_NAME, MAX_SIZE, Damaged, checked_shape


class Stateless:
    """Takes any state and keeps none."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignore `state`; torch hangs `_metadata` on its dicts."""


class Inert(Stateless):
    """Stands for an object that no weights are in."""

    __slots__ = ()

    def __call__(self, *_: Any) -> "Inert":
        return self

    def append(self, *_: Any) -> None:
        """Ignore items and entries."""

    extend = add = __setitem__ = append


INERT = Inert()


class Budget:
    """What calls may copy, so that one stored text or list is not copied a million times; a pickle
    that pickles made has it in its bytes first."""

    __slots__ = ("_left",)

    def __init__(self, size: int) -> None:
        self._left = size

    def spend(self, items: Any) -> None:
        """Count the sizes of `items`.

        Raises:
            Damaged: they are more than the file holds.
        """
        sized = (str, bytes, memoryview, list, tuple, dict)
        self._left -= sum(len(item) for item in items if isinstance(item, sized))
        if self._left < 0:
            raise Damaged("more data than the file holds")


class Bound(Stateless):
    """A builder within the budget of one pickle: with INERT, all that the unpickler can call."""

    __slots__ = ("_budget", "builder")

    def __init__(self, builder: Callable[..., Any], budget: Budget) -> None:
        self.builder, self._budget = builder, budget

    def __call__(self, *arguments: Any) -> Any:
        self._budget.spend(arguments)
        made = self.builder(*arguments)
        if isinstance(made, NumpyArray):
            made.budget = self._budget
        return made


class Items(list, Stateless):
    """A set as a list: its items need no hash then, and their order does no harm."""

    __slots__ = ()
    add = list.append


class Entries(dict, Stateless):
    """A dict with short keys of plain types alone: hashing nested ones can be made to end the
    process, and long ones, a million times, to take hours."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, (str, bytes)):
            simple = len(key) <= MAX_NAME
        elif isinstance(key, int):
            simple = key < MAX_SIZE and -key < MAX_SIZE
        else:
            simple = key is None or isinstance(key, float)
        if simple and isinstance(key, bytes):
            key = key.decode("latin1")
        super().__setitem__(key if simple else f"key{len(self)}", value)


class NumpyType:
    """numpy.dtype as pickled: made from a code such as "f4", then told the byte order."""

    __slots__ = ("dtype",)
    PLAIN = re.compile(r"[fiu][1248]|b1")

    def __init__(self, code: Any = None, *_: Any) -> None:
        code = code.decode("latin1") if isinstance(code, bytes) else code
        plain = isinstance(code, str) and self.PLAIN.fullmatch(code)
        self.dtype = np.dtype(code) if plain else None

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if self.dtype is not None and order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class NumpyArray:
    """numpy.ndarray as pickled: made empty, then told all. `value` None: not of numbers."""

    __slots__ = ("budget", "value")

    def __init__(self, value: np.ndarray | None = None) -> None:
        self.value = value
        self.budget: Budget | None = None

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, raw = state[-4:]
        if self.budget is not None:
            self.budget.spend(state)
        self.value = _array(raw, dtype, shape, "F" if fortran else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray | None:
    if not isinstance(dtype, NumpyType) or dtype.dtype is None:
        return None
    sides = checked_shape(shape)
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    # Python's integers: a product of sides does not wrap around.
    count = math.prod(sides)
    plain = isinstance(raw, (bytes, memoryview))
    if not plain or len(raw) != count * dtype.dtype.itemsize:
        raise Damaged("an array whose bytes do not fill its shape")
    array = np.frombuffer(raw, dtype.dtype).reshape(sides, order="F" if order == "F" else "C")
    array.flags.writeable = False
    return array


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    array = _array(raw, dtype, (), "C")
    return INERT if array is None else array.item()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> NumpyArray:
    return NumpyArray(_array(raw, dtype, shape, order))


def _dict(pairs: Any = ()) -> Entries:
    result = Entries()
    for key, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        result[key] = value
    return result


def _getattr(target: Any, name: Any, *_: Any) -> Any:
    if target is not INERT:
        raise UserError(refusal("builtins", "getattr"))
    return INERT


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """_codecs.encode, which is how protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Damaged("bytes in an unknown encoding")
    return text.encode("latin1")


NUMPY_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
NUMPY_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
BUILTINS = ("builtins", "__builtin__")
# Functions that stand for names.
BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _dict,
    ("collections", "Counter"): _dict,
    ("collections", "defaultdict"): lambda *_: Entries(),
    ("_codecs", "encode"): _encode,
    ("torch", "Size"): lambda sides=(): tuple(sides),
    ("numpy", "dtype"): NumpyType,
    **{(module, "_reconstruct"): lambda *_: NumpyArray() for module in NUMPY_MULTIARRAY},
    **{(module, "scalar"): _scalar for module in NUMPY_MULTIARRAY},
    **{(module, "_frombuffer"): _from_buffer for module in NUMPY_NUMERIC},
    **{(module, "dict"): _dict for module in BUILTINS},
    # How protocol 2 writes b"", and sets.
    **{(module, "bytes"): lambda *_: b"" for module in BUILTINS},
    **{(m, kind): Items for m in BUILTINS for kind in ("set", "frozenset", "list")},
    # The method of an inert class, as mmengine's loggers write it.
    **{(module, "getattr"): _getattr for module in BUILTINS},
}  # fmt: skip

# Of the standard library, what only holds values. Classes by module, then single names.
HOLDERS = {"argparse", "collections", "datetime", "decimal", "fractions", "pathlib", "uuid"}
HARMLESS = {
    *((module, kind) for module in BUILTINS
      for kind in ("object", "complex", "slice", "range", "int", "float", "str", "bool", "tuple",
                   "xrange", "long", "unicode")),
    ("collections", "deque"), ("datetime", "date"), ("datetime", "datetime"),
    ("datetime", "time"), ("datetime", "timedelta"), ("datetime", "timezone"),
    ("functools", "partial"), ("types", "SimpleNamespace"), ("random", "Random"),
    ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"),
    ("numpy", "ndarray"), ("numpy", "RandomState"), ("torch", "device"), ("torch", "Generator"),
    ("torch.serialization", "_get_layout"),
}  # fmt: skip
# State of numpy.random, in the words of each of its versions.
NUMPY_RANDOM = re.compile(r"__\w*ctor|__pyx_unpickle_\w+")
NUMPY_SCALARS = re.compile(r"(float|int|uint|bool|complex|str|bytes)\d*_?")
TORCH_VALUES = re.compile(
    r"(float|int|uint|bfloat|complex|bool|half|double|long|short|qint|quint)\w*"
    r"|strided|contiguous_format|preserve_format|channels_last\w*|per_\w*affine\w*"
)


def meaning(module: str, name: str) -> Callable[..., Any]:
    """Return what a name in a pickle stands for.

    Raises:
        UserError: for nothing that is admitted; the message says which name.
        Damaged: it is longer than any name.
    """
    if len(module) + len(name) > MAX_NAME:
        raise Damaged("a name longer than any class has")
    builder = BUILDERS.get((module, name))
    if builder is not None:
        return builder
    if _holds_values(module, name):
        return INERT
    raise UserError(refusal(module, name))


def _holds_values(module: str, name: str) -> bool:
    """Return whether a name is a class that calls nothing when it is made."""
    root = module.split(".")[0]
    foreign = root not in sys.stdlib_module_names and root not in ("__builtin__", "copy_reg")
    return bool(
        (module, name) in HARMLESS
        or (module == "numpy" and NUMPY_SCALARS.fullmatch(name))
        or (module.startswith("numpy.random") and NUMPY_RANDOM.fullmatch(name))
        or (module == "torch" and TORCH_VALUES.fullmatch(name))
        # A class by the custom of all who write Python, or a method of one: held, never called.
        or ((foreign or module in HOLDERS) and name[:1].isupper())
    )


def refusal(module: str, name: str) -> str:
    """The message about a name that is not admitted."""
    called = f"{module}.{name}".encode("unicode_escape").decode()[:100]
    return (
        f"expected a file of plain tensors. Received: a pickle that calls {called}, which is not "
        "run. Take a file of weights alone, or one from an origin you trust: "
        "torch.save(model.state_dict(), path)."
    )
