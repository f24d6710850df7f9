"""What each kind of error costs in AP: TIDE's analysis.

Each kind is fixed alone, as if by an oracle, and the AP is taken again; what it gains is the cost
of that kind. Costs do not add up to what lacks to 1, because errors hide each other.

Shape letters: P images, D detections, T true boxes, K classes. Source: Bolya et al. 2020, "TIDE:
A General Toolbox for Identifying Object Detection Errors", sections 2.2 and 2.3. The numbers are
those of the authors' package tidecv 1.0.1, at 1/100 of its scale.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_retinanet.evaluation.errors.kinds import (
    BACKGROUND,
    CORRECT,
    DETECTION_KINDS,
    ERROR_KINDS,
    FOREGROUND,
    Judgement,
    judge,
)
from keras_retinanet.evaluation.metrics.average_precision import (
    TIDE_RECALLS,
    class_average_precision,
)
from keras_retinanet.evaluation.tables import EvaluationSet, Found


@dataclass(frozen=True, eq=False)
class ErrorAnalysis:
    """The errors of one set of detections, and what they cost.

    Attributes:
        foreground: the IoU of a well placed box.
        judgement: kind, true box and IoU of each detection; fate of each true box.
        class_ap: (K,) AP at the IoU of `foreground`, 0..1; NaN for a class without true boxes and
            detections.
        ap: mean of those that are not NaN. A class that was detected and is nowhere counts 0,
            which COCO's AP50 leaves out.
        costs: error kind -> what `ap` gains if it is fixed, not below 0.
        class_costs: error kind -> (K,) gain of each class; may be below 0 or NaN.
        false_positive_cost: gain if every wrong detection came after the correct ones.
        false_negative_cost: gain if every true box were found or not there.
        counts, class_counts: error kind -> how many, and (K,) of them of each class: of the
            detection, of the true box for "Miss". Those that are to ignore are not counted (they
            are in tidecv's lists).
    """

    pictures: EvaluationSet
    found: Found
    foreground: float
    judgement: Judgement
    ap: float
    class_ap: np.ndarray
    costs: dict[str, float]
    class_costs: dict[str, np.ndarray]
    false_positive_cost: float
    false_negative_cost: float
    counts: dict[str, int]
    class_counts: dict[str, np.ndarray]

    def to_plain(self) -> dict[str, Any]:
        """Return costs and counts as JSON has them, with None for what is not defined."""
        return {
            "iou": self.foreground,
            "ap": self.ap,
            "kinds": {
                kind: {"meaning": text, "cost": self.costs[kind], "count": self.counts[kind]}
                for kind, text in ERROR_KINDS.items()
            },
            "false_positive_cost": self.false_positive_cost,
            "false_negative_cost": self.false_negative_cost,
            "classes": {
                name: {"ap": _number(self.class_ap[index])}
                | {
                    kind: {
                        "cost": _number(self.class_costs[kind][index]),
                        "count": int(self.class_counts[kind][index]),
                    }
                    for kind in ERROR_KINDS
                }
                for index, name in enumerate(self.pictures.class_names)
            },
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _orders(found: Found, judged: Judgement) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of all detections that may count, best first, in two orders of equal scores.

    First by image; then errors before correct detections, by image within both: so tidecv puts its
    fixed list together again.
    """
    rows, scores = np.flatnonzero(judged.kinds >= 0), -found.scores
    rows = rows[np.lexsort((scores[rows], found.image[rows]))]
    order = rows[np.argsort(scores[rows], kind="stable")]
    is_correct = judged.kinds[order] == CORRECT
    return order, order[np.lexsort((is_correct, scores[order]))]


def analyse_errors(
    pictures: EvaluationSet,
    found: Found,
    *,
    foreground: float = FOREGROUND,
    background: float = BACKGROUND,
    max_detections: int | None = None,
) -> ErrorAnalysis:
    """Sort the errors of a detector into TIDE's kinds and report what each costs.

    Args:
        pictures: the ground truth; boxes to ignore are neither found nor missed, and detections
            of their class with more than `foreground` of their area inside do not count.
        found: the detections.
        foreground, background, max_detections: as in `judge`.

    Raises:
        UserError: as `judge`.
    """
    limits = {"foreground": foreground, "background": background}
    judged = judge(pictures, found, **limits, max_detections=max_detections)
    correct, positives = judged.kinds == CORRECT, pictures.box_counts
    as_is = {"classes": found.classes, "correct": correct, "counts": ~judged.ignored}
    order, errors_first = _orders(found, judged)
    class_ap = _class_ap(order, positives, **as_is)
    ap = _mean(class_ap)
    # Every wrong detection after the correct ones; and the true boxes alone that were found.
    right_first = _class_ap(order[np.argsort(~correct[order], kind="stable")], positives, **as_is)
    reached = np.bincount(found.classes[correct], minlength=len(positives))
    all_found = _class_ap(errors_first, reached, **as_is)
    mended = {kind: _mended_ap(pictures, found, judged, errors_first, kind) for kind in ERROR_KINDS}
    class_counts = {}
    for kind in ERROR_KINDS:
        classes = (pictures.truths if kind == "Miss" else found).classes[judged.rows(kind)]
        class_counts[kind] = np.bincount(classes, minlength=len(positives))
    return ErrorAnalysis(
        pictures=pictures,
        found=found,
        foreground=foreground,
        judgement=judged,
        ap=ap,
        class_ap=class_ap,
        costs={kind: max(_mean(figures) - ap, 0.0) for kind, figures in mended.items()},
        class_costs={kind: figures - class_ap for kind, figures in mended.items()},
        false_positive_cost=_mean(right_first) - ap,
        false_negative_cost=_mean(all_found) - ap,
        counts={kind: int(counts.sum()) for kind, counts in class_counts.items()},
        class_counts=class_counts,
    )


def _class_ap(
    order: np.ndarray,
    positives: np.ndarray,
    *,
    classes: np.ndarray,
    correct: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    """Return the AP (K,) of those rows of `order` that count."""
    rows = order[counts[order]]
    return class_average_precision(classes[rows], correct[rows], positives, recalls=TIDE_RECALLS)


def _mean(class_ap: np.ndarray) -> float:
    defined = class_ap[~np.isnan(class_ap)]
    return float(defined.mean()) if defined.size else 0.0


def _mended_ap(
    pictures: EvaluationSet, found: Found, judged: Judgement, order: np.ndarray, kind: str
) -> np.ndarray:
    """Return the AP (K,) with all errors of `kind` fixed.

    The best Cls or Loc error about a box not found becomes correct, all other errors of the kind
    go. A detection to ignore counts once it is correct. A missed box is no longer there.
    """
    positives, classes = pictures.box_counts, found.classes.copy()
    correct, counts = judged.kinds == CORRECT, ~judged.ignored
    if kind == "Miss":
        missed = pictures.truths.classes[judged.rows(kind)]
        positives = positives - np.bincount(missed, minlength=len(positives))
    else:
        rows = np.flatnonzero(judged.kinds == DETECTION_KINDS.index(kind))
        about_one = rows[judged.truths[rows] >= 0]
        mends = about_one[judged.mended_by[judged.truths[about_one]] == about_one]
        counts[rows], counts[mends], correct[mends] = False, True, True
        classes[mends] = pictures.truths.classes[judged.truths[mends]]
    return _class_ap(order, positives, classes=classes, correct=correct, counts=counts)


def format_errors(errors: ErrorAnalysis) -> str:
    """Write a table of the kinds: cost in AP, 0..1, count and meaning."""
    lines = [f"{'AP':5s} {errors.ap:6.4f}", f"{'':5s} {'cost':>6s} {'count':>7s}"]
    lines += [
        f"{kind:5s} {errors.costs[kind]:6.4f} {errors.counts[kind]:7d}  {text}"
        for kind, text in ERROR_KINDS.items()
    ]
    lines += [
        f"{'FP':5s} {errors.false_positive_cost:6.4f} {'':7s}  all wrong detections",
        f"{'FN':5s} {errors.false_negative_cost:6.4f} {'':7s}  all boxes not found",
    ]
    return "\n".join(lines)
