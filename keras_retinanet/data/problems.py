"""What was wrong with a dataset, and what was done about it: repaired, skipped, counted.

`KINDS` is the one list of what real files do wrong. Whatever is not in it is an error.
"""

import threading
from typing import NoReturn

from keras_retinanet.errors import UserError, listed
from keras_retinanet.terminal import printable

# How many names a summary line shows of each kind of problem.
SHOWN_PROBLEMS = 3

# Kind of problem -> what is done about it.
KINDS = {
    # Boxes.
    "box without area": "dropped",
    "box not finite": "dropped",
    "box outside the picture": "dropped",
    "box partly outside": "cut at the border",
    "box with swapped corners": "corners put in order",
    "number as text": "read as a number",
    "outline without a box": "its bounds taken",
    "rotated box": "the bounds of the turned one taken",
    "area not sound": "the box's own counts",
    "undeclared class": "box dropped",
    "class in two spellings that look alike": "one class",
    "malformed annotation": "box dropped",
    # Images and the entries that name them.
    "missing picture": "skipped",
    "picture outside the data folder": "skipped",
    "unreadable picture": "skipped",
    "picture cut off": "used as far as it goes",
    "picture damaged": "used as it decodes",
    "huge picture": "skipped (dataset tile cuts a large TIFF, evaluate --tile reads it)",
    "malformed picture entry": "skipped",
    "picture id twice": "second one skipped",
    "annotation id twice": "both kept",
    "annotations of an unlisted picture": "skipped",
    "missing annotation": "picture skipped",
    "unreadable annotation": "picture skipped",
    "damaged record": "skipped",
    "missing shard": "left out",
    "picture name with backslashes": "read as folders",
    "picture name in another case": "taken",
    "picture path of another place": "found by the end of the path",
    "picture name with another prefix or suffix": "taken",
    "label file of another name": "taken",
    "picture of another size than annotated": "its own size counts",
    "more boxes than max_boxes": "the others are ignored (data.max_boxes=auto keeps them)",
}


class Problems(dict[str, list[str]]):
    """Kind of problem -> the files, images or boxes that had it, in the order they were met.

    Attributes:
        strict: whether the first problem is an error.
        error: what stopped the reading: that error, or that no image can be read any more. A
            reader in a thread of tf.data cannot raise it through the graph.
    """

    def __init__(self, *, strict: bool = False):
        super().__init__()
        self.strict = strict
        self.error: UserError | None = None
        self._lock = threading.Lock()

    def note(self, kind: str, what: str) -> None:
        """Count one problem.

        Args:
            kind: one of `KINDS`.
            what: the file, its line or the box: enough to find it.

        Raises:
            UserError: `strict`; names the problem and where it is.
            KeyError: `kind` is not among `KINDS`.
        """
        done = KINDS[kind]
        what = printable(what)
        if self.strict:
            error = UserError(
                f"Expected sound data, as --strict asks. Received: {kind}: {what}. Fix it, or "
                f"omit --strict ({done})."
            )
            self.stop(error)
        with self._lock:
            self.setdefault(kind, []).append(what)

    def stop(self, error: UserError) -> NoReturn:
        """Keep and raise `error`, or the one that was kept before it."""
        with self._lock:
            self.error = self.error or error
        raise self.error

    def lines(self) -> list[str]:
        """Return one line for each kind: how many, what was done, and the first few names."""
        return [self.line(kind) for kind in self]

    def line(self, kind: str) -> str:
        """Return the line of a kind that was noted."""
        what = self[kind]
        return f"{kind}, {KINDS[kind]}: {len(what)} ({listed(what, limit=SHOWN_PROBLEMS)})"
