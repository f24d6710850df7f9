"""Detection on a cluster with Ray Data: paths in, one actor per replica of the model, Parquet out.

Ray starts another actor for one that died and gives it the batches that were not finished, so that
each image is in the result once.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_retinanet.errors import UserError

# A batch that Ray gives an actor. Large enough for its overhead, and small beside memory: it holds
# paths, and the rows of its images.
RAY_BATCH = 64
ADVICE = "Install it: pip install 'ray[data]'."


class Actor:
    """What each actor holds: a `Detector`, and how its rows become a table.

    Args:
        model: the model file.
        threads: of TensorFlow; None: one per core.
        options: of `Detector`.
    """

    def __init__(self, model: str, threads: int | None, options: dict[str, Any]):
        if threads is not None:
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(threads)
        from keras_retinanet.inference.detector import Detector

        self._detector = Detector(model, **options)

    def __call__(self, batch: dict[str, Any]) -> Any:
        """Return a batch's detections as a table of Arrow, with lists as plain Parquet has them."""
        import pyarrow

        columns = self._detector(batch)
        columns["boxes"] = [boxes.tolist() for boxes in columns["boxes"]]
        types = {
            "height": pyarrow.int32(),
            "width": pyarrow.int32(),
            "boxes": pyarrow.list_(pyarrow.list_(pyarrow.float32())),
            "scores": pyarrow.list_(pyarrow.float32()),
            "class_ids": pyarrow.list_(pyarrow.int64()),
            "names": pyarrow.list_(pyarrow.string()),
            "error": pyarrow.string(),
        }
        return pyarrow.table(
            {name: pyarrow.array(column, types.get(name)) for name, column in columns.items()}
        )


def ray_detections(
    images: Any,
    model: str | Path,
    *,
    actors: int = 1,
    cpus: float = 1,
    gpus: float = 0,
    **options: Any,
) -> Any:
    """Return a Ray data set of the detections in the images of another one.

    Args:
        images: a `ray.data.Dataset` with a column that `Detector` reads: `path` of files that all
            machines see, or `bytes` as from `ray.data.read_binary_files(..., include_paths=True)`.
        model: the model file, at a path that all machines see; a SavedModel loads fastest.
        actors: processes with a model each.
        cpus, gpus: what Ray reserves for each; TensorFlow gets as many threads as `cpus`.
        options: of `Detector`.

    Returns:
        A data set that is computed as it is read: the columns of `images` without pixels, and those
        of `Detector.rows`.

    Raises:
        UserError: ray is not installed, or the model file is not there.
    """
    ray = _ray()
    if not Path(model).exists():  # here, not after minutes in every actor
        raise UserError(f"Expected a model file. Received: {model}, not there.")
    return images.map_batches(
        Actor,
        fn_constructor_args=(os.path.abspath(model), max(1, round(cpus)), options),
        batch_size=RAY_BATCH,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=cpus,
        num_gpus=gpus,
    )


def detect_files(
    paths: Iterable[str | Path], model: str | Path, out: str | Path, **options: Any
) -> None:
    """Detect in image files and write Parquet files, one row for each image, in any order.

    Args:
        paths: of images, each once.
        out: folder to write, new or empty: whether rows of another call lie there is not looked at.
        options: of `ray_detections`.

    Raises:
        UserError: as `ray_detections`; there are no paths, or `out` is not empty.
    """
    ray, out = _ray(), Path(out)
    rows = [{"path": os.path.abspath(path)} for path in paths]
    if not rows:
        raise UserError("Expected paths of images. Received: none.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"Expected a new or empty folder. Received: {out}. Name another one.")
    detections = ray_detections(ray.data.from_items(rows), model, **options)
    # Actors may have all CPUs: rows must not wait in memory until they end.
    detections.write_parquet(os.path.abspath(out), ray_remote_args={"num_cpus": 0})


def _ray() -> Any:
    try:
        import ray.data
    except ImportError as error:
        raise UserError(
            f"Expected the package ray with its data part. Received: a Python without it. {ADVICE}"
        ) from error
    return ray
