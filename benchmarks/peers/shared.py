"""What the scripts of all peers share: data, clock, detections, facts.

Needs NumPy and Pillow alone, because each peer runs in an environment of its own.
"""

import argparse
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SNAPSHOTS = 5
LOG_EVERY = 10  # steps


class LabeledImage(NamedTuple):
    """An image and its ground truth: boxes (G,4) xyxy in its pixels, classes (G,) from 0."""

    id: int
    path: Path
    height: int
    width: int
    boxes: np.ndarray
    classes: np.ndarray

    def pixels(self) -> np.ndarray:
        """Return the image (height, width, 3) as uint8 RGB."""
        with Image.open(self.path) as image:
            return np.asarray(image.convert("RGB"))


class Split(NamedTuple):
    """A split of a data set in the format of COCO; a class is a place in `category_ids`."""

    images: list[LabeledImage]
    category_ids: list[int]


# An image's id, boxes (N,4) xyxy in its pixels, scores (N,), classes (N,) from 0.
Found = tuple[int, np.ndarray, np.ndarray, np.ndarray]


def read_split(data_dir: Path, name: str) -> Split:
    """Read `annotations/instances_<name>.json` of a folder; its images lie in `<name>/`."""
    content = json.loads((data_dir / "annotations" / f"instances_{name}.json").read_text())
    ids = [category["id"] for category in content["categories"]]
    by_image: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    images = []
    for image in content["images"]:
        labels = by_image[image["id"]]
        boxes = np.array([label["bbox"] for label in labels], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        classes = np.array([ids.index(label["category_id"]) for label in labels], np.int64)
        path = data_dir / name / image["file_name"]
        images.append(
            LabeledImage(image["id"], path, image["height"], image["width"], boxes, classes)
        )
    return Split(images, ids)


def write_detections(path: Path, found: Iterable[Found], category_ids: Sequence[int]) -> None:
    """Write detections as a COCO results file."""
    rows = []
    for image_id, boxes, scores, classes in found:
        sizes = boxes[:, 2:] - boxes[:, :2]
        for corner, size, score, label in zip(boxes[:, :2], sizes, scores, classes, strict=True):
            rows.append(
                {
                    "image_id": image_id,
                    "category_id": category_ids[int(label)],
                    "bbox": [float(value) for value in (*corner, *size)],
                    "score": float(score),
                }
            )
    path.write_text(json.dumps(rows))


@dataclass
class TrainingClock:
    """Time of a training in minutes, from the first step on; says when to take a snapshot.

    Attributes:
        snapshots: seconds at which each was taken.
        losses: (seconds, mean loss of the steps since the row before).
    """

    minutes: float
    steps: int = 0
    started: float = field(default_factory=time.monotonic)
    snapshots: dict[int, float] = field(default_factory=dict)
    losses: list[tuple[float, float]] = field(default_factory=list)
    _window: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def progress(self) -> float:
        """Return the share of the time that has passed, 0..1."""
        return min(1.0, self.seconds / (60 * self.minutes))

    @property
    def done(self) -> bool:
        return self.progress >= 1

    def step(self, loss: float) -> None:
        """Count a step.

        Raises:
            SystemExit: the loss is infinite or not a number.
        """
        self.steps += 1
        if not math.isfinite(loss):
            sys.exit(f"loss {loss} at step {self.steps}")
        self._window.append(loss)
        if len(self._window) == LOG_EVERY or self.done:
            self.losses.append((self.seconds, float(np.mean(self._window))))
            print(f"step {self.steps}, {self.seconds:.0f} s, loss {self.losses[-1][1]:.4g}")
            self._window.clear()

    def due(self, *, is_last: bool = False) -> int | None:
        """Return the number, from 1, of the snapshot to take now; None: not yet."""
        number = SNAPSHOTS if is_last else int(self.progress * SNAPSHOTS)
        if number == 0 or number in self.snapshots:
            return None
        self.snapshots[number] = self.seconds
        return number

    def cosine(self) -> float:
        """Return the factor of the learning rate, from 1 to 0."""
        return 0.5 * (1 + math.cos(math.pi * self.progress))


def write_facts(args: argparse.Namespace, clock: TrainingClock, **facts: object) -> None:
    """Write what the table shows of a training; call it before evaluating, for the memory."""
    content = facts | {
        "minutes": args.minutes,
        "batch_size": args.batch_size,
        "input": args.input,
        "steps": clock.steps,
        "images": clock.steps * args.batch_size,
        "seconds": clock.seconds,
        "snapshots": clock.snapshots,
        "losses": clock.losses,
        # Kilobytes on Linux, bytes on macOS.
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
    }
    (args.out / "facts.json").write_text(json.dumps(content, indent=1))


def evaluate_snapshots(
    folder: Path,
    data_dir: Path,
    numbers: Iterable[int],
    detect: Callable[[int, Split], Iterable[Found]],
) -> None:
    """Write the detections of each snapshot in `val`, and those of the last one in `test`.

    Args:
        detect: (number of a snapshot, split) -> its detections.
    """
    numbers = sorted(numbers)
    for number in numbers:
        split = read_split(data_dir, "val")
        write_detections(folder / f"val-{number}.json", detect(number, split), split.category_ids)
    split = read_split(data_dir, "test")
    write_detections(folder / "test.json", detect(numbers[-1], split), split.category_ids)


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser of what the driver passes to each script."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data_dir", type=Path, required=True, help="COCO layout")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch_size", type=int, required=True)
    parser.add_argument("--input", type=int, nargs=2, required=True, help="short and long side")
    return parser
