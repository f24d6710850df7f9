"""Print names from strangers' files as text, without control characters that a terminal obeys."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import TextIO

# Control characters, marks that change the direction of text, line separators, and surrogates,
# which no encoding has.
_OBEYED = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
)
_IN_OUTPUT = re.compile(f"[{_OBEYED}]")
_IN_NAMES = re.compile(f"[{_OBEYED}\t\n\r]")


def printable(text: str) -> str:
    """Return `text` on one line, with control characters written as escapes."""
    return _IN_NAMES.sub(_escape, text)


def encodable(text: str) -> str:
    """Return `text` with surrogates, which stand for bytes that are not UTF-8, as escapes.

    Where the system's own encoding is not UTF-8 (LC_ALL=C), surrogates also stand for bytes that
    are: these are read as UTF-8.
    """
    with contextlib.suppress(UnicodeEncodeError):  # half a pair of UTF-16
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Escape control characters on both standard streams while the block runs.

    Line ends, tabs and carriage returns pass, because progress bars need them. Characters that a
    stream's encoding lacks are escaped too. Use `printable` for names that must stay on one line.
    """
    with (
        contextlib.redirect_stdout(_Escaped(sys.stdout)),
        contextlib.redirect_stderr(_Escaped(sys.stderr)),
    ):
        yield


class _Escaped:
    """A text stream that writes to `stream`."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text` with escapes; return its length."""
        shown = _IN_OUTPUT.sub(_escape, text)
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)
