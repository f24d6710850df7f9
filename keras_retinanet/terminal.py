"""What a terminal is sent: text alone, never what a name in a stranger's file makes it do."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import TextIO

# Control characters, those that change the direction of the text around them, line separators, and
# halves of UTF-16, which no encoding has.
_OBEYED = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
)
_IN_OUTPUT = re.compile(f"[{_OBEYED}]")
_IN_NAMES = re.compile(f"[{_OBEYED}\t\n\r]")


def printable(text: str) -> str:
    """Return `text` on one line, with all that a terminal would obey written as escapes."""
    return _IN_NAMES.sub(_escape, text)


def encodable(text: str) -> str:
    """Return `text` with halves of UTF-16, which names that are not UTF-8 have, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Write what a terminal would obey as escapes while the block runs, on both standard streams.

    Line ends, tabs and carriage returns pass, as progress bars need them; what a stream's encoding
    lacks is escaped too. Names go through `printable` where a line must stay one.
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
