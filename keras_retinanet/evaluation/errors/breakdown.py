"""How well boxes of each size and shape are found, and what became of those that were not.

Shape letters: D detections, T true boxes, K classes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from keras_retinanet.evaluation.errors.costs import ErrorAnalysis
from keras_retinanet.evaluation.errors.kinds import BADLY_PLACED, FOUND, MISNAMED, MISSED
from keras_retinanet.evaluation.metrics.average_precision import (
    COCO_RECALLS,
    class_average_precision,
)
from keras_retinanet.evaluation.metrics.pairs import ImagePairs

# COCO's bounds, 32 and 96 px, cut finer: a box belongs to the sides (square roots of its area)
# from one edge up to the next.
SIDES = (0.0, 16.0, 32.0, 64.0, 96.0, 192.0, math.inf)
# Width over height. TIDE's bounds are .75 and 1.33; three to one is far from any usual anchor.
ASPECTS = {"very tall": 1 / 3, "tall": 3 / 4, "square": 4 / 3, "wide": 3.0, "very wide": math.inf}
# pycocotools lets an IoU miss its threshold by so little.
COCO_EPSILON = 1e-10


@dataclass(frozen=True)
class BinFigures:
    """What became of the true boxes of one size or shape."""

    name: str  # "32-64 px", "wide"
    low: float
    high: float  # outside, and may be infinite
    # At the IoU of the analysis by COCO's rule for sizes: true boxes of other bins are ignored, and
    # so are unmatched detections of other bins. -1 without true boxes.
    ap: float
    truths: int  # how many; the sum of the next four
    found: int  # by a detection of any score
    badly_placed: int  # not found, though a Loc error is about it
    misnamed: int  # not found, though a Cls error is about it
    missed: int

    @property
    def recall(self) -> float:
        """Share of the true boxes that were found; -1 without any."""
        return self.found / self.truths if self.truths else -1.0

    def to_plain(self) -> dict[str, Any]:
        """Return the figures as JSON has them; no upper bound is None."""
        high = None if math.isinf(self.high) else self.high
        return {**asdict(self), "high": high, "recall": self.recall}


def size_breakdown(errors: ErrorAnalysis) -> list[BinFigures]:
    """Return the figures of each size, smallest first.

    The size is the root of the annotation's own area, which in COCO is that of the mask.
    """
    names = [f"{low:.0f}-{high:.0f} px" for low, high in pairwise(SIDES)]
    names[0], names[-1] = f"below {SIDES[1]:.0f} px", f"{SIDES[-2]:.0f} px and more"
    areas, xywh = np.square(SIDES), errors.found.xywh
    truth_bins = _bins(errors.pictures.truths.areas, areas)
    found_bins = _bins(xywh[:, 2] * xywh[:, 3], areas)
    return _breakdown(errors, names, SIDES, truth_bins=truth_bins, found_bins=found_bins)


def aspect_breakdown(errors: ErrorAnalysis) -> list[BinFigures]:
    """Return the figures of each shape (width over height), tallest first."""
    edges = (0.0, *ASPECTS.values())
    truth_bins = _bins(_aspects(errors.pictures.truths.xywh), edges)
    found_bins = _bins(_aspects(errors.found.xywh), edges)
    return _breakdown(errors, list(ASPECTS), edges, truth_bins=truth_bins, found_bins=found_bins)


def _bins(measures: np.ndarray, edges: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.searchsorted(edges, measures, side="right") - 1


def _aspects(xywh: np.ndarray) -> np.ndarray:
    # A box without height is as wide as can be.
    return np.divide(xywh[:, 2], xywh[:, 3], out=np.full(len(xywh), 1e9), where=xywh[:, 3] > 0)


def _breakdown(
    errors: ErrorAnalysis,
    names: Sequence[str],
    edges: Sequence[float],
    *,
    truth_bins: np.ndarray,
    found_bins: np.ndarray,
) -> list[BinFigures]:
    fates, figures = errors.judgement.fates, []
    for index, verdict in enumerate(_verdicts(errors, truth_bins, len(names))):
        is_here = (truth_bins == index) & ~errors.pictures.truths.ignore
        counts = (verdict == RIGHT) | ((verdict == WRONG) & (found_bins == index))
        figures.append(
            BinFigures(
                name=names[index],
                low=float(edges[index]),
                high=float(edges[index + 1]),
                ap=_mean_ap(errors, verdict == RIGHT, counts=counts, is_here=is_here),
                truths=int(is_here.sum()),
                found=int((is_here & (fates == FOUND)).sum()),
                badly_placed=int((is_here & (fates == BADLY_PLACED)).sum()),
                misnamed=int((is_here & (fates == MISNAMED)).sum()),
                missed=int((is_here & (fates == MISSED)).sum()),
            )
        )
    return figures


NO_MATTER, WRONG, RIGHT = range(3)


def _verdicts(errors: ErrorAnalysis, truth_bins: np.ndarray, count: int) -> list[np.ndarray]:
    """Return per bin the verdict (D,) on each detection, by COCO's matching."""
    truths, image_pairs = errors.pictures.truths, ImagePairs(errors.pictures, errors.found)
    scored = errors.judgement.kinds >= 0
    verdicts = [np.where(scored, WRONG, NO_MATTER).astype(np.int8) for _ in range(count)]
    for ranked, there in image_pairs.parts():
        rows, crowd = ranked[scored[ranked]], truths.ignore[there]
        ious = image_pairs.ious(rows, there)
        ious[:, crowd] = image_pairs.coverages(rows, there[crowd])
        ious[~image_pairs.same_class(rows, there)] = 0.0
        pairs = _pairs(ious, min(errors.foreground, 1 - COCO_EPSILON))
        for index, verdict in enumerate(verdicts):
            ignored = crowd | (truth_bins[there] != index)
            for row, value in _matched(pairs, ignored.tolist(), crowd=crowd.tolist()):
                verdict[rows[row]] = value
    return verdicts


def _pairs(ious: np.ndarray, threshold: float) -> dict[int, list[tuple[int, float]]]:
    """Return for each row of ious (d, t) that reaches `threshold` the columns and IoUs that do."""
    pairs: dict[int, list[tuple[int, float]]] = {}
    rows, columns = np.nonzero(ious >= threshold)
    values = ious[rows, columns].tolist()
    for row, column, value in zip(rows.tolist(), columns.tolist(), values, strict=True):
        pairs.setdefault(row, []).append((column, value))
    return pairs


def _matched(
    pairs: dict[int, list[tuple[int, float]]], ignored: list[bool], *, crowd: list[bool]
) -> Iterator[tuple[int, int]]:
    """Match one image's detections as COCO does; yield each match with RIGHT or NO_MATTER.

    Boxes to find come before those to ignore; a crowd matches any number of detections. Lists and
    a loop: with one or two pairs a row that is faster than arrays.
    """
    taken = set()
    for row, choices in pairs.items():
        free = [(not ignored[c], value, c) for c, value in choices if c not in taken]
        if free:
            # Among equals the last, as in pycocotools.
            is_right, _, column = max(free)
            if not crowd[column]:
                taken.add(column)
            yield row, RIGHT if is_right else NO_MATTER


def _mean_ap(
    errors: ErrorAnalysis, correct: np.ndarray, *, counts: np.ndarray, is_here: np.ndarray
) -> float:
    """Return the mean AP of the classes of true boxes `is_here` (T,); -1 without any."""
    pictures, found = errors.pictures, errors.found
    classes = pictures.truths.classes[is_here]
    positives = np.bincount(classes, minlength=len(pictures.class_names))
    rows = np.flatnonzero(counts)
    rows = rows[np.lexsort((found.image[rows], -found.scores[rows]))]
    figures = class_average_precision(
        found.classes[rows], correct[rows], positives, recalls=COCO_RECALLS
    )
    return float(figures[positives > 0].mean()) if positives.any() else -1.0
