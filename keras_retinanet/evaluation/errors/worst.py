"""The errors that matter most, one by one, and the images that have them.

An error costs what the AP gains if it alone is fixed. That AP is the plain one, the mean precision
at each true box, which can be taken apart into sums over what is ranked below the error: exact, and
one pass for all. (COCO's AP, at 101 recalls, would not move for most single errors.)

Shape letters: D detections, T true boxes, K classes.
"""

from typing import NamedTuple

import numpy as np

from keras_retinanet.evaluation.errors.costs import ErrorAnalysis
from keras_retinanet.evaluation.errors.kinds import CLS, CORRECT, ERROR_KINDS, LOC
from keras_retinanet.evaluation.metrics.pairs import rows_of_each


class ErrorCosts(NamedTuple):
    """AP, 0..1, that fixing each error alone would give back."""

    detections: np.ndarray  # (D,) float64; 0 for those that are correct or do not count
    truths: np.ndarray  # (T,) float64; 0 for those that are not missed


class WorstPicture(NamedTuple):
    """An image with its errors of one kind."""

    image: int  # index of the image
    cost: float  # sum of the costs of `rows`
    rows: np.ndarray  # of detections, or of true boxes for "Miss"; the most costly first


class _Sums:
    """One class's detections, best first, and for each place sums over what comes from there on."""

    def __init__(self, scores: np.ndarray, correct: np.ndarray, positives: int):
        self.scores, self.positives = scores, positives
        self.right = np.concatenate([[0], np.cumsum(correct)])
        ranks, right = np.arange(1, len(scores) + 1), self.right[1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            # Change of the precision at each correct one if one wrong above it goes, ...
            self._removed = _from_here_on(correct * right / (ranks * (ranks - 1)))
        # ... if one wrong above it becomes correct, ...
        self._righted = _from_here_on(correct / ranks)
        # ... and if a correct one is put in above it.
        self._inserted = _from_here_on(correct * (ranks - right) / (ranks * (ranks + 1)))

    def removal(self, places: np.ndarray) -> np.ndarray:
        """Return the gain of taking out each wrong detection alone."""
        return self._removed[places + 1] / max(self.positives, 1)

    def righting(self, places: np.ndarray) -> np.ndarray:
        """Return the gain of each wrong detection becoming correct."""
        own = (self.right[places] + 1) / (places + 1)
        return (own + self._righted[places + 1]) / self.positives

    def insertion(self, scores: np.ndarray) -> np.ndarray:
        """Return the gain of a new correct detection with each score, before its equals."""
        places = np.searchsorted(-self.scores, -scores)
        own = (self.right[places] + 1) / (places + 1)
        return (own + self._inserted[places]) / self.positives


def _from_here_on(terms: np.ndarray) -> np.ndarray:
    """Return the sums (N + 1,) of terms (N,) from each place to the end."""
    # The first detection has nothing above it: its term is never asked for, and may be NaN.
    terms = np.nan_to_num(terms, posinf=0.0)
    return np.append(np.cumsum(terms[::-1])[::-1], 0.0)


def error_costs(errors: ErrorAnalysis) -> ErrorCosts:
    """Return what each error costs.

    The best Cls or Loc error about a box that nothing found becomes correct, as in `tide`; any
    other wrong detection goes. A missed box is found with the best of scores.
    """
    found, truths, judged = errors.found, errors.pictures.truths, errors.judgement
    count = len(errors.pictures.class_names)
    counted = np.flatnonzero((judged.kinds >= 0) & ~judged.ignored)
    counted = counted[np.lexsort((found.image[counted], -found.scores[counted]))]
    positives = errors.pictures.box_counts
    correct = judged.kinds == CORRECT
    costs = ErrorCosts(np.zeros(len(found.scores)), np.zeros(len(truths.classes)))

    mends = np.unique(judged.mended_by[judged.mended_by >= 0])
    becomes_right = np.zeros(len(correct), bool)
    becomes_right[mends] = True
    missed = judged.rows("Miss")
    # The class in which each fixed detection would be correct.
    target = truths.classes[judged.truths[mends]]
    for index, places in enumerate(rows_of_each(found.classes[counted], count)):
        rows = counted[places]
        sums = _Sums(found.scores[rows], correct[rows], int(positives[index]))
        own = np.arange(len(rows))
        is_righted = becomes_right[rows] & (judged.kinds[rows] == LOC)
        is_removed = ~correct[rows] & ~is_righted
        costs.detections[rows[is_removed]] += sums.removal(own[is_removed])
        if positives[index]:
            costs.detections[rows[is_righted]] += sums.righting(own[is_righted])
            enters = mends[
                (target == index) & ((judged.kinds[mends] == CLS) | judged.ignored[mends])
            ]
            costs.detections[enters] += sums.insertion(found.scores[enters])
            own_missed = missed[truths.classes[missed] == index]
            costs.truths[own_missed] = sums.insertion(np.full(len(own_missed), np.inf))
    classes = max(int((~np.isnan(errors.class_ap)).sum()), 1)
    return ErrorCosts(costs.detections / classes, costs.truths / classes)


def worst_pictures(
    errors: ErrorAnalysis, *, limit: int = 12, costs: ErrorCosts | None = None
) -> dict[str, list[WorstPicture]]:
    """Return the images whose errors cost most.

    Args:
        limit: maximum number of images of each kind of error.
        costs: those of `errors`, if known already.

    Returns:
        Error kind -> images, the most costly first; of equal cost the one with more errors.
    """
    costs = costs or error_costs(errors)
    return {kind: _worst(errors, costs, kind)[:limit] for kind in ERROR_KINDS}


def _worst(errors: ErrorAnalysis, costs: ErrorCosts, kind: str) -> list[WorstPicture]:
    is_miss, rows = kind == "Miss", errors.judgement.rows(kind)
    image = (errors.pictures.truths if is_miss else errors.found).image[rows]
    row_costs = (costs.truths if is_miss else costs.detections)[rows]
    places = rows_of_each(image, len(errors.pictures.image_ids), row_costs)
    pictures = [
        WorstPicture(index, float(row_costs[here].sum()), rows[here])
        for index, here in enumerate(places)
        if here.size
    ]
    return sorted(pictures, key=lambda picture: (-picture.cost, -len(picture.rows)))
