"""Shared by the apps: read images, draw detections, write detections.json. Needs NumPy and Pillow.

Shape letters: N detections.
"""

import colorsys
import json
import math
import statistics
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

# Formats that `serve_bytes` decodes; folders are searched for these.
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".webp"}
EXPORT_FORMAT = 1
BAR_WIDTH = 30
# Steps of this share of the hue circle never come close to an earlier one (golden ratio).
HUE_STEP = (math.sqrt(5) - 1) / 2
TONES = ((0.85, 1.0), (0.6, 1.0), (0.9, 0.8))


class BadInput(ValueError):
    """A mistake that the user can fix; printed as one line, exit code 2."""


@dataclass(frozen=True)
class Picture:
    """One image: its file's bytes, and its pixels (H, W, 3) uint8 RGB as they are stored."""

    path: Path
    encoded: bytes
    pixels: np.ndarray


@dataclass(frozen=True)
class Found:
    """Detections of one image: boxes (N, 4) xyxy in its pixels, scores (N,), labels (N,)."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray  # indices into the class names


@dataclass(frozen=True)
class Model:
    """A loaded model: its facts (model.json) and its detect function."""

    facts: dict[str, Any]
    detect: Callable[[Picture], Found]


def main(description: str, load: Callable[[Path], Model]) -> int:
    """Run an app: parse, detect in each image, write; return the exit code."""
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("model", type=Path, help="what `keras_retinanet export` wrote")
    add("images", nargs="+", type=Path, help="images and folders of images")
    add("--out", type=Path, default=Path("detected"), help="folder to write (detected/)")
    add("--threshold", type=float, default=0.5, help="least score of a drawn box (.5)")
    args = parser.parse_args()
    try:
        if not 0 <= args.threshold <= 1:
            raise BadInput(f"Expected a threshold of 0 to 1. Received: {args.threshold}.")
        paths = find_pictures(args.images)
        _run(args, load(args.model), paths)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def parse_facts(text: str | bytes, path: Path) -> dict[str, Any]:
    """Return model.json as a dict.

    Raises:
        BadInput: it is not there, or of a newer format.
    """
    try:
        facts = json.loads(text)
        version = facts["export_format"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} holds no model.json of `keras_retinanet export`.") from error
    if version > EXPORT_FORMAT:
        raise BadInput(f"{path} has export format {version}; this app reads {EXPORT_FORMAT}.")
    return facts


def find_pictures(words: Sequence[Path]) -> list[Path]:
    """Return the given files, and the images in the given folders."""
    paths: list[Path] = []
    for word in words:
        if word.is_dir():
            paths += sorted(path for path in word.iterdir() if path.suffix.lower() in SUFFIXES)
        elif word.is_file():
            paths.append(word)
        else:
            raise BadInput(f"Expected an image or a folder of images. Received: {word}.")
    if not paths:
        raise BadInput(f"Expected images. Received: {words[0]}, a folder without any.")
    return paths


def read_picture(path: Path) -> Picture:
    """Read a file, without EXIF rotation and transparency.

    Raises:
        BadInput: Pillow cannot read it as an image.
    """
    try:
        encoded = path.read_bytes()
        with Image.open(path) as image:
            if image.mode.startswith("I;16"):  # 16-bit gray: the upper 8 bits
                grey = (np.asarray(image) >> 8).astype(np.uint8)
                return Picture(path, encoded, np.repeat(grey[..., None], 3, axis=2))
            return Picture(path, encoded, np.asarray(image.convert("RGB")))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path} cannot be read as an image: {error}") from error


def progress(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the paths, with a progress bar if standard error is a terminal."""
    for count, path in enumerate(paths, 1):
        yield path
        if sys.stderr.isatty():
            done = BAR_WIDTH * count // len(paths)
            bar = "#" * done + "." * (BAR_WIDTH - done)
            print(f"\r[{bar}] {count}/{len(paths)}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _run(args: Namespace, model: Model, paths: list[Path]) -> None:
    names, ids = model.facts["class_names"], model.facts["class_ids"]
    args.out.mkdir(parents=True, exist_ok=True)
    rows, times, skipped = [], [], []
    targets = _drawing_paths(paths, args.out)
    for path in progress(paths):
        try:
            picture = read_picture(path)
            start = time.perf_counter()
            found = model.detect(picture)
        except BadInput as error:
            skipped.append(f"skipped: {error}")
            continue
        times.append(time.perf_counter() - start)
        draw(picture.pixels, found, names, args.threshold).save(targets[path], quality=92)
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
            x1, y1, x2, y2 = (float(corner) for corner in box)
            rows.append(
                {
                    "file_name": str(path),
                    "category_id": ids[label],
                    "class": names[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(score),
                }
            )
    for line in skipped:
        print(line, file=sys.stderr)
    if not times:
        raise BadInput(f"None of {len(paths)} images could be read.")
    (args.out / "detections.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    drawn = sum(row["score"] >= args.threshold for row in rows)
    median = 1000 * statistics.median(times)
    print(
        f"{len(times)} images, {drawn} boxes of at least {args.threshold}, median {median:.0f} ms"
    )
    print(f"Images and detections.json are in {args.out}/")


def _drawing_paths(paths: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return the output path of each image; input files are never overwritten."""
    taken = {path.resolve() for path in paths}
    targets = {}
    for path in paths:
        target, count = out / f"{path.stem}.jpg", 1
        while target.resolve() in taken:
            count += 1
            target = out / f"{path.stem}_{count}.jpg"
        taken.add(target.resolve())
        targets[path] = target
    return targets


def class_color(index: int) -> tuple[int, int, int]:
    """Return the RGB color of a class, the same as in images of `keras_retinanet predict`."""
    saturation, value = TONES[index % len(TONES)]
    red, green, blue = colorsys.hsv_to_rgb((index * HUE_STEP) % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw(pixels: np.ndarray, found: Found, names: list[str], threshold: float) -> Image.Image:
    """Draw boxes with class and score on a copy of an image, the best on top."""
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    side = math.sqrt(image.width * image.height)
    line = max(1, round(side / 280))
    font = ImageFont.load_default(size=max(9, round(side / 42)))
    for index in np.argsort(found.scores, kind="stable"):
        if found.scores[index] < threshold:
            continue
        label = int(found.labels[index])
        color = class_color(label)
        x1, y1, x2, y2 = (float(corner) for corner in found.boxes[index])
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color, width=line)
        text = f"{names[label]} {found.scores[index]:.2f}"
        _, _, width, height = pen.textbbox((0, 0), text, font=font)
        left = max(0.0, min(x1, image.width - width - 2 * line))
        top = y1 - height - line if y1 > height + line else y1
        pen.rectangle((left, top, left + width + 2 * line, top + height + line), fill=color)
        is_light = np.dot(color, (0.299, 0.587, 0.114)) > 130
        pen.text((left + line, top), text, font=font, fill="black" if is_light else "white")
    return image
