"""A diagnosis as lines for the terminal."""

from collections.abc import Iterator

import numpy as np

from keras_retinanet.doctor.diagnosis import Diagnosis
from keras_retinanet.doctor.findings import Finding, counted
from keras_retinanet.doctor.sizes import size_bins

# How many names a finding shows; the page has all of them.
SHOWN_ITEMS = 4
SHOWN_CLASSES = 12
# Boxes that teach nothing are named in full: fixing them is a minute's work.
SHOWN_IN_FULL = {"box without area", "box not finite"}


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the summary: splits, classes, sizes, then the findings with what to do."""
    yield f"{diagnosis.name}: {counted(len(diagnosis.datasets), 'split')}"
    yield ""
    yield from _splits(diagnosis)
    yield ""
    yield from _classes(diagnosis)
    yield ""
    yield from _anchors(diagnosis)
    yield ""
    counts = diagnosis.severities
    yield "Findings: " + ", ".join(counted(counts[name], name) for name in counts)
    for finding in diagnosis.findings:
        yield from _finding(finding)


def _splits(diagnosis: Diagnosis) -> Iterator[str]:
    yield f"{'split':<12} {'pictures':>9} {'boxes':>9} {'ignored':>8} {'empty':>7}  image sizes"
    for dataset, table in zip(diagnosis.datasets, diagnosis.tables, strict=True):
        boxes, ignored = int((~table.ignore).sum()), int(table.ignore.sum())
        low, high = table.picture_sizes.min(axis=0), table.picture_sizes.max(axis=0)
        sizes = f"{low[1]}x{low[0]}" + (f" .. {high[1]}x{high[0]}" if (low != high).any() else "")
        yield (
            f"{dataset.split:<12} {len(dataset.records):>9,} {boxes:>9,} {ignored:>8,} "
            f"{len(table.empty):>7,}  {sizes}"
        )


def _classes(diagnosis: Diagnosis) -> Iterator[str]:
    names = diagnosis.datasets[0].class_names
    counts = diagnosis.class_counts
    order = np.argsort(-counts[diagnosis.own].sum(axis=0), kind="stable")[:SHOWN_CLASSES]
    width = max([5, *(len(names[index]) for index in order)])
    header = "".join(f"{dataset.split:>12}" for dataset in diagnosis.datasets)
    yield f"{'class':<{width}}{header}"
    for index in order:
        yield f"{names[index]:<{width}}" + "".join(f"{count:>12,}" for count in counts[:, index])
    if len(names) > len(order):
        yield f"and {len(names) - len(order)} more"


def _anchors(diagnosis: Diagnosis) -> Iterator[str]:
    yield f"Boxes by size at input {diagnosis.input_name} (square root of the area, px):"
    yield f"{'size':<12} {'boxes':>9} {'no anchor .5':>13} {'no anchor .4':>13}"
    for part in size_bins(diagnosis.inputs):
        if part.count:
            name = f"{part.low:g}..{part.high:g}" if np.isfinite(part.high) else f"{part.low:g}.."
            shares = [part.below_half / part.count, part.background / part.count]
            yield f"{name:<12} {part.count:>9,} {shares[0]:>13.1%} {shares[1]:>13.1%}"


def _finding(finding: Finding) -> Iterator[str]:
    yield ""
    yield f"{finding.severity:<8} {finding.title}"
    indent = " " * 9
    yield f"{indent}{finding.meaning}"
    yield f"{indent}{finding.action}"
    limit = len(finding.items) if finding.code in SHOWN_IN_FULL else SHOWN_ITEMS
    for item in finding.items[:limit]:
        yield f"{indent}- {item}"
    if len(finding.items) > limit:
        yield f"{indent}- and {len(finding.items) - limit:,} more, all in the report"
