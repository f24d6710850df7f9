"""`--json` of every command: one object on standard output, all text on standard error.

A command calls `add_result` with what it found; the command line prints the object at its end, of
a failed command too. docs/json.md lists the fields.
"""

import contextlib
import json
import math
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import Any

FLAG = "--json"
# Value of the flag that stands for standard output; of `evaluate`, others are names of files.
STANDARD_OUTPUT = "-"
_HELP = "print the result as one JSON object on standard output, and all text on standard error"


def add_json_argument(parser: ArgumentParser, *, file: str | None = None) -> None:
    """Add --json.

    Args:
        file: what --json FILE writes, of a command that has such a file.
    """
    settings: dict[str, Any] = {"const": STANDARD_OUTPUT, "help": _HELP}
    if file is None:
        settings["action"] = "store_const"
    else:
        settings |= {"nargs": "?", "metavar": "FILE", "help": f"{file}; without FILE, {_HELP}"}
    parser.add_argument(FLAG, **settings)


def takes_json(parser: ArgumentParser) -> bool:
    """Return whether the parser has --json."""
    return any(FLAG in action.option_strings for action in parser._actions)


def ask_for_result(args: Namespace) -> bool:
    """Return whether the object is asked for; if so, `args` collects it and names no file."""
    if getattr(args, "json", None) != STANDARD_OUTPUT:
        return False
    args.json, args.result = None, {}
    return True


def wants_result(args: Namespace) -> bool:
    """Return whether `add_result` keeps anything: some results take time to compute."""
    return getattr(args, "result", None) is not None


def add_result(args: Namespace, **fields: Any) -> None:
    """Add fields to the command's result, if one is asked for."""
    if wants_result(args):
        args.result.update(fields)


@contextlib.contextmanager
def text_on_standard_error() -> Iterator[None]:
    """Send standard output to standard error while the block runs, child processes' too."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def print_object(
    command: str, exit_code: int, *, error: str | None = None, result: Any = None
) -> None:
    """Print the object on one line."""
    fields = {"command": command, "exit_code": exit_code, "error": error, "result": result or {}}
    print(json.dumps(plain(fields), allow_nan=False), flush=True)


def plain(value: Any) -> Any:
    """Return `value` as JSON has it: paths as text, arrays as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
