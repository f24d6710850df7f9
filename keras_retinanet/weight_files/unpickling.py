"""Pickles read by Python's own unpickler, which can reach nothing but what `pickle_names` gives.

A pickle is a program for a stack machine. `pickletools.genops` first decodes its steps without
running them: sizes are checked, and steps that hash, change or build anything but plain values are
replaced. Then `pickle.Unpickler` runs the rest, with names looked up in a list instead of imported.
Sources: the documentation in CPython's pickletools.py, and Modules/_pickle.c.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from keras_retinanet.weight_files.checkpoint import Damaged
from keras_retinanet.weight_files.mapped_file import CHUNK, ViewFile
from keras_retinanet.weight_files.pickle_names import Bound, Budget, Stateless, meaning

# A training checkpoint of ResNet-152 with its optimizer has a tenth of it; each makes < 100 bytes.
MAX_OPCODES = 3_000_000
# numpy.random pickles integers of 128 bits.
MAX_INTEGER_BITS = 512
# Memo places that every pickle may use; a longer one may use more.
MIN_MEMO = 256
DICT = b"cbuiltins\ndict\n)R"
# Steps that real dicts and sets would be hashed by, that would create objects of a class or that
# would make bytes that can be changed -> what gives our own containers or a plain call.
REPLACED = {
    "EMPTY_DICT": DICT,
    "EMPTY_SET": b"cbuiltins\nset\n)R",
    "FROZENSET": pickle.TUPLE,
    "NEWOBJ": pickle.REDUCE,
    "NEWOBJ_EX": pickle.POP + pickle.REDUCE,
    "FRAME": b"",  # its length is no longer true
}
REFUSED = {"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}
LARGE = {"BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINSTRING"}


class _Unpickler(pickle.Unpickler):
    """Looks names up in `builders`, then in `pickle_names`."""

    def __init__(
        self,
        program: bytes,
        buffers: list[memoryview],
        budget: Budget,
        builders: Mapping[tuple[str, str], Any],
        persistent: Callable[[Any], Any] | None,
    ) -> None:
        # Text of Python 2 is bytes, which latin1 keeps.
        super().__init__(io.BytesIO(program), encoding="latin1", buffers=buffers)
        self._budget, self._builders, self._persistent = budget, builders, persistent
        self._found: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name here; nothing is imported."""
        found = self._found.get((module, name))
        if found is None:
            found = self._builders.get((module, name)) or meaning(module, name)
            if not isinstance(found, Stateless):
                found = Bound(found, self._budget)
            self._found[module, name] = found
        return found

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage of torch's that a persistent id describes."""
        if self._persistent is None:
            raise Damaged("a persistent id, which only torch's files have")
        return self._persistent(pid)


def unpickle(
    file: ViewFile,
    builders: Mapping[tuple[str, str], Any] | None = None,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """Return what the pickle at the file's place builds, and leave the file behind it.

    Args:
        file: of which only this pickle is read.
        builders: (module, name) -> what it stands for, before `pickle_names` is asked.
        persistent: gives the object for a persistent id; without it there are none.

    Raises:
        Damaged, or any error of Python's: this is no whole pickle.
        UserError: it names what is not admitted.
    """
    place = file.tell()
    budget = Budget(2 * (file.seek(0, io.SEEK_END) - place))
    file.seek(place)
    program, buffers = _plain_program(file)
    return _Unpickler(program, buffers, budget, builders or {}, persistent).load()


def _steps(file: ViewFile) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int]]:
    """Yield each opcode with its argument and place; the file stands behind it then."""
    yield from cast(Any, pickletools.genops(cast(Any, file)))


def _plain_program(file: ViewFile) -> tuple[bytes, list[memoryview]]:
    """Return the pickle with plain steps alone, and the large bytes that it takes from outside."""
    program, buffers = bytearray(), []
    start = file.tell()
    last = ""
    for count, (opcode, argument, place) in enumerate(_steps(file)):
        name, end = opcode.name, file.tell()
        if count > MAX_OPCODES:
            raise Damaged(f"a pickle of more than {MAX_OPCODES} steps")
        if name in REFUSED:
            raise Damaged(f"a pickle with the opcode {name}, which weight files do not use")
        _check_integer(name, argument, end - start)
        if name in REPLACED:
            program += REPLACED[name]
        elif name in LARGE and len(argument) > CHUNK:
            # A view of the file instead of a copy, by the means of pickle's protocol 5.
            buffers.append(file.last(len(argument)))
            program += pickle.NEXT_BUFFER
        elif name == "BYTEARRAY8":
            program += pickle.BINBYTES8 + file.last(end - place - 1)
        elif name == "DICT":
            if last != "MARK":
                raise Damaged("a dict that is made in one step, which weight files do not use")
            program[-1:] = DICT
        else:
            program += file.last(end - place)
        last = name
    return bytes(program), buffers


def _check_integer(name: str, value: Any, size: int) -> None:
    """Refuse integers that take long to hash, and a memo that takes more room than the file."""
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise Damaged("an integer larger than any size")
    if name.endswith("PUT") and value > max(size, MIN_MEMO):
        raise Damaged("a memo larger than the file")
