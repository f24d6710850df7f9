"""Compare AP, time and size of every export format of a model in one table.

    python benchmarks/exports.py best.keras --data_dir bccd
    python benchmarks/exports.py best.keras --data_dir bccd --only "TFLite int8" "TFLite float32"

Each file is written, read back as `evaluate --model FILE` does, and scored on the split. Then all
forms take the same images in turn, one at a time, and the median of each counts: from its own
input to detections, with all processors. A SavedModel's input is the image, so its time has the
resize in it. All others are given a letterboxed one, in float32 as the `.keras` model is: rounding
it to uint8 (--input_type) moves AP by .1 or .2 on a few images. ONNX is left out without
`pip install '.[onnx]'`.
"""

import argparse
import importlib.util
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from keras_retinanet.config import DataConfig
from keras_retinanet.data import load_dataset, load_train_val, recognise
from keras_retinanet.evaluation import evaluate
from keras_retinanet.exporting import (
    Sample,
    export_onnx,
    export_saved_model,
    export_tflite,
    load_exported,
)
from keras_retinanet.modeling import load

TIMED_PICTURES = 10
ROUNDS = 5


def usual_canvas(model, dataset) -> tuple[int, int]:
    """Return the (height, width) that most images of `dataset` are padded to by `model`."""
    rules = model.preprocessing
    canvases = Counter(
        rules.canvas_size(*rules.resized_size(record.height, record.width))
        for record in dataset.records
    )
    return canvases.most_common(1)[0][0]


def exporters(model, canvas, calibration, input_type) -> dict[str, tuple[str, Callable]]:
    """Return the exports: row of the table -> file name and function that writes it."""
    forms: dict[str, tuple[str, Callable]] = {}
    for precision in ("float32", "bfloat16", "float16"):
        forms[f"SavedModel {precision}"] = (
            f"saved_model_{precision}",
            lambda out, precision=precision: export_saved_model(
                model, out, precision=precision, say=_quiet
            ),
        )
    for precision in ("float32", "float16", "dynamic", "int8"):
        forms[f"TFLite {precision}"] = (
            f"{precision}.tflite",
            lambda out, precision=precision: export_tflite(
                model,
                out,
                precision=precision,
                image_size=canvas,
                input_type=input_type,
                calibration=calibration if precision == "int8" else None,
                say=_quiet,
            ),
        )
    if importlib.util.find_spec("onnxruntime"):
        forms["ONNX float32"] = (
            "model.onnx",
            lambda out: export_onnx(
                model, out, image_size=canvas, input_type=input_type, say=_quiet
            ),
        )
    return forms


def _quiet(_: str) -> None:
    """Ignore a progress line."""


def size_mb(path: Path) -> float:
    """Return the size of a file, or of all files of a folder, in MB."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def timed_call(detector) -> Callable[[np.ndarray], Callable[[], object]]:
    """Return the function that makes the timed call for an image."""

    def of_image(image):
        inputs, size = detector.prepare(image)
        return lambda: detector.infer(inputs[None], np.array([size], np.int32))

    return of_image


def milliseconds(detectors: dict, pictures: list[np.ndarray]) -> dict[str, float]:
    """Return the median time per image of each; they run in turn, so a slow minute slows all."""
    calls = {
        name: [timed_call(detector)(picture) for picture in pictures]
        for name, detector in detectors.items()
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(ROUNDS + 1):
        for index in range(len(pictures)):
            for name, own in calls.items():
                begin = time.perf_counter()
                own[index]()
                if round_:  # the first one traces and allocates
                    times[name].append(1000 * (time.perf_counter() - begin))
    return {name: float(np.median(taken)) for name, taken in times.items()}


def print_table(figures: dict[str, dict], times: dict[str, float], sizes: dict[str, float]) -> None:
    """Print a Markdown table; AP differences are relative to the first row."""
    source = 100 * next(iter(figures.values()))["AP"]
    print("| form | AP | difference | AP50 | ms per image | MB |")
    print("| --- | --: | --: | --: | --: | --: |")
    for name, row in figures.items():
        ap = 100 * row["AP"]
        print(
            f"| {name} | {ap:.2f} | {ap - source:+.2f} | {100 * row['AP50']:.2f} "
            f"| {times[name]:.1f} | {sizes[name]:.1f} |"
        )


def main() -> None:
    """Export, evaluate, time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help=".keras file")
    parser.add_argument("--data_dir", required=True, help="folder of a data set")
    parser.add_argument("--split", default="test")
    parser.add_argument("--image_size", metavar="H,W", help="default: the split's usual canvas")
    parser.add_argument("--input_type", default="float32", choices=("uint8", "float32"))
    parser.add_argument("--calibration_pictures", type=int, default=32, metavar="N")
    parser.add_argument("--only", nargs="+", default=(), help="rows of the table, such as these")
    parser.add_argument("--out", type=Path, help="folder to keep the files in")
    args = parser.parse_args()

    recognised, sentence = recognise(args.data_dir)
    print(sentence)
    config = DataConfig(**recognised)
    dataset = load_dataset(config, args.split)
    calibration = Sample(load_train_val(config)[0], args.calibration_pictures)
    model = load(args.model)
    canvas = usual_canvas(model, dataset)
    if args.image_size:
        height, width = args.image_size.split(",")
        canvas = int(height), int(width)
    forms = exporters(model, canvas, calibration, args.input_type)
    print(f"{len(dataset.records)} images, canvas {canvas[0]}x{canvas[1]}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        detectors = {".keras": model}
        sizes = {".keras": size_mb(Path(args.model))}
        for name, (file, write) in forms.items():
            if args.only and name not in args.only:
                continue
            write(folder / file)
            detectors[name], sizes[name] = load_exported(folder / file), size_mb(folder / file)
        figures = {}
        for name, detector in detectors.items():
            figures[name] = evaluate(detector, dataset, batch_size=1, progress=False)
            print(f"{name}: AP {100 * figures[name]['AP']:.2f}", flush=True)
        times = milliseconds(detectors, list(Sample(dataset, TIMED_PICTURES)))
        print_table(figures, times, sizes)


if __name__ == "__main__":
    main()
