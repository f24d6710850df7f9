"""TensorFlow Serving's REST form: the JSON of a request -> images, detections -> JSON.

As https://www.tensorflow.org/tfx/serving/api_rest states it, with the names of the inputs and
outputs of an exported SavedModel. Only rows ("instances") are taken, not columns ("inputs").
"""

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError, shown
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.modeling.detections import Detections

VERSION = "1"
# Of all images of a request, unless it has one alone: a few bytes can stand for many pixels.
MAX_REQUEST_PIXELS = 100_000_000
BYTES_SIGNATURE, ARRAY_SIGNATURE = "serve_bytes", "serving_default"
SIGNATURES = {
    BYTES_SIGNATURE: {"image_bytes": ("DT_STRING", [-1])},
    ARRAY_SIGNATURE: {"images": ("DT_UINT8", [-1, -1, -1, 3])},
}
OUTPUTS = {
    "detection_boxes": ("DT_FLOAT", [-1, -1, 4]),
    "detection_boxes_xyxy": ("DT_FLOAT", [-1, -1, 4]),
    "detection_classes": ("DT_FLOAT", [-1, -1]),
    "detection_scores": ("DT_FLOAT", [-1, -1]),
    "num_detections": ("DT_FLOAT", [-1]),
}


def read_request(body: bytes, *, max_images: int) -> list[np.ndarray]:
    """Return the images of a request, uint8 RGB (H, W, 3).

    Raises:
        UserError: it is not as the form has it, has too many images, or one cannot be decoded.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError(f"Expected JSON. Received: {error}.") from error
    instances = request.get("instances") if isinstance(request, dict) else None
    if not isinstance(instances, list) or not 1 <= len(instances) <= max_images:
        raise UserError(
            f'Expected {{"instances": [...]}} with 1 to {max_images} images. '
            f"Received: {shown(request)}."
        )
    signature = request.get("signature_name")
    if signature is not None and signature not in SIGNATURES:
        raise UserError(
            f"Expected one of the signatures {', '.join(SIGNATURES)}. Received: {shown(signature)}."
        )
    images: list[np.ndarray] = []
    for index, instance in enumerate(instances):
        images.append(_image(instance, index))
        pixels = sum(image.shape[0] * image.shape[1] for image in images)
        if index and pixels > MAX_REQUEST_PIXELS:
            raise UserError(
                f"Expected images of at most {MAX_REQUEST_PIXELS:,} pixels together. Received: "
                f"{pixels:,} in the first {index + 1}. Send fewer at a time."
            )
    return images


def _image(instance: Any, index: int) -> np.ndarray:
    if isinstance(instance, dict) and list(instance) in (["image_bytes"], ["images"]):
        (instance,) = instance.values()
    try:
        if isinstance(instance, dict) and list(instance) == ["b64"]:
            return decode_image(base64.b64decode(instance["b64"], validate=True))
        array = np.asarray(instance)
    except (UserError, ValueError, TypeError, binascii.Error) as error:
        raise UserError(f"instances[{index}]: {error}") from error
    is_image = array.ndim == 3 and array.shape[2] == 3 and array.size and array.dtype.kind == "i"
    if not is_image or array.min() < 0 or array.max() > 255:
        raise UserError(
            f'instances[{index}]: expected {{"b64": "..."}} of an image file, or rows of pixels of '
            f"3 integers from 0 to 255. Received: {shown(instance)}."
        )
    return array.astype(np.uint8)


def response(
    found: Sequence[Detections], images: Sequence[np.ndarray], class_ids: Sequence[int]
) -> dict[str, Any]:
    """Return the answer: of each image as many rows as it has detections."""
    pairs = zip(found, images, strict=True)
    return {"predictions": [_prediction(each, image.shape, class_ids) for each, image in pairs]}


def _prediction(
    found: Detections, shape: tuple[int, ...], class_ids: Sequence[int]
) -> dict[str, Any]:
    boxes = np.asarray(found.boxes, np.float64).reshape(-1, 4)
    sides = np.array([shape[0], shape[1], shape[0], shape[1]])
    scores = [float(score) for score in found.scores]
    return {
        "detection_boxes": (boxes[:, [1, 0, 3, 2]] / sides).tolist(),
        "detection_boxes_xyxy": boxes.tolist(),
        "detection_classes": [float(class_ids[label]) for label in found.classes],
        "detection_scores": [score if math.isfinite(score) else 0.0 for score in scores],
        "num_detections": float(len(scores)),
    }


def status() -> dict[str, Any]:
    """Return the state of the model: it is there, or the server would not answer."""
    fine = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": VERSION, "state": "AVAILABLE", "status": fine}]}


def metadata(name: str) -> dict[str, Any]:
    """Return what the signatures take and give."""
    outputs = _tensors(OUTPUTS)
    signatures = {
        key: {
            "inputs": _tensors(inputs),
            "outputs": outputs,
            "method_name": "tensorflow/serving/predict",
        }
        for key, inputs in SIGNATURES.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": VERSION},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _tensors(named: Mapping[str, tuple[str, list[int]]]) -> dict[str, Any]:
    return {
        name: {
            "dtype": dtype,
            "tensor_shape": {
                "dim": [{"size": str(side), "name": ""} for side in sides],
                "unknown_rank": False,
            },
            "name": name,
        }
        for name, (dtype, sides) in named.items()
    }
