"""COCO's matching by whichever engine there is, and every metric that is read from it.

pycocotools is the reference; where hotcoco is installed it computes the same tables sooner.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.average_precision import mean
from keras_retinanet.evaluation.metrics.fast_coco import fast_tables, is_installed
from keras_retinanet.evaluation.metrics.reference_coco import reference_tables
from keras_retinanet.evaluation.tables import EvaluationSet, Found, class_rows

Engine = Literal["auto", "hotcoco", "pycocotools"]
ENGINES = get_args(Engine)

# Name -> title, IoU, area and detections per image, in the order of pycocotools' `stats`.
FIGURES: dict[str, tuple[str, str, str, int]] = {
    "AP": ("Average Precision  (AP)", "0.50:0.95", "all", 100),
    "AP50": ("Average Precision  (AP)", "0.50", "all", 100),
    "AP75": ("Average Precision  (AP)", "0.75", "all", 100),
    "AP_small": ("Average Precision  (AP)", "0.50:0.95", "small", 100),
    "AP_medium": ("Average Precision  (AP)", "0.50:0.95", "medium", 100),
    "AP_large": ("Average Precision  (AP)", "0.50:0.95", "large", 100),
    "AR1": ("Average Recall     (AR)", "0.50:0.95", "all", 1),
    "AR10": ("Average Recall     (AR)", "0.50:0.95", "all", 10),
    "AR100": ("Average Recall     (AR)", "0.50:0.95", "all", 100),
    "AR_small": ("Average Recall     (AR)", "0.50:0.95", "small", 100),
    "AR_medium": ("Average Recall     (AR)", "0.50:0.95", "medium", 100),
    "AR_large": ("Average Recall     (AR)", "0.50:0.95", "large", 100),
}
# The axes of the tables.
IOUS = tuple((50 + 5 * step) / 100 for step in range(10))
RECALLS = tuple(step / 100 for step in range(101))
AREAS = ("all", "small", "medium", "large")
LIMITS = (1, 10, 100)


@dataclass(frozen=True, eq=False)
class CocoFigures:
    """What COCO's matching gave, from which every metric is read.

    T IoUs (`IOUS`), R recalls (`RECALLS`), K classes, A areas (`AREAS`), M limits (`LIMITS`). The
    tables are float64, -1 where there is nothing to find.
    """

    precision: np.ndarray  # (T, R, K, A, M)
    recall: np.ndarray  # (T, K, A, M)
    scores: np.ndarray  # (T, R, K, A, M), the score at which each recall is reached
    class_names: list[str]
    boxes: np.ndarray  # (K,) int64, to find
    pictures: np.ndarray  # (K,) int64, images that have such a box
    detections: np.ndarray  # (K,) int64
    engine: str  # "hotcoco" or "pycocotools"
    limit: int = LIMITS[-1]  # detections of an image and class that count

    def figure(self, name: str, index: int | None = None) -> float:
        """Read one of the twelve, 0..1; -1 where there is nothing to find.

        Args:
            name: a key of `FIGURES`.
            index: a class's; None: the mean over all classes that have a box to find.
        """
        _, iou, area, limit = FIGURES[name]
        ious = slice(None) if ":" in iou else slice(at := IOUS.index(float(iou)), at + 1)
        classes = slice(None) if index is None else slice(index, index + 1)
        table = self.precision if name.startswith("AP") else self.recall
        return mean(table[ious, ..., classes, AREAS.index(area), LIMITS.index(limit)])


def coco_evaluation(
    pictures: EvaluationSet,
    found: Found,
    *,
    engine: Engine = "auto",
    limit: int = LIMITS[-1],
) -> CocoFigures:
    """Run COCO's matching at all its IoUs, areas and limits, silently.

    Args:
        pictures: the ground truth. Boxes to ignore count as crowds, which match any number of
            detections and count neither way.
        found: the detections, of the same images and classes.
        engine: "auto": hotcoco where it is installed, else pycocotools. Both give the same.
        limit: how many detections of an image and class count, instead of COCO's 100.

    Raises:
        UserError: the engine is unknown or not installed.
    """
    chosen = _chosen_engine(engine)
    tables_by = fast_tables if chosen == "hotcoco" else reference_tables
    tables = tables_by(pictures, found, limits=(*LIMITS[:-1], limit))
    wanted, count = pictures.truths.select(~pictures.truths.ignore), len(pictures.class_names)
    having = np.unique(np.stack([wanted.classes, wanted.image], axis=1), axis=0)
    return CocoFigures(
        *tables,
        class_names=pictures.class_names,
        boxes=pictures.box_counts,
        pictures=np.bincount(having[:, 0], minlength=count),
        detections=np.bincount(found.classes, minlength=count),
        engine=chosen,
        limit=limit,
    )


def _chosen_engine(engine: str) -> str:
    if engine not in ENGINES:
        raise UserError(
            f"Expected an engine among {', '.join(ENGINES)}. Received: {engine}. Name one of them."
        )
    if engine == "hotcoco" and not is_installed():
        raise UserError(
            "Expected hotcoco to be installed. Received: engine=hotcoco, without it. Install "
            "keras_retinanet[fast], or take engine=pycocotools."
        )
    fast = engine == "hotcoco" or (engine == "auto" and is_installed())
    return "hotcoco" if fast else "pycocotools"


def figures(evaluation: CocoFigures) -> dict[str, float]:
    """Name the twelve metrics, 0..1, or -1 where there is nothing to find."""
    return {name: evaluation.figure(name) for name in FIGURES}


def per_class(evaluation: CocoFigures) -> dict[str, dict[str, float]]:
    """Read the AP and the AP50 of each class, by name; -1 for a class without a box to find."""
    return {
        name: {figure: evaluation.figure(figure, index) for figure in ("AP", "AP50")}
        for index, name in enumerate(evaluation.class_names)
    }


def class_table(evaluation: CocoFigures) -> list[dict[str, Any]]:
    """Return for each class its name, counts (`boxes`, `pictures`, `detections`) and 12 figures."""
    counts = {name: getattr(evaluation, name) for name in ("boxes", "pictures", "detections")}
    return [
        row | {figure: evaluation.figure(figure, index) for figure in FIGURES}
        for index, row in enumerate(class_rows(evaluation.class_names, **counts))
    ]


def iou_table(evaluation: CocoFigures) -> list[dict[str, float]]:
    """Return `IoU`, `AP` and `AR` (all areas, 100 detections) at each of the ten IoUs."""
    return [
        {
            "IoU": iou,
            "AP": mean(evaluation.precision[index, :, :, 0, -1]),
            "AR": mean(evaluation.recall[index, :, 0, -1]),
        }
        for index, iou in enumerate(IOUS)
    ]
