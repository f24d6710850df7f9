"""A model as OpenVINO's IR: the graph of its ONNX file, in OpenVINO's own two files.

OpenVINO reads ONNX files too; its own files are what its tools and servers take.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import (
    FACTS_FILE,
    FACTS_KEY,
    FILE_DIGESTS,
    LABELS_FILE,
    MODEL_DIGEST,
    OPENVINO_FILE,
    facts_json,
    labels_text,
)
from keras_retinanet.exporting.onnx_file import onnx_model
from keras_retinanet.exporting.openvino_check import digests
from keras_retinanet.exporting.staging import staged
from keras_retinanet.modeling.retinanet import RetinaNet

# Its default on CPUs that have bfloat16 is bfloat16.
OPTIONS = {"INFERENCE_PRECISION_HINT": "f32"}


def export_openvino(
    model: RetinaNet,
    out: Path,
    *,
    form: str = "nms",
    precision: str = "float32",
    image_size: tuple[int, int] | None = None,
    input_type: str | None = None,
    calibration: Iterable[np.ndarray] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Write `model` to the folder `out`: model.xml, model.bin, model.json and labels.txt.

    Input, outputs and arguments are those of `export_onnx`.

    Raises:
        UserError: as `export_onnx`, or OpenVINO is missing.
    """
    openvino = import_openvino()
    file = onnx_model(
        model,
        form=form,
        precision=precision,
        image_size=image_size,
        input_type=input_type,
        calibration=calibration,
        say=say,
    )
    facts = {**_facts_of(file), "kind": "openvino"}
    say("converting to OpenVINO and writing")
    with staged(Path(out)) as folder:
        folder.mkdir()
        network = openvino.Core().read_model(file.SerializeToString())
        # Weights are in their precision already; to halve more would move the anchors.
        openvino.save_model(network, folder / OPENVINO_FILE, compress_to_fp16=False)
        facts[FILE_DIGESTS] = digests(folder)
        texts = {FACTS_FILE: facts_json(facts), LABELS_FILE: labels_text(model.class_names)}
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="")


def _facts_of(file: Any) -> dict[str, Any]:
    """Return the facts of an ONNX model, without its digest."""
    stored = {entry.key: entry.value for entry in file.metadata_props}
    facts = json.loads(stored[FACTS_KEY])
    del facts[MODEL_DIGEST]
    return facts


def import_openvino() -> Any:
    """Return the package; raise a UserError if it is not installed."""
    try:
        import openvino
    except ImportError as error:
        raise UserError(
            "Expected openvino, which writes and runs its IR. Received: a Python without it. "
            "Install it: pip install openvino."
        ) from error
    return openvino
