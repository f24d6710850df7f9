"""Pickles read as data, by a machine that knows their opcodes and can import or call nothing.

A pickle is a program for a stack machine; Python's own runs it with the power to call any
function. This one has the same stack and memo, gets each opcode from `pickletools.genops`, which
only decodes, and asks `pickle_names` what a name stands for. Sources: the documentation in
CPython's pickletools.py.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, cast

from keras_retinanet.weight_files.checkpoint import MAX_NAME, Damaged
from keras_retinanet.weight_files.mapped_file import CHUNK, ViewFile
from keras_retinanet.weight_files.pickle_names import (
    INERT,
    Builder,
    NumpyArray,
    NumpyType,
    meaning,
    set_item,
)

# A training checkpoint of ResNet-152 with its optimizer has a tenth of it; each makes < 100 bytes.
MAX_OPCODES = 3_000_000
# Opcodes whose decoded argument is the value.
VALUES = {
    *("INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT".split()),
    *("STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8".split()),
    *("BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    # Sets as lists: their items need no hash then.
    "EMPTY_SET": list,
}
FROM_MARK: dict[str, Callable[[list[Any]], Any]] = {"LIST": list, "TUPLE": tuple, "FROZENSET": list}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class PickleMachine:
    """Reads one pickle from a file.

    Args:
        builders: (module, name) -> what it stands for, before `pickle_names` is asked.
        persistent: gives the object for a persistent id; without it there are none.
    """

    def __init__(
        self,
        builders: Mapping[tuple[str, str], Any] | None = None,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._builders = builders or {}
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}
        self._copied = 0
        self._size = 0

    def load(self, file: ViewFile) -> Any:
        """Returns what the pickle at the file's place builds; leaves the file behind it.

        Raises:
            Damaged, or any error of Python's: this is no whole pickle.
            UserError: it names what is not admitted.
        """
        place = file.tell()
        self._size = file.seek(0, 2) - place
        file.seek(place)
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(Any, file))):
            if count > MAX_OPCODES:
                raise Damaged(f"a pickle of more than {MAX_OPCODES} steps")
            name = opcode.name
            if name in VALUES:
                # Large ones become arrays: of views of the file, not of the copies here.
                if isinstance(argument, bytes) and len(argument) > CHUNK:
                    argument = file.last(len(argument))
                self._stack.append(argument)
            elif name in CONSTANTS:
                self._stack.append(CONSTANTS[name])
            elif name in EMPTY:
                self._stack.append(EMPTY[name]())
            elif name in FROM_MARK:
                made = FROM_MARK[name](self._pop_mark())
                self._stack.append(made)
            elif name in TUPLES:
                self._stack[-TUPLES[name] :] = [tuple(self._top(TUPLES[name]))]
            elif name == "STOP":
                return self._stack.pop()
            else:
                self._step(name, argument)
        raise Damaged("no end")

    def _step(self, name: str, argument: Any) -> None:
        step = getattr(self, f"_on_{name.lower()}", None)
        if step is None:
            raise Damaged(f"a pickle with the opcode {name}, which weight files do not use")
        step(argument)

    def _top(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise Damaged("a stack that runs empty")
        return self._stack[-count:]

    def _pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    # ------------------------------------------------------------------------ stack and memo

    def _on_proto(self, _: Any) -> None:
        pass

    _on_frame = _on_proto

    def _on_mark(self, _: Any) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _on_pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _on_pop_mark(self, _: Any) -> None:
        self._pop_mark()

    def _on_dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _on_put(self, index: Any) -> None:
        self._memo[index] = self._stack[-1]

    _on_binput = _on_long_binput = _on_put

    def _on_memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _on_get(self, index: Any) -> None:
        self._stack.append(self._memo[index])

    _on_binget = _on_long_binget = _on_get

    # ---------------------------------------------------------------------------- containers

    def _on_append(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def _on_appends(self, _: Any) -> None:
        self._extend(self._pop_mark())

    _on_additems = _on_appends

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif target is not INERT:
            raise Damaged("items for what is no list")

    def _on_setitem(self, _: Any) -> None:
        pair = self._top(2)
        del self._stack[-2:]
        self._set_items(pair)

    def _on_setitems(self, _: Any) -> None:
        self._set_items(self._pop_mark())

    def _on_dict(self, _: Any) -> None:
        items = self._pop_mark()
        self._stack.append({})
        self._set_items(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                set_item(target, key, value)
        elif target is not INERT:
            raise Damaged("entries for what is no dict")

    # ----------------------------------------------------------------------- names and calls

    def _named(self, module: Any, name: Any) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Damaged("a name that is no text")
        if len(module) + len(name) > MAX_NAME:
            raise Damaged("a name longer than any class has")
        found = self._builders.get((module, name))
        return meaning(module, name) if found is None else found

    def _called(self, function: Any, arguments: Any) -> Any:
        if function is INERT:
            return INERT
        if not isinstance(function, Builder) or not isinstance(arguments, tuple):
            raise Damaged("a call of what is no function")
        self._spend(arguments)
        return function.make(*arguments)

    def _on_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._named(module, name))

    def _on_stack_global(self, _: Any) -> None:
        self._stack[-2:] = [self._named(*self._top(2))]

    def _on_reduce(self, _: Any) -> None:
        self._stack[-2:] = [self._called(*self._top(2))]

    _on_newobj = _on_reduce

    def _on_newobj_ex(self, _: Any) -> None:
        function, arguments, _options = self._top(3)
        self._stack[-3:] = [self._called(function, arguments)]

    def _on_inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        items = self._pop_mark()
        self._stack.append(self._called(self._named(module, name), tuple(items)))

    def _on_obj(self, _: Any) -> None:
        function, *arguments = self._pop_mark()
        self._stack.append(self._called(function, tuple(arguments)))

    def _on_build(self, _: Any) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        # What else has a state (torch hangs `_metadata` on its dicts) does without.
        if isinstance(target, (NumpyArray, NumpyType)):
            self._spend(state)
            target.set_state(state)

    def _on_persid(self, identity: Any) -> None:
        if self._persistent is None:
            raise Damaged("references to objects outside of the pickle")
        self._stack.append(self._persistent(identity))

    def _on_binpersid(self, _: Any) -> None:
        self._on_persid(self._stack.pop())

    def _spend(self, items: Any) -> None:
        """Counts what a call may copy, so that one stored text or list is not copied a million
        times; a pickle that pickles made has it in its bytes first."""
        sized = (str, bytes, bytearray, memoryview, list, tuple, dict)
        self._copied += sum(len(item) for item in items if isinstance(item, sized))
        if self._copied > 2 * self._size:
            raise Damaged("more data than the file holds")
