"""The detections of one image, with their conversions and filters.

Shape letters: N detections, K classes.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.files.csv_cells import quoted
from keras_retinanet.modeling.numpy_boxes import xyxy_to_xywh

# The columns of `Detections.csv_cells`.
CSV_COLUMNS = ("x1", "y1", "x2", "y2", "class", "score")
# That which tracked detections have besides.
TRACK_COLUMN = "track"
# Where `supervision.Detections.data` keeps the names of classes.
SUPERVISION_NAMES = "class_name"


def coco_rows(
    image_ids: Iterable[Any], category_ids: Iterable[Any], *, xywh: np.ndarray, scores: np.ndarray
) -> list[dict[str, Any]]:
    """Return N rows of COCO's results format, all plain Python values.

    Each has `image_id`, `category_id`, `bbox` (xywh, pixels) and `score`.

    Args:
        image_ids: N ids of the annotation file.
        category_ids: N original ids of the dataset, not the contiguous ones.
        xywh: (N, 4) corner and sides in pixels of the original image.
        scores: (N,) 0..1.

    Source: https://cocodataset.org/#format-results
    """
    columns = zip(image_ids, category_ids, xywh.tolist(), scores.tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": int(category), "bbox": bbox, "score": score}
        for image_id, category, bbox, score in columns
    ]


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections of a model in one image, best first.

    Attributes:
        boxes: (N, 4) float32 xyxy in pixels of that image.
        scores: (N,) float32.
        classes: (N,) int32, indices into `class_names`.
        class_names: the names of all K classes of the model.
        tracks: (N,) int, of frames of a video: the number of the object's track, from 1, or -1
            for none; None: not tracked.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    class_names: list[str] = field(repr=False)
    tracks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def xywh(self) -> np.ndarray:
        """The boxes as (N, 4) left, top, width and height.

        In float64, so that left + width gives back the float32 corner.
        """
        return xyxy_to_xywh(np.asarray(self.boxes, np.float64).reshape(-1, 4))

    @property
    def names(self) -> list[str]:
        """The name of the class of each detection."""
        return [self.class_names[index] for index in np.asarray(self.classes).tolist()]

    # ------------------------------------------------------------------------------- filters

    def select(self, rows: np.ndarray) -> "Detections":
        """Return some of the detections.

        Args:
            rows: (N,) bool, or the indices to keep, in their new order.
        """
        return dataclasses.replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            classes=self.classes[rows],
            tracks=None if self.tracks is None else self.tracks[rows],
        )

    def with_score(self, least: float | np.ndarray) -> "Detections":
        """Return the detections with a score of at least `least`, or (K,) one for each class."""
        return self.select(self._reach(least))

    def drawn(self, least: float | np.ndarray) -> "Detections":
        """Return the detections to draw: those of `with_score`, and all that have a track."""
        if self.tracks is None:
            return self.with_score(least)
        return self.select(self._reach(least) | (self.tracks >= 0))

    def _reach(self, least: float | np.ndarray) -> np.ndarray:
        # As float32, which the scores are: a score of .9 is at least .9.
        of_class = np.broadcast_to(np.float32(least), len(self.class_names))
        return self.scores >= of_class[self.classes]

    def of_classes(self, *names: str) -> "Detections":
        """Return the detections of the classes with these names.

        Raises:
            ValueError: the model has no class of that name.
        """
        return self.select(np.isin(self.classes, _indices(names, self.class_names)))

    # --------------------------------------------------------------------------- conversions

    def to_coco(self, image_id: int | str, class_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return the detections as rows of COCO's results format (see `coco_rows`).

        Args:
            image_id: the id of the image in the annotation file.
            class_ids: the K original ids of the dataset, such as `RetinaNet.class_ids`.

        Returns:
            Of tracked detections, each row has its `track_id` besides, or null.
        """
        category_ids = np.take(class_ids, np.asarray(self.classes, np.int64))
        rows = coco_rows(
            [image_id] * len(self), category_ids, xywh=self.xywh, scores=np.asarray(self.scores)
        )
        if self.tracks is None:
            return rows
        pairs = zip(rows, self.tracks.tolist(), strict=True)
        return [row | {"track_id": track if track >= 0 else None} for row, track in pairs]

    def csv_cells(self) -> list[list[str]]:
        """Return the text of `CSV_COLUMNS` of each detection, and of its track if it is tracked.

        Corners have two decimals, scores have five, and a name that begins like a formula stands
        behind an apostrophe (`files.csv_cells`).
        """
        cells = [
            [*(f"{corner:.2f}" for corner in box), quoted(name), f"{score:.5f}"]
            for box, name, score in zip(self.boxes, self.names, self.scores, strict=True)
        ]
        if self.tracks is None:
            return cells
        texts = (str(track) if track >= 0 else "" for track in self.tracks.tolist())
        return [[*row, text] for row, text in zip(cells, texts, strict=True)]

    def to_supervision(self) -> Any:
        """Return the detections as a `supervision.Detections`.

        Raises:
            UserError: the package supervision is missing.
        """
        try:
            import supervision
        except ImportError as error:
            raise UserError(
                "Expected the package supervision. Received: a Python without it. "
                "Install it: pip install supervision."
            ) from error
        return supervision.Detections(
            xyxy=np.asarray(self.boxes, np.float32).reshape(-1, 4),
            confidence=np.asarray(self.scores, np.float32),
            class_id=np.asarray(self.classes, int),
            tracker_id=None if self.tracks is None else np.asarray(self.tracks, int),
            data={SUPERVISION_NAMES: np.array(self.names, dtype=str)},
        )

    @classmethod
    def from_supervision(cls, detections: Any, class_names: Sequence[str]) -> "Detections":
        """Return a `supervision.Detections` as `Detections`, in the order given.

        Args:
            detections: has `xyxy`, `confidence`, and `data["class_name"]` or `class_id`. Names
                come first, because the ids of two models may differ.
            class_names: K names.

        Raises:
            ValueError: scores or classes are missing, or a class is not one of `class_names`.
        """
        names, ids = detections.data.get(SUPERVISION_NAMES), detections.class_id
        tracks = getattr(detections, "tracker_id", None)
        if detections.confidence is None or (names is None and ids is None):
            raise ValueError(
                "Expected detections with `confidence`, and `class_id` or "
                f"`data[{SUPERVISION_NAMES!r}]`. Received: {detections!r}."
            )
        classes = np.asarray(ids if names is None else _indices(names, class_names), np.int32)
        if classes.size and not 0 <= classes.min() <= classes.max() < len(class_names):
            raise ValueError(
                f"Expected class ids of 0 to {len(class_names) - 1}, one for each class name. "
                f"Received: {classes.min()} to {classes.max()}."
            )
        return cls(
            np.asarray(detections.xyxy, np.float32).reshape(-1, 4),
            np.asarray(detections.confidence, np.float32),
            classes,
            list(class_names),
            None if tracks is None else np.asarray(tracks, np.int64),
        )


def _indices(names: Iterable[str], class_names: Sequence[str]) -> list[int]:
    """Return the index of each of `names` in `class_names`."""
    index = {name: place for place, name in enumerate(class_names)}
    wanted = [str(name) for name in names]
    if unknown := [name for name in wanted if name not in index]:
        raise ValueError(
            f"Expected names of {', '.join(class_names)}. Received: {', '.join(unknown)}."
        )
    return [index[name] for name in wanted]
