"""`UserError`, for mistakes that the user can fix, and how messages show values and counts."""

import reprlib
from collections.abc import Sequence

# Longer messages hide what they say.
MAX_MESSAGE = 2000
MAX_SHOWN = 120
# A message names this many things of a kind and counts the rest.
MAX_LISTED = 12

_SHORT = reprlib.Repr()
# Nested values multiply: 4 * 4 * 4 shortened values still fit a line.
_SHORT.maxlevel = 3
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxfrozenset = 4
_SHORT.maxstring = _SHORT.maxother = 80
_CUT = " ... "


class UserError(ValueError):
    """Bad data, file or option. The command line prints one line and exits with 2.

    The message says what was expected, what was received and what to do. A longer one than
    `MAX_MESSAGE` loses its middle.
    """

    def __init__(self, message: str):
        half = (MAX_MESSAGE - len(_CUT)) // 2
        if len(message) > MAX_MESSAGE:
            message = message[:half] + _CUT + message[-half:]
        super().__init__(message)


def shown(value: object) -> str:
    """Return `value` for a message, in at most `MAX_SHOWN` characters.

    Unlike `repr`, it never makes a longer text on the way: a few bytes of YAML can describe
    gigabytes of text.
    """
    try:
        text = _SHORT.repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits.
        text = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else "a value"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def listed(names: Sequence[object], *, limit: int = MAX_LISTED) -> str:
    """Return the names as text: "a, b and 3 more" where there are more than `limit`."""
    text = ", ".join(map(str, names[:limit]))
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"


def counted(number: int, noun: str) -> str:
    """Return "1 box", "2 boxes", "1,200 images"."""
    plural = noun + ("es" if noun.endswith(("x", "s")) else "s")
    return f"{number:,} {noun if number == 1 else plural}"
