"""A detector over a dataset: images in, COCO detections and metrics out.

Shape letters: B images, N detections, K classes of the model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.data.pipeline.vanished import require_readable
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.class_map import map_classes
from keras_retinanet.evaluation.crowds import counted_detections
from keras_retinanet.evaluation.feeding import prepared_canvases, prepared_images
from keras_retinanet.evaluation.metrics.coco_figures import coco_evaluation, figures, per_class
from keras_retinanet.evaluation.rasters import detect_rasters, raster_rows
from keras_retinanet.evaluation.replicas import FullBatches
from keras_retinanet.evaluation.streaming import Columns
from keras_retinanet.evaluation.tables import (
    EvaluationSet,
    Found,
    evaluation_set,
    results_from_found,
)
from keras_retinanet.modeling.detecting import DetectedBatch, detect_batches
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.tiling import Tiled, is_tiled, with_own_tiles
from keras_retinanet.processes.read_ahead import read_ahead
from keras_retinanet.terminal import progress as progress_bar


@dataclass
class DetectorRun:
    """The result of one pass over a dataset.

    Attributes:
        pictures: the images and their ground truth.
        found: the detections, in the order of the images.
        unreadable: names of the images that could not be decoded; they have no detections.
        first_ms: per batch that was the first of its shape, and so may have traced a graph, the
            milliseconds per image.
        warm_ms: the same of all other batches.
    """

    pictures: EvaluationSet
    found: Found
    unreadable: list[str]
    first_ms: list[float]
    warm_ms: list[float]

    @property
    def detections(self) -> list[dict[str, Any]]:
        """The detections as COCO results, with the dataset's original ids."""
        return results_from_found(self.found, self.pictures)

    @property
    def ms_per_picture(self) -> float:
        """Median milliseconds; NaN if nothing was run.

        Of a RetinaNet from network input to detections, of an exported file as it ships: from its
        inputs to its outputs.
        """
        return float(np.median(self.warm_ms or self.first_ms or [np.nan]))


def run_detector(
    model: Any,
    dataset: Dataset,
    *,
    batch_size: int = 8,
    progress: bool = True,
    strategy: tf.distribute.Strategy | None = None,
    indices: Sequence[int] | None = None,
    columns: Columns | None = None,
    keep: Callable[[list[str]], None] | None = None,
) -> DetectorRun:
    """Run a model once on each image of a dataset.

    Args:
        model: a RetinaNet, of which `config`, `class_names`, `preprocessing`, `detect_batch` and
            `finish` are used; or another `ObjectDetector`. One that is configured for tiles
            detects in tiles.
        dataset: images, and the classes that detections are translated to, by name.
        batch_size: images at a time, all of one canvas, over all replicas together. It changes
            no detection. An exported file that takes one image is given one.
        progress: show a bar with rate and time left, on standard error.
        strategy: whose replicas share each batch of a RetinaNet that was made in its scope.
        indices: of the images to use; None: all.
        columns: the detections of other images; those of `indices` are added.
        keep: receives the lines (`Columns.line`) of the images of each finished batch.

    Returns:
        The detections, in pixels of the original images. Classes that the dataset lacks are
        left out.

    Raises:
        UserError: the class names do not map (see `map_classes`), or too many images cannot be
            read that their metrics would be of none (see `require_readable`).
    """
    model = with_own_tiles(model)
    class_index = map_classes(model.class_names, dataset.class_names)
    indices = range(len(dataset.records)) if indices is None else indices
    columns = Columns() if columns is None else columns
    first_ms: list[float] = []
    warm_ms: list[float] = []
    shapes = set()
    with progress_bar(
        total=len(indices),
        desc="detect",
        unit="image",
        disable=not progress,
    ) as bar:
        for shape, milliseconds, pictures in _batches(
            model, dataset, indices, batch_size, strategy
        ):
            if milliseconds is not None:
                (warm_ms if shape in shapes else first_ms).append(milliseconds)
                shapes.add(shape)
            done = [indices[row] for row, _ in pictures]
            for index, (_, found) in zip(done, pictures, strict=True):
                if found is None:
                    require_readable(dataset, index)
                _add(columns, index, found, class_index)
            if keep is not None:
                keep([columns.line(index) for index in done])
            bar.update(len(done))
    return finished_run(dataset, columns, (first_ms, warm_ms), asked=indices)


def finished_run(
    dataset: Dataset,
    columns: Columns,
    milliseconds: tuple[list[float], list[float]],
    *,
    asked: Sequence[int],
) -> DetectorRun:
    """Combine the results of one or several passes over a dataset.

    Raises:
        UserError: an image of `asked` has no result, or no image could be read.
            No metric is computed from fewer.
    """
    missing = sum(index not in columns for index in asked)
    if missing:
        raise UserError(
            f"Expected detections of {len(asked):,} images. Received: none of {missing:,} of them. "
            "Run it again."
        )
    unreadable = [dataset.records[index].file_name for index in columns.unreadable]
    if unreadable and len(unreadable) == len(dataset.records):
        raise UserError(
            f"Expected images that can be read. Received: none of {len(unreadable):,}, such as "
            f"{unreadable[0]}. Check that the folder is there."
        )
    first_ms, warm_ms = milliseconds
    return DetectorRun(evaluation_set(dataset), columns.found(), unreadable, first_ms, warm_ms)


def _add(columns: Columns, index: int, found: Detections | None, class_index: np.ndarray) -> None:
    """Keep the detections of an image, of the classes that the dataset has."""
    if found is None:
        columns.add_unreadable(index)
        return
    classes = class_index[found.classes]
    rows = classes >= 0
    columns.add(index, found.boxes[rows], scores=found.scores[rows], classes=classes[rows])


def _batches(
    model: Any,
    dataset: Dataset,
    indices: Sequence[int],
    batch_size: int,
    strategy: tf.distribute.Strategy | None,
) -> Iterator[DetectedBatch]:
    """Yield the batches of the records of `indices`, numbered from 0."""
    # Not of `indices`: batches of another size round otherwise, and a share is to give what the
    # whole gives.
    batch_size = max(1, min(batch_size, len(dataset.records)))
    if len(indices) < len(dataset.records):
        dataset = replace(dataset, records=[dataset.records[index] for index in indices])
    if hasattr(model, "detect_batch"):
        prepared = prepared_canvases(model, dataset, batch_size=batch_size)
        full = FullBatches(model, batch_size, strategy)
        return detect_batches(full, prepared, batch_size=batch_size)
    rasters = raster_rows(dataset) if isinstance(model, Tiled) else []
    prepared = read_ahead(prepared_images(model, dataset, without=rasters))
    return chain(
        detect_batches(model, prepared, batch_size=batch_size),
        detect_rasters(model, dataset, rasters, batch_size=batch_size),
    )


def detections_for(
    model: Any, dataset: Dataset, *, batch_size: int = 8, progress: bool = True
) -> list[dict[str, Any]]:
    """Return a model's detections over a dataset as COCO results; as `run_detector`."""
    return run_detector(model, dataset, batch_size=batch_size, progress=progress).detections


def evaluate(
    model: Any, dataset: Dataset, *, batch_size: int = 8, progress: bool = True
) -> dict[str, Any]:
    """Score a model on a dataset.

    Args and Raises: as `run_detector`.

    Returns:
        The twelve metrics under the names of `FIGURES` (for `format_metrics`), and `per_class`
        (name -> {"AP", "AP50"}), `ms_per_picture` (median milliseconds from network input to
        detections), `pictures` (how many there were) and `unreadable` (file names of those that
        could not be decoded; they count as images without detections).
    """
    run = run_detector(model, dataset, batch_size=batch_size, progress=progress)
    limit = counted_detections(run.pictures, in_tiles=is_tiled(model))
    evaluation = coco_evaluation(run.pictures, run.found, limit=limit)
    return {
        **figures(evaluation),
        "per_class": per_class(evaluation),
        "ms_per_picture": run.ms_per_picture,
        "pictures": len(dataset.records),
        "unreadable": run.unreadable,
    }
