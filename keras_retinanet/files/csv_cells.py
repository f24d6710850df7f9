"""Text from data as a cell of a CSV file, which spreadsheets would run if it began as a formula."""

import re

from keras_retinanet.terminal import encodable

# What Excel, LibreOffice and Google Sheets take for the beginning of a formula, as OWASP lists it.
_FORMULA = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
# An apostrophe in front makes a cell text. Text that begins so already gets one more, so that
# taking one away gives back what was written.
_MUST_QUOTE = re.compile(f"'*[{_FORMULA}]")
_IS_QUOTED = re.compile(f"'+[{_FORMULA}]")


def quoted(text: str) -> str:
    """Return `text` as a cell; what UTF-8 cannot hold becomes an escape."""
    text = encodable(text)
    return f"'{text}" if _MUST_QUOTE.match(text) else text


def unquoted(cell: str) -> str:
    """Return the text whose cell `quoted` made."""
    return cell[1:] if _IS_QUOTED.match(cell) else cell
