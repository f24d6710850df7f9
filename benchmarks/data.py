"""Measure images per second from JPEG files to padded batches, relative to plain decoders.

    python benchmarks/data.py tiny_coco

Each figure is the best of several runs over the same files, repeated; all use as many threads as
there are cores. Bare decoding is `tf.io.decode_jpeg` of whole files in tf.data; Pillow's is decode
and bilinear resize in a thread pool. Neither pads, batches or moves boxes.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.config import AugmentConfig, DataConfig
from keras_retinanet.data import Dataset, ImageRef, cached, load_dataset, training_batches
from keras_retinanet.modeling import Preprocessing

BATCH = 8
RUNS = 3
# Images of 640 px become such of a 5-megapixel camera.
ENLARGED = 4
CORES = os.cpu_count() or 1
SIZES = {"800/1333": (800, 1333), "320": (320, 320)}
JITTER = AugmentConfig(scale=(0.5, 2.0), color=0.3)
# Name -> what is changed in the images, and where small copies are kept.
SETTINGS: dict[str, tuple[AugmentConfig, str | None]] = {
    "flip": (AugmentConfig(), None),
    "flip, cached": (AugmentConfig(), "memory"),
    "flip, scale .5 to 2, color": (JITTER, None),
}


def rate(count: int, run: Callable[[], Iterable]) -> float:
    """Return images per second of the best of RUNS passes over `count` images."""
    seconds = []
    for _ in range(RUNS):
        items = iter(run())
        next(items)  # tracing, threads and the first prefetch are not what is compared
        start = time.perf_counter()
        for _ in items:
            pass
        seconds.append(time.perf_counter() - start)
    return count / min(seconds)


def enlarged(dataset: Dataset, folder: Path) -> Dataset:
    """Return `dataset` with its images ENLARGED times as wide and high, as a camera's are."""
    records = []
    for record in dataset.records:
        path, size = folder / record.file_name, (record.height * ENLARGED, record.width * ENLARGED)
        with Image.open(record.image.path) as image:
            image.convert("RGB").resize(size[::-1], Image.Resampling.BICUBIC).save(path, quality=90)
        boxes = record.boxes * np.float32(ENLARGED)
        image_ref = ImageRef(str(path))
        records.append(replace(record, image=image_ref, height=size[0], width=size[1], boxes=boxes))
    return replace(dataset, records=records)


def ours(dataset: Dataset, sides, augment: AugmentConfig, cache: str | None, pictures: int):
    """Return a function that makes training batches: fetch, resize, flip, pad, boxes, batch."""
    preprocessing = Preprocessing(*sides)
    if cache:
        dataset = cached(dataset, preprocessing, augment, cache)
    batches = training_batches(
        dataset,
        preprocessing,
        data_config=DataConfig(augment=augment),
        batch_size=BATCH,
        seed=0,
    )
    return lambda: itertools.islice(batches, 1 + pictures // BATCH)


def bare(paths: list[str], pictures: int):
    """Return a function that decodes whole files in tf.data, one by one in order."""
    files = tf.data.Dataset.from_tensor_slices(paths).repeat().take(pictures + 1)
    decoded = files.map(
        lambda path: tf.io.decode_jpeg(tf.io.read_file(path), channels=3),
        num_parallel_calls=CORES,
        deterministic=True,
    )
    return lambda: decoded.prefetch(2)


def pillow(paths: list[str], sides: tuple[int, int], pictures: int):
    """Return a function that decodes and resizes with Pillow in as many threads."""
    preprocessing = Preprocessing(*sides)

    def resized(path: str) -> np.ndarray:
        with Image.open(path) as image:
            height, width = preprocessing.resized_size(image.height, image.width)
            small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(small)

    def run():
        with ThreadPoolExecutor(CORES) as pool:
            yield from pool.map(resized, itertools.islice(itertools.cycle(paths), pictures + 1))

    return run


def compare(dataset: Dataset, pictures: int) -> None:
    """Print images per second of plain decoders and of ours."""
    paths = [record.image.path for record in dataset.records]
    kilobytes = np.mean([Path(path).stat().st_size for path in paths]) / 1000
    print(f"{len(paths)} files of {kilobytes:.0f} kB on average, {CORES} threads, pictures/s")
    plain = rate(pictures, bare(paths, pictures))
    print(f"{'bare tf.io.decode_jpeg':52}{plain:8.0f}")
    for name, sides in SIZES.items():
        peer = rate(pictures, pillow(paths, sides, pictures))
        print(f"{name + ', Pillow decode + resize':52}{peer:8.0f}")
        for label, (augment, cache) in SETTINGS.items():
            own = rate(pictures, ours(dataset, sides, augment, cache, pictures))
            what = f"{name}, ours: {label}"
            print(f"{what:52}{own:8.0f}  {own / plain:.2f} of bare  {own / peer:.2f} of Pillow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="COCO layout with train2017 and val2017")
    args = parser.parse_args()
    dataset = load_dataset(DataConfig(source="coco", data_dir=args.folder), "train")
    compare(dataset, 800)
    with tempfile.TemporaryDirectory() as folder:
        print(f"\nthe same, {ENLARGED} times as wide and high")
        compare(enlarged(dataset, Path(folder)), 100)


if __name__ == "__main__":
    main()
