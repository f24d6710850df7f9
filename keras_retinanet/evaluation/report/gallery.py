"""The report's images: which are shown, and what lies on them.

The page draws boxes itself, so that it can filter them; images are sent once, without.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from keras_retinanet.data.records import Dataset
from keras_retinanet.drawing.pages import picture_uri
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.errors.costs import ErrorAnalysis
from keras_retinanet.evaluation.errors.kinds import CLS, DETECTION_KINDS, LOC
from keras_retinanet.evaluation.errors.worst import ErrorCosts, worst_pictures
from keras_retinanet.evaluation.metrics.curves import threshold_places
from keras_retinanet.evaluation.metrics.pairs import rows_of_each
from keras_retinanet.evaluation.rasters import opened_image
from keras_retinanet.evaluation.tables import EvaluationSet

Pictures = Callable[[int], np.ndarray]

MAX_PICTURES = 100
# The page stays one that can be sent by mail: images are skipped beyond this many letters.
MAX_LETTERS = 16_000_000
THUMBNAIL_SIDE = 720
JPEG_QUALITY = 78
# Place of a detection that does not count among the kinds.
IGNORED = len(DETECTION_KINDS)


@dataclass(frozen=True)
class Shown:
    """An image of the gallery."""

    index: int  # in the `EvaluationSet`
    uri: str  # of its data; "" where it cannot be read
    size: tuple[int, int]  # height and width in pixels of the boxes


def dataset_pictures(dataset: Dataset) -> Pictures:
    """Return what reads image `index` of a dataset as boxes see it: (H, W, 3) uint8 RGB.

    One that is too large to decode is read smaller.
    """

    def read(index: int) -> np.ndarray:
        with opened_image(dataset, index) as image:
            return image if isinstance(image, np.ndarray) else image.reduced()[0]

    return read


def chosen_pictures(errors: ErrorAnalysis, limit: int, *, costs: ErrorCosts) -> list[int]:
    """Choose the images to show: the worst of each kind of error in turn, then the others.

    Kinds take turns in the order of what they cost, so that none is skipped.

    Returns:
        Indices of at most `limit` images, each once.
    """
    worst = worst_pictures(errors, limit=limit, costs=costs)
    kinds = sorted(worst, key=lambda kind: -errors.costs[kind])
    turns = zip_longest(*([picture.image for picture in worst[kind]] for kind in kinds))
    ranked = [index for turn in turns for index in turn if index is not None]
    return list(dict.fromkeys([*ranked, *range(len(errors.pictures.image_ids))]))[:limit]


def show_pictures(
    evaluated: EvaluationSet, pictures: Pictures, chosen: Iterable[int]
) -> list[Shown]:
    """Read and shrink the chosen images; fewer where the page would become too large."""
    shown: list[Shown] = []
    letters = 0
    for index in chosen:
        height, width = evaluated.sizes[index].tolist()
        uri = ""
        try:
            image = pictures(index)
            # A COCO file may say nothing of sizes; what is drawn on are the stored pixels.
            height, width = (height or image.shape[0]), (width or image.shape[1])
            uri = picture_uri(image, side=THUMBNAIL_SIDE, quality=JPEG_QUALITY)
        except (UserError, OSError):
            height, width = height or 1, width or 1
        letters += len(uri)
        if letters > MAX_LETTERS:
            break
        shown.append(Shown(index, uri, (height, width)))
    return shown


def picture_rows(
    errors: ErrorAnalysis, shown: list[Shown], *, costs: ErrorCosts, threshold: float
) -> list[dict[str, Any]]:
    """Write of each image what lies on it, as JSON has it.

    Args:
        threshold: see `page_scores`.

    Returns:
        Of each image `name`, `size` [h, w], `truths` and `found`. A row of `truths` is x1, y1,
        x2, y2, class, whether it is to ignore (0 or 1), cost if missed. A row of `found` is x1, y1,
        x2, y2, class, score, kind (index into `DETECTION_KINDS`, or `IGNORED`), index of the row
        of `truths` that it is about (-1: none), IoU with it, cost. The best score comes first.
        Pixels have one decimal, costs are AP, 0..1.
    """
    count = len(errors.pictures.image_ids)
    found_rows = rows_of_each(errors.found.image, count, errors.found.scores)
    scores = page_scores(errors.found.scores, threshold)
    truth_rows = rows_of_each(errors.pictures.truths.image, count)
    return [
        {
            "name": errors.pictures.file_names[picture.index],
            "size": list(picture.size),
            "truths": _truths(errors, costs, truth_rows[picture.index]),
            "found": _found(
                errors,
                costs,
                found_rows[picture.index],
                there=truth_rows[picture.index],
                scores=scores,
            ),
        }
        for picture in shown
    ]


def _truths(errors: ErrorAnalysis, costs: ErrorCosts, rows: np.ndarray) -> list[list[float]]:
    truths = errors.pictures.truths
    columns = [
        *np.round(truths.boxes[rows], 1).T.tolist(),
        truths.classes[rows].tolist(),
        truths.ignore[rows].astype(int).tolist(),
        np.round(costs.truths[rows], 6).tolist(),
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _found(
    errors: ErrorAnalysis,
    costs: ErrorCosts,
    rows: np.ndarray,
    *,
    there: np.ndarray,
    scores: np.ndarray,
) -> list[list[float]]:
    found, judged = errors.found, errors.judgement
    rows = rows[judged.kinds[rows] >= 0]
    kinds, about = judged.kinds[rows], judged.truths[rows]
    # One to ignore stands for no box, unless it is badly placed or misnamed about one nearby.
    about = np.where(judged.ignored[rows] & ~np.isin(kinds, (CLS, LOC)), -1, about)
    local = np.where(about >= 0, np.searchsorted(there, about), -1)
    columns = [
        *np.round(found.boxes[rows], 1).T.tolist(),
        found.classes[rows].tolist(),
        scores[rows].tolist(),
        np.where(judged.ignored[rows], IGNORED, kinds).tolist(),
        local.tolist(),
        np.round(judged.ious[rows], 3).tolist(),
        np.round(costs.detections[rows], 6).tolist(),
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def page_scores(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return scores with four decimals, on the side of each threshold on which they were.

    Thresholds are the slider's, and `threshold`, which is rounded likewise.
    """
    rounded = np.round(np.append(scores, threshold), 4)
    passes = threshold_places(rounded) > threshold_places(np.append(scores, threshold))
    rounded = np.where(passes, np.round(rounded - 1e-4, 4), rounded)
    rounded, edge = rounded[:-1], rounded[-1]
    below = (scores < threshold) & (rounded >= edge)
    return np.where(below, np.round(edge - 1e-4, 4), rounded)
