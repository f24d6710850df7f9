"""MediaPipe Tasks' ObjectDetector on an exported file, beside the model that was exported.

    python tests/parity/mediapipe_detections.py --model M.keras --pictures DIR --peer PYTHON

PYTHON is the interpreter of an environment with mediapipe (`pip install mediapipe==1.2.2 numpy`),
which needs nothing of this package: it runs this very file. Each picture is stretched to the
network's input first, so that both see the same pixels. MediaPipe cuts corner and size to whole
pixels, and makes one detection with two categories of two classes' equal boxes. Prints one line per
input type; exits with 1 if a detection is missing or differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# A last bit can decide which whole pixel is below.
PIXELS, SCORE = 1, 1e-4


def detect_with_mediapipe(model: str, pictures: str) -> None:
    """Print [[class name, score, x, y, width, height], ...] for each picture of an .npy file."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ObjectDetectorOptions(
        base_options=BaseOptions(model_asset_path=model), max_results=-1
    )
    pages = []
    with vision.ObjectDetector.create_from_options(options) as detector:
        for picture in np.load(pictures):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
            rows = []
            for detection in detector.detect(image).detections:
                box = detection.bounding_box
                place = box.origin_x, box.origin_y, box.width, box.height
                rows += [
                    [found.category_name, found.score, *place] for found in detection.categories
                ]
            pages.append(rows)
    print(json.dumps(pages))


def compare(ours, theirs) -> tuple[int, int, float]:
    """Return how many rows have no equal on the other side, and the largest differences."""
    missing, box_error, score_error, left = 0, 0, 0.0, list(theirs)
    for name, score, *place in ours:
        errors = [
            (max(abs(a - b) for a, b in zip(row[2:], place, strict=True)), row)
            for row in left
            if row[0] == name and abs(row[1] - score) <= SCORE
        ]
        error, row = min(errors, default=(PIXELS + 1, None))
        if error > PIXELS:
            missing += 1
            continue
        left.remove(row)
        box_error, score_error = max(box_error, error), max(score_error, abs(row[1] - score))
    return missing + len(left), box_error, score_error


def detect_with_the_model(model, pictures):
    """Return the same rows for pictures (P, H, W, 3) of the network's own size."""
    import tensorflow as tf

    pages = []
    for picture in pictures:
        batch = model.detect_batch(picture[None].astype("f4"), tf.constant([picture.shape[:2]]))
        num = int(batch.num[0])
        x1, y1, x2, y2 = batch.boxes[0, :num].numpy().T
        places = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1).astype(int).tolist()
        names = [model.class_names[index] for index in batch.classes[0, :num].numpy()]
        scores = batch.scores[0, :num].numpy().tolist()
        rows = zip(names, scores, places, strict=True)
        pages.append([[name, score, *place] for name, score, place in rows])
    return pages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--peer", required=True, metavar="PYTHON")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--image_size", type=int, nargs=2, metavar=("H", "W"))
    args = parser.parse_args()

    from PIL import Image

    from keras_retinanet.exporting.facts import default_image_size
    from keras_retinanet.exporting.tflite.conversion import export_tflite
    from keras_retinanet.modeling.saving import load

    model = load(args.model)
    size = tuple(args.image_size or default_image_size(model.preprocessing))
    files = sorted(args.pictures.rglob("*.jpg"))[: args.count]
    opened = (Image.open(file).convert("RGB").resize(size[::-1]) for file in files)
    stretched = np.stack([np.asarray(picture) for picture in opened])
    ours = detect_with_the_model(model, stretched)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/pictures.npy", stretched)
        for input_type in ("uint8", "float32"):
            file = Path(folder, f"{input_type}.tflite")
            export_tflite(
                model, file, form="mediapipe", input_type=input_type, image_size=size, say=id
            )
            answer = subprocess.run(
                [args.peer, __file__, "--run", str(file), f"{folder}/pictures.npy"],
                stdout=subprocess.PIPE,
                check=True,
            )
            theirs = json.loads(answer.stdout)
            results = [compare(*pair) for pair in zip(ours, theirs, strict=True)]
            wrong = sum(result[0] for result in results)
            box_error, score_error = (max(result[i] for result in results) for i in (1, 2))
            failures += wrong
            print(
                f"{input_type} input {size[0]} x {size[1]}: {len(ours)} pictures, "
                f"{sum(map(len, ours))} of ours, {sum(map(len, theirs))} of MediaPipe's, "
                f"{wrong} without an equal; largest difference {box_error} px, "
                f"{score_error:.1e} in score"
            )
    return 1 if failures else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        detect_with_mediapipe(*sys.argv[2:])
    else:
        sys.exit(main())
