"""A model -> a SavedModel folder that TensorFlow and TF Serving load without this package."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import yaml

from keras_retinanet.config.files import config_to_dict
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import (
    FACTS_FILE,
    FILE_DIGESTS,
    LABELS_FILE,
    facts_json,
    labels_text,
    model_facts,
)
from keras_retinanet.exporting.saved_model.program_check import digests
from keras_retinanet.exporting.saved_model.serving import OUTPUTS, Serving
from keras_retinanet.exporting.saved_model.warmup import write_warmup
from keras_retinanet.exporting.staging import staged
from keras_retinanet.modeling.retinanet import RetinaNet

CONFIG_FILE = "config.yaml"
BAD_PICTURES = ("error", "empty")
# detection_classes are float32, as the TF Object Detection API has them.
MAX_CLASS_ID = 2**24
# Of the images in warm-up requests.
GREY = 127


def export_saved_model(
    model: RetinaNet,
    out: Path,
    *,
    precision: str = "float32",
    xla: bool = False,
    warmup: bool = False,
    bad_pictures: str = "error",
    say: Any = print,
) -> None:
    """Write `model` to the folder `out`, whole or not at all.

    Args:
        model: its thresholds are the signatures' defaults.
        out: replaced if it is there.
        precision: "float32", "bfloat16" or "float16": see `folding.folded`.
        xla: add signatures that XLA compiles at their first call with a shape.
        warmup: add requests that TF Serving runs when it loads the model.
        bad_pictures: what a file that is no image does in `serve_bytes`: an "error" that names
            its index, or "empty", no detections for it.
        say: gets one line per step.

    Raises:
        UserError: an unknown option, or class ids that a float32 cannot hold.
    """
    if bad_pictures not in BAD_PICTURES:
        raise UserError(
            f"Expected bad_pictures of {', '.join(BAD_PICTURES)}. "
            f"Received: bad_pictures={bad_pictures!r}."
        )
    if max(map(abs, model.class_ids)) > MAX_CLASS_ID:
        raise UserError(
            f"Expected class ids of at most {MAX_CLASS_ID}. Received: {max(model.class_ids)}. "
            "Export a model whose classes are numbered from 1."
        )
    facts = model_facts(
        model, kind="saved_model", precision=precision, outputs=OUTPUTS, bad_pictures=bad_pictures
    )
    say("folding batch norms")
    serving = Serving(
        model, facts_json(facts), precision=precision, keep_going=bad_pictures == "empty", xla=xla
    )
    say("tracing and writing the signatures " + ", ".join(serving.signatures()))
    with staged(Path(out)) as folder:
        tf.saved_model.save(serving, str(folder), serving.signatures())
        _write_assets(model, {**facts, FILE_DIGESTS: digests(folder)}, folder / "assets")
        if warmup:
            say("writing warm-up requests")
            write_warmup(folder, _warmup_requests(model, xla=xla))


def _write_assets(model: RetinaNet, facts: dict[str, Any], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    config = yaml.safe_dump({"model": config_to_dict(model.config)}, sort_keys=False)
    texts = {
        FACTS_FILE: facts_json(facts),
        LABELS_FILE: labels_text(model.class_names),
        CONFIG_FILE: config,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")


def _warmup_requests(model: RetinaNet, *, xla: bool) -> list[tuple[str, dict[str, Any]]]:
    """Return a gray image for each canvas that XLA compiles for, and one as bytes."""
    sides = model.preprocessing.bucket_sides()
    shapes = [(sides[0], side) for side in sides] + [(side, sides[0]) for side in sides[1:]]
    # Stated by its shape and one value, each takes a few bytes.
    pictures = [tf.make_tensor_proto(GREY, tf.uint8, (1, *shape, 3)) for shape in shapes]
    encoded = tf.io.encode_jpeg(np.full((*shapes[0], 3), GREY, np.uint8)).numpy()
    requests: list[tuple[str, dict[str, Any]]] = [
        ("serving_default", {"images": pictures[0]}),
        ("serve_bytes", {"image_bytes": [encoded]}),
    ]
    if xla:
        requests += [("serve_xla", {"images": picture}) for picture in pictures]
    return requests
