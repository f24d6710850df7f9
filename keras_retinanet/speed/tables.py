"""Rows of measurements as a report: text for people, plain values for JSON.

A row is a dict of plain values, the same keys in all rows of a table. The text leaves out a column
that is empty in all rows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from keras_retinanet.evaluation.summary import format_rows
from keras_retinanet.speed.timing import Times

DISTURBED = "*"
NOTE = f"{DISTURBED} Other processes used the processor in every repeat: run it again when idle."


@dataclass(frozen=True)
class Table:
    """Measurements of one kind.

    Attributes:
        title: what was measured, with the unit.
        rows: as this module says.
        notes: sentences for the reader.
    """

    title: str
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)


def time_row(
    name: str,
    times: Times,
    *,
    per: float = 1,
    total: float | None = None,
    least: float | None = None,
) -> dict[str, Any]:
    """Return a row of milliseconds.

    Args:
        name: what was timed.
        per: what the times are divided by, such as the images of a batch.
        total: seconds of which this is a share.
        least: seconds that the machine needs at least, where known.
    """
    low, high = (1000 * seconds / per for seconds in times.quartiles)
    return {
        "part": name,
        "ms": 1000 * times.median / per,
        "low": low,
        "high": high,
        "of total": times.median / total if total else None,
        "of floor": least / times.median if least else None,
        "disturbed": times.disturbed,
    }


def as_plain(tables: Sequence[Table], facts: dict[str, Any]) -> dict[str, Any]:
    """Return what JSON holds: the facts and the tables."""
    return {**facts, "tables": [asdict(table) for table in tables]}


def as_text(table: Table) -> str:
    """Return a table with its title and notes."""
    columns = [
        name
        for name in (table.rows[0] if table.rows else ())
        if name != "disturbed" and any(row[name] not in (None, "") for row in table.rows)
    ]
    rows = [{name: _cell(name, row[name]) for name in columns} for row in table.rows]
    for row, source in zip(rows, table.rows, strict=True):
        if source.get("disturbed") and "ms" in row:
            row["ms"] += DISTURBED
    notes = [*table.notes, *([NOTE] if any(row.get("disturbed") for row in table.rows) else [])]
    return "\n".join(
        [table.title, "", format_rows(rows, columns), *([""] if notes else []), *notes]
    )


def number(value: float) -> str:
    """Return three digits of a number, and all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.startswith("of "):
        return f"{value:.0%}"
    if isinstance(value, float):
        return number(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
