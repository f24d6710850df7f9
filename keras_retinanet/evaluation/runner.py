"""A detector over a data set: pictures in, COCO detections and figures out.

Shape letters: B images, N detections, K classes of the model.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from keras_retinanet.data.fetching import strict_errors
from keras_retinanet.data.pipeline import evaluation_dataset
from keras_retinanet.data.records import Dataset
from keras_retinanet.detections import DetectionBatch
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.coco import figures, ground_truth, image_ids, match, per_class
from keras_retinanet.evaluation.pictures import Pass, PictureDetector, picture_passes
from keras_retinanet.evaluation.results import coco_results

# How many missing class names an error lists.
SHOWN_NAMES = 5


@dataclass
class DetectorRun:
    """What one pass over a data set gave.

    Attributes:
        detections: COCO results, in the order in which the pictures were read.
        unreadable: names of the pictures that could not be decoded; they have no detections.
        first_ms: per batch that was the first of its shape, and so may have traced a graph, the
            milliseconds per picture.
        warm_ms: the same of all other batches.
    """

    detections: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    warm_ms: list[float] = field(default_factory=list)

    @property
    def ms_per_picture(self) -> float:
        """Median milliseconds; NaN if nothing was run.

        Of a RetinaNet from network input to detections, of an exported file as it ships: from its
        inputs to its outputs.
        """
        return float(np.median(self.warm_ms or self.first_ms or [np.nan]))


def map_classes(model_names: list[str], dataset_names: list[str]) -> np.ndarray:
    """Finds the data set's class of each of the model's classes, by name.

    Case, spaces and underscores do not matter where no name is exactly the same.

    Args:
        model_names: the model's classes, in the order of its outputs.
        dataset_names: the data set's classes.

    Returns:
        (K,) int32: index into `dataset_names`, or -1 for a class that the data set lacks.

    Raises:
        UserError: a class of the data set is unknown to the model, so its boxes could never
            be found, or the data set has no classes.
    """
    exact = {name: index for index, name in enumerate(dataset_names)}
    loose = {_key(name): index for index, name in enumerate(dataset_names)}
    mapped = [exact.get(name, loose.get(_key(name), -1)) for name in model_names]
    missing = [name for index, name in enumerate(dataset_names) if index not in mapped]
    if missing or not dataset_names:
        raise UserError(
            "Class names do not map: the model must know every class of the data set. "
            f"Received: a model of {_listed(model_names)}, which lacks {_listed(missing)}. "
            "Choose the classes both have, or a model trained on this data."
        )
    return np.array(mapped, np.int32)


def _key(name: str) -> str:
    return "".join(name.casefold().replace("_", " ").split())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return (", ".join(names[:SHOWN_NAMES]) or "no class") + more


def run_detector(
    model: Any, dataset: Dataset, *, batch_size: int = 8, progress: bool = True
) -> DetectorRun:
    """Runs a model over each picture of a data set once.

    Args:
        model: a RetinaNet, of which `class_names`, `preprocessing`, `detect_batch` and
            `to_detections` are used; or a `PictureDetector`.
        dataset: pictures, and the classes that detections are translated to, by name.
        batch_size: pictures at a time, all of one canvas. It changes no detection. An exported
            file that takes one picture is given one.
        progress: show a bar with rate and time left, on standard error.

    Returns:
        The detections, with the data set's original class ids and in pixels of the original
        pictures. Classes that the data set lacks are left out.

    Raises:
        UserError: the class names do not map (see `map_classes`).
    """
    class_index = map_classes(model.class_names, dataset.class_names)
    category_ids = np.where(class_index < 0, -1, np.take(dataset.class_ids, class_index))
    picture_ids = image_ids(dataset)
    batch_size = max(1, min(batch_size, len(dataset.records)))
    run, shapes = DetectorRun(), set()
    passes = picture_passes if isinstance(model, PictureDetector) else _canvas_passes
    with tqdm(
        total=len(dataset.records),
        desc="detect",
        unit="picture",
        disable=not progress,
        dynamic_ncols=True,
    ) as bar:
        for shape, milliseconds, pictures in passes(model, dataset, batch_size):
            if milliseconds is not None:
                (run.warm_ms if shape in shapes else run.first_ms).append(milliseconds)
                shapes.add(shape)
            for index, found in pictures:
                if found is None:
                    run.unreadable.append(dataset.records[index].file_name)
                    continue
                ids = category_ids[found.classes]
                keep = ids >= 0
                run.detections += coco_results(
                    found.boxes[keep],
                    found.scores[keep],
                    category_ids=ids[keep],
                    image_id=picture_ids[index],
                )
            bar.update(len(pictures))
    return run


def _canvas_passes(model: Any, dataset: Dataset, batch_size: int) -> Iterator[Pass]:
    for indices, images, sizes, sources in _batches(model, dataset, batch_size):
        begin = time.perf_counter()
        batch = _detect(model, images, sizes, batch_size)
        milliseconds = 1000 * (time.perf_counter() - begin) / batch_size
        found = [
            (index, model.to_detections(batch, row, sizes[row], tuple(sources[row])))
            if sizes[row].all()
            else (index, None)
            for row, index in enumerate(indices)
        ]
        yield Pass(images.shape[1:3], milliseconds, found)


def _batches(model: Any, dataset: Dataset, batch_size: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Gives what `evaluation_dataset` gives, as arrays."""
    if not len(dataset.records):
        return
    with strict_errors(dataset.problems):
        for batch in evaluation_dataset(dataset, model.preprocessing, batch_size=batch_size):
            yield tuple(np.asarray(part) for part in batch)


def _detect(model: Any, images: np.ndarray, sizes: np.ndarray, batch_size: int) -> DetectionBatch:
    """Detects in up to `batch_size` pictures; rows beyond them repeat the last one."""
    # A smaller last batch is filled up, so that no graph is traced for its size.
    filled = np.minimum(np.arange(batch_size), len(images) - 1)
    # A picture that could not be read has size 0: its blank canvas is detected and dropped.
    sizes = np.maximum(sizes, 1).astype(np.int32)
    batch = model.detect_batch(images[filled], sizes[filled])
    # The device is done when a result is here: only then may the clock stop.
    np.asarray(batch.num)
    return batch


def detections_for(
    model: Any, dataset: Dataset, *, batch_size: int = 8, progress: bool = True
) -> list[dict[str, Any]]:
    """Gives a model's detections over a data set as COCO results, with original ids.

    Args, Returns and Raises: as `run_detector`, whose `detections` these are.
    """
    return run_detector(model, dataset, batch_size=batch_size, progress=progress).detections


def evaluate(
    model: Any, dataset: Dataset, *, batch_size: int = 8, progress: bool = True
) -> dict[str, Any]:
    """Scores a model on a data set.

    Args and Raises: as `run_detector`.

    Returns:
        The twelve figures under the names of `FIGURES` (for `format_metrics`), and `per_class`
        (name -> {"AP", "AP50"}), `ms_per_picture` (median milliseconds from network input to
        detections), `pictures` (how many there were) and `unreadable` (file names of those that
        could not be decoded; they count as pictures without detections).
    """
    run = run_detector(model, dataset, batch_size=batch_size, progress=progress)
    evaluation = match(ground_truth(dataset), run.detections)
    return {
        **figures(evaluation),
        "per_class": per_class(evaluation),
        "ms_per_picture": run.ms_per_picture,
        "pictures": len(dataset.records),
        "unreadable": run.unreadable,
    }
