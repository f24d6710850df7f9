"""A model that another Keras package has built, in this process -> ours."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_retinanet.checkpoints.families.family import shapes_of
from keras_retinanet.checkpoints.importing import model_of, recognise
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.h5_file import KERAS_CONFIG
from keras_retinanet.weight_files.reading import read_checkpoint


def import_model(
    model: Any,
    *,
    image_size: tuple[int, int] | None = None,
    classes: str | Sequence[str] | None = None,
) -> RetinaNet:
    """Import a RetinaNet that KerasHub or KerasCV has built.

    Args:
        model: a `keras_hub.models.RetinaNetObjectDetector` or `keras_cv.models.RetinaNet`. Its
            weights go through a temporary file; its optimizer and losses are skipped.
        image_size, classes: as for `import_checkpoint`.

    Raises:
        UserError: it is no Keras model, or none of a family that we know.
    """
    if not callable(getattr(model, "save_weights", None)):
        raise UserError(
            "expected a RetinaNet of KerasHub or KerasCV. Received: "
            f"model={type(model).__name__}. Give the model itself, or import its file."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights.h5"
        model.save_weights(path)
        weights = read_checkpoint(path)
        checkpoint = Checkpoint(
            weights.tensors, {**weights.metadata, KERAS_CONFIG: model.to_json()}, "keras"
        )
        family = recognise(shapes_of(checkpoint.tensors))
        return model_of(checkpoint, family, path, image_size=image_size, classes=classes)
