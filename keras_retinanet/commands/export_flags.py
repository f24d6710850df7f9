"""Flags of `export`: which format takes which, and errors for combinations without meaning."""

import argparse
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_retinanet.commands.common import DATA_KEYS, add_data_arguments, add_model_argument
from keras_retinanet.errors import UserError

CALIBRATION_PICTURES = 32
MAX_AP_DROP = 1.0
THRESHOLDS = ("score_threshold", "nms_iou", "max_detections")
OUT_HELP = "file to write; saved_model, openvino, coreml: folder"
PRECISION_HELP = (
    "float32; saved_model: bfloat16, float16; tflite: float16, dynamic, int8; "
    "onnx, openvino: float16, int8; coreml: float16"
)
FORM_HELP = "nms: detections (default); tflite: mediapipe, edgetpu; raw: logits and deltas"
# Flags that ask for images or say where they are.
PICTURES = ("dataset", *DATA_KEYS, "picture", "verify", "split", "max_ap_drop")
# Flag -> the flag and value that it requires.
ONLY_WITH = {
    "split": ("verify", None),
    "max_ap_drop": ("verify", None),
    "calibration_pictures": ("precision", "int8"),
}


@dataclass(frozen=True)
class Exporter:
    """A format of `--format`.

    Attributes:
        write: called with (model, out, **options), where options are its own flags.
        suffixes: allowed file suffixes; empty for a folder.
        takes: its own flags -> allowed values; empty allows any.
        is_checked: whether the export detects, so that it is checked, calibrated and verified.
    """

    write: Callable[..., None]
    suffixes: tuple[str, ...] = ()
    takes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_checked: bool = True


def add_flags(parser: ArgumentParser, exporters: Mapping[str, Exporter]) -> None:
    """Add the flags of `export` to its parser."""
    add_data_arguments(parser)
    add_model_argument(parser)
    add = parser.add_argument
    add("--format", required=True, choices=exporters, help="format to write")
    add("--out", required=True, metavar="PATH", help=OUT_HELP)
    add("--precision", metavar="P", help=PRECISION_HELP)
    add("--form", help=FORM_HELP)
    add("--image_size", type=canvas_size, metavar="H,W", help="fixed input of the network in px")
    add("--input_type", choices=("uint8", "float32"), help="data type of the input")
    add("--score_threshold", type=float, metavar="S", help="minimum score (default: the model's)")
    add("--nms_iou", type=float, metavar="IOU", help="IoU above which NMS drops a box")
    add("--max_detections", type=int, metavar="N", help="maximum number of detections per image")
    add("--xla", action="store_true", default=None, help="saved_model: add XLA signatures")
    add("--warmup", action="store_true", default=None, help="saved_model: add warm-up requests")
    add(
        "--bad_pictures",
        choices=("error", "empty"),
        help="saved_model: result for bytes that cannot be decoded",
    )
    images = f"images for int8 ({CALIBRATION_PICTURES})"
    add("--calibration_pictures", type=int, metavar="N", help=images)
    add("--picture", action="append", metavar="FILE", help="check the export on this image")
    add(
        *("--verify",),
        nargs="?",
        const="",
        metavar="DATASET",
        help="compare AP before and after, on DATASET or the data of the model's run",
    )
    add("--split", help="split to verify on (default: the validation split)")
    add(
        "--max_ap_drop", type=float, metavar="D", help=f"hundredths of AP to lose ({MAX_AP_DROP:g})"
    )


def canvas_size(text: str) -> tuple[int, int]:
    """Parse "H,W", or one number for a square, into pixels."""
    try:
        height, width = [int(part) for part in (text.split(",") * 2)[: max(2, text.count(",") + 1)]]
    except ValueError:
        height = width = 0
    if min(height, width) < 1:
        raise argparse.ArgumentTypeError(
            f"expected H,W or one number in pixels, such as 320 or 240,320. Received: {text!r}"
        )
    return height, width


def refuse(given: Mapping[str, Any], exporters: Mapping[str, Exporter]) -> None:
    """Raise a UserError for a flag that the chosen format does not take.

    Args:
        given: flag -> value, for the flags that were given.
        exporters: format -> exporter, for all formats.
    """
    name, out = given["format"], Path(given["out"])
    exporter = exporters[name]
    if exporter.suffixes and out.suffix not in exporter.suffixes:
        raise UserError(
            f"Expected a file that ends in {', '.join(exporter.suffixes)}. Received: --out {out}."
        )
    foreign = {flag for other in exporters.values() for flag in other.takes} - set(exporter.takes)
    if not exporter.is_checked:
        foreign |= {*THRESHOLDS, *PICTURES, "calibration_pictures"}
    for flag in given:
        if flag in foreign:
            shown = "DATASET" if flag == "dataset" else f"--{flag}"
            raise UserError(f"Expected no {shown}: --format {name} does not take it. Remove it.")
    for flag, values in exporter.takes.items():
        if values and given.get(flag, values[0]) not in values:
            raise UserError(
                f"Expected --{flag} {' or '.join(values)} with --format {name}. "
                f"Received: {given[flag]}."
            )
    for flag, (other, value) in ONLY_WITH.items():
        if flag in given and (other not in given or value not in (None, given[other])):
            needed = f"--{other} {value or ''}".strip()
            raise UserError(f"Expected {needed}: --{flag} needs it. Add it, or remove --{flag}.")
