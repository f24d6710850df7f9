"""Evaluate during training: metrics, curves and a few images from one pass over a split."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from keras_retinanet.data.records import Dataset
from keras_retinanet.drawing.fonts import machine_fonts
from keras_retinanet.drawing.marks import IGNORED_COLOR, Mark, class_color, draw_marks
from keras_retinanet.drawing.pictures import picture_grid
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.crowds import counted_detections
from keras_retinanet.evaluation.metrics.coco_figures import coco_evaluation, figures, per_class
from keras_retinanet.evaluation.metrics.curves import OperatingPoints, operating_points
from keras_retinanet.evaluation.metrics.matching import match_detections
from keras_retinanet.evaluation.report.gallery import dataset_pictures
from keras_retinanet.evaluation.runner import run_detector
from keras_retinanet.evaluation.tables import Found, evaluation_set, found_from_results
from keras_retinanet.modeling.tiling import is_tiled
from keras_retinanet.training.shared_validation import shared_run
from keras_retinanet.training.team import Team

# Number of images shown, the same in every evaluation, and their long side in pixels.
EXAMPLES = 4
EXAMPLE_SIDE = 640


@dataclass(frozen=True, eq=False)
class Score:
    """Results of one pass over the validation split.

    Attributes:
        figures: COCO's twelve metrics, 0..1, or -1 without ground truth.
        class_ap: class name -> AP, likewise.
        points: correct and wrong detections per class and threshold, at IoU .5.
        found: the detections.
    """

    figures: dict[str, float]
    class_ap: dict[str, float]
    points: OperatingPoints
    found: Found


class Validation:
    """Evaluate models on one data set, whose ground truth is read once.

    Args:
        dataset: data set with at least one box.
        batch_size: images per batch.
        team: the processes that share the images; None: this one has all.
        check: called by all of them from time to time; what it raises ends the evaluation.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        team: Team | None = None,
        check: Callable[[], object] = lambda: None,
    ):
        self.dataset, self.batch_size, self.team, self.check = dataset, batch_size, team, check
        self.pictures = evaluation_set(dataset)
        self.examples = _spread(self.pictures.truths.image[~self.pictures.truths.ignore])

    @property
    def is_alone(self) -> bool:
        """Return whether one process detects in all images."""
        return self.team is None or self.team.count == 1

    @property
    def class_names(self) -> list[str]:
        return self.pictures.class_names

    def __call__(self, model: Any) -> Score:
        """Detect in every image and return the metrics."""
        if self.team is None or self.team.count == 1:
            run = run_detector(model, self.dataset, batch_size=self.batch_size, progress=False)
        else:
            run = shared_run(
                model, self.dataset, self.team, batch_size=self.batch_size, check=self.check
            )
        found = found_from_results(run.detections, self.pictures)
        limit = counted_detections(self.pictures, in_tiles=is_tiled(model))
        coco = coco_evaluation(self.pictures, found, limit=limit)
        points = operating_points(found, match_detections(self.pictures, found))
        class_ap = {name: values["AP"] for name, values in per_class(coco).items()}
        return Score(figures(coco), class_ap, points, found)

    def draw(self, found: Found, threshold: float) -> dict[str, np.ndarray]:
        """Draw the examples: ground truth left, detections of `threshold` or more right.

        Returns:
            File name -> (h, w, 3) uint8 RGB. Images that cannot be read are skipped.
        """
        read, drawn = dataset_pictures(self.dataset), {}
        for index in self.examples:
            try:
                image = read(index)
            except (UserError, OSError):
                continue
            # Resize before drawing, so that labels have the same size in every image.
            scale = EXAMPLE_SIDE / max(image.shape[:2])
            height, width = (max(1, round(side * scale)) for side in image.shape[:2])
            shown = np.asarray(Image.fromarray(image).resize((width, height)))
            halves = (self._truths(index, scale), self._found(found, index, scale, threshold))
            drawn[self.pictures.file_names[index]] = picture_grid(
                [draw_marks(shown, marks) for marks in halves]
            )
        return drawn

    def _truths(self, index: int, scale: float) -> list[Mark]:
        truths, marks = self.pictures.truths, []
        for row in np.flatnonzero(truths.image == index):
            name, color = self._class(truths.classes[row])
            if truths.ignore[row]:
                name, color = "ignored", IGNORED_COLOR
            marks.append(Mark(_scaled(truths.boxes[row], scale), name, color))
        return marks

    def _found(self, found: Found, index: int, scale: float, threshold: float) -> list[Mark]:
        rows = np.flatnonzero((found.image == index) & (found.scores >= threshold))
        marks = []
        for row in rows[np.argsort(found.scores[rows], kind="stable")]:  # the best on top
            name, color = self._class(found.classes[row])
            text = f"{name} {found.scores[row]:.2f}"
            marks.append(Mark(_scaled(found.boxes[row], scale), text, color))
        return marks

    def _class(self, index: int) -> tuple[str, tuple[int, int, int]]:
        return machine_fonts().drawn_names(self.class_names)[index], class_color(int(index))


def _spread(images: np.ndarray) -> list[int]:
    """Return up to `EXAMPLES` of the images (N,), evenly spread over their order."""
    there = np.unique(images)
    places = np.linspace(0, len(there) - 1, min(EXAMPLES, len(there)))
    return there[places.round().astype(int)].tolist()


def _scaled(box: np.ndarray, scale: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(corner) * scale for corner in box)
    return x1, y1, x2, y2
