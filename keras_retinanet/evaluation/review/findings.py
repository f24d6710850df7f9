"""Labels that detections contradict: what may be wrong, how sure that is, and what it costs.

Which detection belongs to which label is judged by `errors.kinds`, what an error costs by
`errors.worst`; here they are read the other way round, as doubts about the labels.

Shape letters: D detections, T labels, K classes; d and t those of one image.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from keras_retinanet.evaluation.errors.costs import ErrorAnalysis, analyse_errors
from keras_retinanet.evaluation.errors.kinds import BKG, BOTH, CORRECT, FOREGROUND, LOC, Judgement
from keras_retinanet.evaluation.errors.worst import ErrorCosts, error_costs
from keras_retinanet.evaluation.metrics.pairs import ImagePairs
from keras_retinanet.evaluation.tables import EvaluationSet, Found
from keras_retinanet.modeling.numpy_boxes import overlaps

# Kind of finding -> what it says of the label, the most frequent mistakes of people first.
FINDING_KINDS: dict[str, str] = {
    "missing": "object without a box",
    "class": "wrong class",
    "loose": "box that fits badly",
    "double": "second box on one object",
    "nothing": "box on nothing",
}
# Boxes that two careful people draw around one object seldom agree less.
LOOSE_IOU = 0.75
# Objects of one class seldom overlap that much; boxes of two classes on one object more.
DOUBLE_IOU, DOUBLE_IOU_OF_TWO_CLASSES = 0.6, 0.8
# Less sure findings are noise: a person would stop looking.
MIN_SURE = 0.25


@dataclass(frozen=True)
class Finding:
    """A label that may be wrong."""

    kind: str  # of `FINDING_KINDS`
    image: int  # index of the image
    label: int  # row of the label that is doubted; -1: it is missing
    detection: int  # row of the detection to put in its place; -1: the label is to go
    sure: float  # 0..1
    cost: float = 0.0  # AP at IoU .5, 0..1, that this disagreement costs


def find_label_errors(
    pictures: EvaluationSet, found: Found, *, min_sure: float = MIN_SURE
) -> list[Finding]:
    """Return what detections contradict, the most sure and costly first, each label once.

    How sure a finding is:

    - missing: score of the detection, times the share of it that no label covers.
    - class: score of the detection minus that of the best detection of the label's own class.
    - loose: score of the detection, times 1 - IoU, times the share of it that no other label
      covers.
    - double: IoU of the two labels, times 1 - score of the detection of the doubtful one.
    - nothing: mean score with which labels of the class are found, minus the score of the best
      detection there, of any class.

    The order is that of sureness, which the cost of the costliest finding doubles. Labels to
    ignore are never doubted, and nothing is missing inside them.

    Args:
        min_sure: findings that are less sure are skipped.
    """
    errors = analyse_errors(pictures, found)
    costs = error_costs(errors)
    sure_enough = (each for each in _Doubts(errors) if each.sure >= min_sure)
    ranked = sorted(sure_enough, key=lambda each: -each.sure)
    findings = [replace(each, cost=_cost(each, costs)) for each in _once(ranked, found.xywh)]
    most = max((finding.cost for finding in findings), default=0.0) or 1.0
    return sorted(findings, key=lambda each: -each.sure * (1 + each.cost / most))


def _cost(finding: Finding, costs: ErrorCosts) -> float:
    if finding.detection >= 0:
        return float(costs.detections[finding.detection])
    return float(costs.truths[finding.label])


def _once(ranked: list[Finding], xywh: np.ndarray) -> Iterator[Finding]:
    """Yield of findings about one label, or one unlabeled place, the first alone."""
    labels: set[int] = set()
    places: dict[int, list[int]] = {}  # image -> detections of what is missing
    for each in ranked:
        if each.label >= 0:
            if each.label not in labels:
                labels.add(each.label)
                yield each
            continue
        taken = places.setdefault(each.image, [])
        if not taken or overlaps(xywh[[each.detection]], xywh[taken]).max() < FOREGROUND:
            taken.append(each.detection)
            yield each


class _Doubts:
    """Iterates over all doubts, image by image, in no order, without their cost."""

    def __init__(self, errors: ErrorAnalysis):
        self._errors = errors
        self._judged: Judgement = errors.judgement
        self._pairs = ImagePairs(errors.pictures, errors.found)
        self._scores, self._xywh = errors.found.scores, errors.pictures.truths.xywh
        self._misnaming = set(self._judged.rows("Cls").tolist())
        # (T,) of the detection that found each label; 0: none did.
        self._own = np.zeros(len(self._judged.found_by))
        hits = np.flatnonzero(self._judged.found_by >= 0)
        self._own[hits] = self._scores[self._judged.found_by[hits]]
        self._seen = self._mean_scores()

    def _mean_scores(self) -> np.ndarray:
        """Return (K,): the mean score with which labels of each class are found."""
        truths, count = self._errors.pictures.truths, len(self._errors.pictures.class_names)
        counted = ~truths.ignore
        sums = np.bincount(truths.classes[counted], self._own[counted], minlength=count)
        return sums / np.maximum(self._errors.pictures.box_counts, 1)

    def __iter__(self) -> Iterator[Finding]:
        ignore = self._errors.pictures.truths.ignore
        for image, (rows, there) in enumerate(self._pairs):
            labels = there[~ignore[there]]
            yield from self._missing(image, rows, there)
            yield from self._misnamed(image, rows)
            yield from self._loose(image, rows, labels)
            yield from self._doubles(image, labels)
            yield from self._on_nothing(image, rows, labels)

    def _missing(self, image: int, rows: np.ndarray, there: np.ndarray) -> Iterator[Finding]:
        judged = self._judged
        is_loose = np.isin(rows, judged.mended_by)
        # Beside a label that another detection has found lies another object.
        kinds = judged.kinds[rows]
        rows = rows[(kinds == BKG) | (kinds == BOTH) | ((kinds == LOC) & ~is_loose)]
        rows = rows[~judged.ignored[rows]]
        covered = self._pairs.coverages(rows, there).max(axis=1, initial=0.0)
        for row, share in zip(rows.tolist(), covered.tolist(), strict=True):
            yield Finding("missing", image, -1, row, float(self._scores[row]) * (1 - share))

    def _misnamed(self, image: int, rows: np.ndarray) -> Iterator[Finding]:
        for row in self._misnaming.intersection(rows.tolist()):
            label = int(self._judged.truths[row])
            sure = float(self._scores[row] - self._own[label])
            yield Finding("class", image, label, row, sure)

    def _loose(self, image: int, rows: np.ndarray, labels: np.ndarray) -> Iterator[Finding]:
        judged = self._judged
        kinds, about, ious = judged.kinds[rows], judged.truths[rows], judged.ious[rows]
        is_loose = (kinds == CORRECT) & (ious < LOOSE_IOU)
        is_loose |= (kinds == LOC) & np.isin(rows, judged.mended_by)
        rows, about, ious = rows[is_loose], about[is_loose], ious[is_loose]
        # A detection between two objects that touch is the model's mistake.
        shares = self._pairs.coverages(rows, labels)
        shares[about[:, None] == labels[None, :]] = 0.0
        sures = self._scores[rows] * (1 - ious) * (1 - shares.max(axis=1, initial=0.0))
        for row, label, sure in zip(rows.tolist(), about.tolist(), sures.tolist(), strict=True):
            yield Finding("loose", image, label, row, sure)

    def _doubles(self, image: int, labels: np.ndarray) -> Iterator[Finding]:
        truths, xywh = self._errors.pictures.truths, self._xywh[labels]
        ious = overlaps(xywh, xywh)
        same = truths.classes[labels][:, None] == truths.classes[labels][None, :]
        limits = np.where(same, DOUBLE_IOU, DOUBLE_IOU_OF_TWO_CLASSES)
        for first, second in np.argwhere(np.triu(ious >= limits, 1)).tolist():
            # The one that the model sees less is doubtful; of equals the later one.
            pair = labels[second], labels[first]
            label = int(min(pair, key=lambda each: self._own[each]))
            sure = float(ious[first, second] * (1 - self._own[label]))
            yield Finding("double", image, label, -1, sure)

    def _on_nothing(self, image: int, rows: np.ndarray, labels: np.ndarray) -> Iterator[Finding]:
        # An overlap of half is all that a detector promises.
        close = np.minimum(self._pairs.ious(rows, labels) / FOREGROUND, 1.0)
        evidence = (close * self._scores[rows][:, None]).max(axis=0, initial=0.0)
        seen = self._seen[self._errors.pictures.truths.classes[labels]]
        for label, sure in zip(labels.tolist(), (seen - evidence).tolist(), strict=True):
            yield Finding("nothing", image, label, -1, sure)
