"""Whether scores are honest: of detections scored .7, are 70% right?

Shape letters: D detections, B bins. Source: Kueppers et al. 2020, "Multivariate Confidence
Calibration for Object Detection", section 3: the detection expected calibration error (D-ECE), here
over scores alone.
"""

from dataclasses import dataclass

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.matching import Matches
from keras_retinanet.evaluation.tables import Found

BINS = 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """The reliability of scores, bin by bin; NaN for the figures of an empty one."""

    # (B + 1,) float64, from 0 to 1; a score on an edge lies in the bin above it, a 1 in the last.
    edges: np.ndarray
    detections: np.ndarray  # (B,) int64, how many there are
    score: np.ndarray  # (B,) float64, their mean score
    precision: np.ndarray  # (B,) float64, the share that is right

    @property
    def error(self) -> float:
        """D-ECE, 0..1: the mean over detections of the gap of their bin; -1 without detections."""
        gaps = np.nan_to_num(np.abs(self.precision - self.score))
        total = self.detections.sum()
        return float(np.sum(gaps * self.detections) / total) if total else -1.0

    @property
    def worst(self) -> float:
        """The largest gap of a bin, 0..1; -1 without detections."""
        return float(np.nanmax(np.abs(self.precision - self.score), initial=-1.0))

    def rows(self) -> list[dict[str, float | None]]:
        """Return for each bin `from`, `to`, `detections`, `score` and `precision` (None: empty)."""
        return [
            {
                "from": float(self.edges[index]),
                "to": float(self.edges[index + 1]),
                "detections": int(count),
                "score": float(self.score[index]) if count else None,
                "precision": float(self.precision[index]) if count else None,
            }
            for index, count in enumerate(self.detections)
        ]


def calibration(
    found: Found, matches: Matches, *, bins: int = BINS, min_score: float = 0.0
) -> Calibration:
    """Compare scores with the share of detections that are right, in bins of equal width.

    Args:
        found: scores must lie in 0..1.
        matches: of `found`; detections that do not count are skipped.
        min_score: lower scores are skipped. Detectors give many near 0, which hide the others.

    Raises:
        UserError: there is no bin, or a score is no probability.
    """
    if bins < 1:
        raise UserError(f"Expected one bin or more. Received: bins={bins}. The usual is {BINS}.")
    kept = matches.counts & (found.scores >= min_score)
    scores, is_right = found.scores[kept], matches.is_right[kept]
    if scores.size and not (scores.min() >= 0 and scores.max() <= 1):
        raise UserError(
            "Expected scores from 0 to 1. Received: scores from "
            f"{scores.min()} to {scores.max()}. Calibration needs probabilities."
        )
    edges = np.arange(bins + 1) / bins
    places = np.minimum(np.searchsorted(edges, scores, side="right") - 1, bins - 1)
    counts = np.bincount(places, minlength=bins)
    divisor = np.where(counts, counts, np.nan)
    return Calibration(
        edges=edges,
        detections=counts,
        score=np.bincount(places, scores, minlength=bins) / divisor,
        precision=np.bincount(places, is_right, minlength=bins) / divisor,
    )
