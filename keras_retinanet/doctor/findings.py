"""One thing that the doctor says about a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from keras_retinanet.errors import counted as counted

Severity = Literal["error", "warning", "note"]
# In the order of urgency. An error: training would learn wrong things, or nothing.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Example:
    """An image to show with a finding: record `index` of split `split`.

    Attributes:
        marked: which of the record's boxes are meant; none: the image itself.
    """

    split: str
    index: int
    marked: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What was found, what it means and what to do.

    Attributes:
        code: what kind of finding it is, a fixed word for programs and tests.
        title: one line with the figures.
        meaning, action: a sentence each.
        items: the complete list of the images, boxes or classes concerned.
        examples: images worth a look.
    """

    code: str
    severity: Severity
    title: str
    meaning: str
    action: str
    items: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


def by_urgency(findings: Iterable[Finding]) -> list[Finding]:
    """Return `findings`, errors first; those of one severity in their own order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def percent(part: float, whole: float) -> str:
    """Return `part` of `whole` as "12.3%"; "0%" of nothing."""
    return f"{100 * part / whole:.1f}%" if whole else "0%"
