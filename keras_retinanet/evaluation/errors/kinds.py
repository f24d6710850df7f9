"""What is wrong with each detection, and which true boxes were missed: TIDE's six kinds of error.

Shape letters: P images, D detections, T true boxes. Source: Bolya et al. 2020, "TIDE: A General
Toolbox for Identifying Object Detection Errors", section 2.2; in what the paper leaves open, the
authors' package tidecv 1.0.1, with which every number agrees.
"""

from dataclasses import dataclass

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.pairs import ImagePairs, match_in_order
from keras_retinanet.evaluation.tables import EvaluationSet, Found

# The paper's two IoUs: from FOREGROUND on a box is well placed, up to BACKGROUND it is on nothing.
FOREGROUND = 0.5
BACKGROUND = 0.1

# Error kind -> what it says, in the paper's order.
ERROR_KINDS: dict[str, str] = {
    "Cls": "well placed, wrong class",
    "Loc": "right class, badly placed",
    "Both": "wrong class and badly placed",
    "Dupe": "found a second time",
    "Bkg": "nothing is there",
    "Miss": "true box that nothing found",
}
# `Judgement.kinds` is an index into these, or UNSCORED.
DETECTION_KINDS = ("correct", "Cls", "Loc", "Both", "Dupe", "Bkg")
CORRECT, CLS, LOC, BOTH, DUPE, BKG = range(6)
UNSCORED = -1
# `Judgement.fates` is an index into these: found, taken for another class, found badly placed,
# missed, or to ignore.
TRUTH_FATES = ("found", "Cls", "Loc", "Miss", "ignored")
FOUND, MISNAMED, BADLY_PLACED, MISSED, IGNORED = range(5)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What each detection is worth and what became of each true box; a row of -1: none."""

    # (D,) int8, index into `DETECTION_KINDS`; UNSCORED past the limit of an image.
    kinds: np.ndarray
    # (D,) bool: lies in a region to ignore of its class, so it does not count. Its kind is what it
    # would be otherwise.
    ignored: np.ndarray
    # (D,) int32, row of the true box that it found (correct), doubles (Dupe), should have had as
    # class (Cls) or place (Loc), or overlaps most (Both, Bkg).
    truths: np.ndarray
    ious: np.ndarray  # (D,) float64, IoU with that box
    found_by: np.ndarray  # (T,) int32, row of the detection that found the box
    # (T,) int32, of a box not found: row of the best Cls or Loc error about it, which would find it
    # if fixed.
    mended_by: np.ndarray
    fates: np.ndarray  # (T,) int8, index into `TRUTH_FATES`: Cls and Loc by `mended_by`
    nearest: np.ndarray  # (T,) int32, row of the detection, of any class, that overlaps most
    nearest_ious: np.ndarray  # (T,) float64

    def rows(self, kind: str) -> np.ndarray:
        """Return the rows of detections of `kind` (of true boxes for "Miss") that count."""
        if kind == "Miss":
            return np.flatnonzero(self.fates == MISSED)
        if kind not in DETECTION_KINDS:
            raise UserError(
                f"Expected a kind of detection. Received: kind={kind!r}. "
                f"Choose from {', '.join([*DETECTION_KINDS, 'Miss'])}."
            )
        return np.flatnonzero((self.kinds == DETECTION_KINDS.index(kind)) & ~self.ignored)


def judge(
    pictures: EvaluationSet,
    found: Found,
    *,
    foreground: float = FOREGROUND,
    background: float = BACKGROUND,
    max_detections: int | None = None,
) -> Judgement:
    """Judge each detection: whether it is correct and, if not, why.

    Detections choose in the order of their scores, each the true box of its class that overlaps
    most and is not yet taken; one with an IoU of `foreground` or more is found. Of the others the
    first that holds is the kind:

    - Loc: the IoU with a box of its class is from `background` to `foreground`.
    - Cls: the IoU with a box of another class is `foreground` or more.
    - Dupe: the IoU with a box of its class is `foreground` or more, which another has taken.
    - Bkg: no IoU is above `background`.
    - Both: the rest.

    Args:
        max_detections: an image's best, of all classes together; the others are skipped. None:
            all count, unlike in tidecv, which takes 100.

    Raises:
        UserError: not 0 < background < foreground <= 1, or no detection is allowed.
    """
    too_few = max_detections is not None and max_detections < 1
    if not 0 < background < foreground <= 1 or too_few:
        raise UserError(
            "Expected 0 < background < foreground <= 1 and max_detections of 1 or more. Received: "
            f"background={background}, foreground={foreground}, max_detections={max_detections}. "
            "The paper's are 0.1, 0.5 and 100."
        )
    judged, truths = _unjudged(pictures, found), pictures.truths
    pairs = ImagePairs(pictures, found)
    for rows, there in pairs.parts(limit=max_detections):
        crowds = there[truths.ignore[there]]
        there = there[~truths.ignore[there]]
        ious, same = pairs.ious(rows, there), pairs.same_class(rows, there)
        _judge_picture(judged, rows, there, ious=ious, same=same, limits=(background, foreground))
        inside = pairs.best_coverage(rows, crowds) > foreground
        judged.ignored[rows] = inside & (judged.kinds[rows] != CORRECT)
    return judged


def _unjudged(pictures: EvaluationSet, found: Found) -> Judgement:
    count, truths = len(found.scores), pictures.truths
    total = len(truths.classes)
    return Judgement(
        kinds=np.full(count, UNSCORED, np.int8),
        ignored=np.zeros(count, bool),
        truths=np.full(count, -1, np.int32),
        ious=np.zeros(count),
        found_by=np.full(total, -1, np.int32),
        mended_by=np.full(total, -1, np.int32),
        fates=np.where(truths.ignore, IGNORED, MISSED).astype(np.int8),
        nearest=np.full(total, -1, np.int32),
        nearest_ious=np.zeros(total),
    )


def _judge_picture(
    judged: Judgement,
    rows: np.ndarray,
    there: np.ndarray,
    *,
    ious: np.ndarray,
    same: np.ndarray,
    limits: tuple[float, float],
) -> None:
    """Fill in `judged` for detections `rows` (d,), best first, and true boxes `there` (t,).

    Of each pair (d, t) are given the IoU and whether the classes are the same.
    """
    judged.kinds[rows] = BKG
    if not rows.size or not there.size:
        return
    same_ious = np.where(same, ious, 0.0)
    taken = match_in_order(same_ious, limits[1], last_of_equals=False)  # (d,) index into `there`
    hits = taken >= 0
    kinds, nearest = _kinds_of_misses(ious, same, taken=taken, limits=limits)
    kinds[hits], nearest[hits] = CORRECT, taken[hits]
    picked = ious[np.arange(len(rows)), nearest]
    judged.kinds[rows], judged.ious[rows] = kinds, picked
    judged.truths[rows] = np.where(picked > 0, there[nearest], -1)
    judged.found_by[there[taken[hits]]] = rows[hits]

    is_free = np.isin(np.arange(len(there)), taken, invert=True)
    mends = np.flatnonzero(((kinds == LOC) | (kinds == CLS)) & is_free[nearest])
    mended, first = np.unique(nearest[mends], return_index=True)  # the first has the best score
    judged.mended_by[there[mended]] = rows[mends[first]]
    judged.fates[there[mended]] = np.where(kinds[mends[first]] == CLS, MISNAMED, BADLY_PLACED)
    judged.fates[there[taken[hits]]] = FOUND

    best = ious.argmax(axis=0)
    judged.nearest_ious[there] = ious[best, np.arange(len(there))]
    judged.nearest[there] = np.where(judged.nearest_ious[there] > 0, rows[best], -1)


def _kinds_of_misses(
    ious: np.ndarray, same: np.ndarray, *, taken: np.ndarray, limits: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the error kind (d,) and the true box it is about (d,), as if none were correct."""
    background, foreground = limits
    is_taken = np.isin(np.arange(ious.shape[1]), taken)
    # Each pairs the boxes that a kind is about with the IoU that decides.
    views = [
        np.where(same, ious, 0.0),
        np.where(same, 0.0, ious),
        np.where(same & is_taken, ious, 0.0),
        ious,
    ]
    at = [view.argmax(axis=1) for view in views]
    same_iou, other_iou, taken_iou, any_iou = (view.max(axis=1) for view in views)
    holds = [
        (background <= same_iou) & (same_iou <= foreground),
        other_iou >= foreground,
        taken_iou >= foreground,
        any_iou <= background,
    ]
    kinds = np.select(holds, [LOC, CLS, DUPE, BKG], BOTH)
    return kinds, np.select(holds, at, at[3])
