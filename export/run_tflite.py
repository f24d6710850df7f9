"""Find objects in images with a TFLite file of `keras_retinanet export`, in any of its forms.

Needs only ai-edge-litert (or TensorFlow), NumPy and Pillow; keep pictures.py and raw_heads.py
beside it.

    python run_tflite.py model.tflite photo.jpg folder/ --out detected --threshold .5
"""

import hashlib
import io
import os
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from pictures import BadInput, Found, Model, Picture, main, parse_facts
from PIL import Image
from raw_heads import detections_of_heads

# Rounding of a side times the scale.
WHOLE = {"even": round, "floor": int, "half_up": lambda side: int(side + 0.5)}


def load(path: Path) -> Model:
    """Load a TFLite file and its facts.

    Raises:
        BadInput: it is no TFLite file of `keras_retinanet export`.
    """
    if not path.is_file():
        raise BadInput(f"Expected a .tflite file. Received: {path}, not there.")
    facts = read_facts(path)
    try:
        interpreter = interpreter_class()(model_path=str(path), num_threads=os.cpu_count())
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"{path} is no TFLite file that this machine runs: {error}") from error
    source = interpreter.get_input_details()[0]["index"]
    targets = interpreter.get_output_details()
    anchors = read_anchors(path)
    names = [output["name"] for output in facts["outputs"]]

    def detect(picture: Picture) -> Found:
        canvas, placed = letterbox(picture.pixels, facts)
        interpreter.set_tensor(source, canvas)
        interpreter.invoke()
        values = [
            as_float(interpreter.get_tensor(target["index"]), *target["quantization"])
            for target in targets
        ]
        outputs = dict(zip(names, values, strict=True)) | anchors
        return to_picture(outputs, placed, picture.pixels.shape[:2], facts)

    return Model(facts, detect)


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts in the zip archive that is appended to a file.

    Raises:
        BadInput: it says nothing, or was damaged since: an interpreter could crash on it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read("model.json")
            end = min(entry.header_offset for entry in archive.infolist())
    except (zipfile.BadZipFile, KeyError, zlib.error):
        text, end = b"", 0
    facts = parse_facts(text, path)
    digest = hashlib.sha256(path.read_bytes()[:end]).hexdigest()
    if facts.get("flatbuffer_sha256", digest) != digest:
        raise BadInput(f"{path} is damaged. Copy or export it again.")
    return facts


def read_anchors(path: Path) -> dict[str, np.ndarray]:
    """Return the anchors (1, R, 4) of form `edgetpu`; nothing of other forms."""
    with zipfile.ZipFile(path) as archive:
        if "anchors.npy" not in archive.namelist():
            return {}
        return {"anchors": np.load(io.BytesIO(archive.read("anchors.npy")), allow_pickle=False)}


def as_float(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Return what the integers of an output stand for; floats, whose scale is 0, as they are."""
    return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values


def interpreter_class() -> Any:
    """Return LiteRT's interpreter, or TensorFlow's if that is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter
    except ImportError:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow as tf

        return tf.lite.Interpreter


def placement(height: int, width: int, facts: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Return where an image lies in the input, each as (vertical, horizontal) in pixels.

    Returns:
        "size": of the resized image, at the top left of the input; "source": of what is
        resized, which is the image, or with `pad_first` the square with black borders; "offset":
        the image's place in that.
    """
    canvas = tuple(facts["input"]["image_size"])
    preprocessing = facts["config"]["preprocessing"]
    if facts["input"]["letterbox"] == "stretch":
        return {"size": canvas, "source": (height, width), "offset": (0, 0)}
    if preprocessing["pad_first"]:
        top, left = (max(0, width - height) // 2, max(0, height - width) // 2)
        source = (height + 2 * top, width + 2 * left)
        return {"size": (min(canvas),) * 2, "source": source, "offset": (top, left)}
    scale = min(canvas[0] / height, canvas[1] / width)
    whole = WHOLE[preprocessing["rounding"]]
    size = max(1, whole(height * scale)), max(1, whole(width * scale))
    return {"size": size, "source": (height, width), "offset": (0, 0)}


def letterbox(pixels: np.ndarray, facts: dict[str, Any]) -> tuple[np.ndarray, dict]:
    """Return the network input (1, H, W, 3) of a uint8 image, and its `placement`."""
    placed = placement(*pixels.shape[:2], facts)
    bounds = [(border, border) for border in (*placed["offset"], 0)]
    method, is_smooth = "float", False
    if facts["input"]["letterbox"] != "stretch":
        preprocessing = facts["config"]["preprocessing"]
        method = preprocessing["resize_method"]
        is_smooth = preprocessing["antialias"] or method == "pillow"
    resize = smooth_resize if is_smooth else bilinear_resize
    image = resize(np.pad(pixels, bounds), placed["size"])
    if method != "float":
        image = np.rint(image)
    canvas = np.empty((1, *facts["input"]["image_size"], 3), np.float32)
    canvas[:] = facts["input"]["pad_value"]
    canvas[0, : image.shape[0], : image.shape[1]] = image
    if facts["input"]["dtype"] == "uint8":
        canvas = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return canvas, placed


def bilinear_resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return `tf.image.resize(image, size)`: pixel centers at halves, no averaging."""
    # In its order and precision, so that halves are rounded to the same gray level.
    image = image.astype(np.float32)
    for axis in (1, 0):
        scale = np.float32(image.shape[axis] / size[axis])
        centres = (np.arange(size[axis], dtype=np.float32) + np.float32(0.5)) * scale
        centres -= np.float32(0.5)
        low = np.floor(centres)
        share = (centres - low).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        pair = (np.clip(low + step, 0, image.shape[axis] - 1).astype(int) for step in (0, 1))
        before, after = (np.take(image, index, axis) for index in pair)
        image = before + (after - before) * share
    return image


def smooth_resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return Pillow's bilinear resize, which averages when it shrinks."""
    resized = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)


def to_picture(outputs: dict, placed: dict, picture: tuple[int, int], facts: dict) -> Found:
    """Return the file's `outputs` as boxes in pixels of a `picture` of that (height, width)."""
    height, width = facts["input"]["image_size"]
    if "class_logits" in outputs:
        boxes, scores, labels = detections_of_heads(outputs, placed["size"], facts["config"])
    else:
        count = int(outputs["num"][0])
        boxes = outputs["boxes"][0, :count][:, [1, 0, 3, 2]] * [width, height, width, height]
        scores = outputs["scores"][0, :count]
        labels = outputs["classes"][0, :count].astype(np.int32)
    y, x = (source / size for source, size in zip(placed["source"], placed["size"], strict=True))
    top, left = placed["offset"]
    boxes = boxes * [x, y, x, y] - [left, top, left, top]
    boxes = np.clip(boxes, 0, np.array([picture[1], picture[0]] * 2))
    return Found(boxes.astype(np.float32), scores, labels)


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], load))
