"""Pictures per second from JPEG files to padded training batches, as ratios to plain decoders.

    python benchmarks/data.py tiny_coco

Each figure is the best of several runs over the same files, repeated; all use as many threads as
there are cores. Bare decoding is `tf.io.decode_jpeg` of whole files in tf.data; Pillow's is decode
and bilinear resize in a thread pool. Neither pads, batches or moves boxes.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.config import AugmentConfig, DataConfig
from keras_retinanet.data import load_dataset
from keras_retinanet.data.pipeline import training_batches
from keras_retinanet.data.records import Dataset
from keras_retinanet.preprocessing import Preprocessing

BATCH = 8
PICTURES = 800
RUNS = 3
CORES = os.cpu_count() or 1
SIZES = {"800/1333": (800, 1333), "320": (320, 320)}


def rate(count: int, run: Callable[[], Iterable]) -> float:
    """Return pictures per second of the best of RUNS passes over `count` pictures."""
    seconds = []
    for _ in range(RUNS):
        items = iter(run())
        next(items)  # tracing, threads and the first prefetch are not what is compared
        start = time.perf_counter()
        for _ in items:
            pass
        seconds.append(time.perf_counter() - start)
    return count / min(seconds)


def ours(dataset: Dataset, sides: tuple[int, int], augment: AugmentConfig, cache=None):
    """Return a function that gives training batches: fetch, resize, flip, pad, boxes, batch."""
    preprocessing = Preprocessing(*sides)
    if cache:
        from keras_retinanet.data.cache import cached

        dataset = cached(dataset, preprocessing, augment, cache)
    batches = training_batches(
        dataset,
        preprocessing,
        data_config=DataConfig(augment=augment),
        batch_size=BATCH,
        seed=0,
    )
    return lambda: itertools.islice(batches, 1 + PICTURES // BATCH)


def bare(paths: list[str]):
    """Return a function that decodes whole files in tf.data, one by one in order."""
    files = tf.data.Dataset.from_tensor_slices(paths).repeat().take(PICTURES + 1)
    decoded = files.map(
        lambda path: tf.io.decode_jpeg(tf.io.read_file(path), channels=3),
        num_parallel_calls=CORES,
        deterministic=True,
    )
    return lambda: decoded.prefetch(2)


def pillow(paths: list[str], sides: tuple[int, int]):
    """Return a function that decodes and resizes with Pillow in as many threads."""
    preprocessing = Preprocessing(*sides)

    def resized(path: str) -> np.ndarray:
        with Image.open(path) as image:
            height, width = preprocessing.resized_size(image.height, image.width)
            small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(small)

    def run():
        with ThreadPoolExecutor(CORES) as pool:
            yield from pool.map(resized, itertools.islice(itertools.cycle(paths), PICTURES + 1))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="COCO layout with train2017 and val2017")
    args = parser.parse_args()
    dataset = load_dataset(DataConfig(source="coco", data_dir=args.folder), "train")
    paths = [record.image.path for record in dataset.records]
    kilobytes = np.mean([Path(path).stat().st_size for path in paths]) / 1000
    print(f"{len(paths)} files of {kilobytes:.0f} kB on average, {CORES} threads, pictures/s")

    plain = rate(PICTURES, bare(paths))
    print(f"{'bare tf.io.decode_jpeg':40}{plain:8.0f}")
    augments = {
        "flip": AugmentConfig(),
        "flip, scale .5 to 2, colour": AugmentConfig(scale=(0.5, 2.0), color=0.3),
    }
    for name, sides in SIZES.items():
        peer = rate(PICTURES, pillow(paths, sides))
        print(f"{name + ', Pillow decode + resize':40}{peer:8.0f}")
        for label, augment in augments.items():
            for cache in (None, "memory"):
                own = rate(PICTURES, ours(dataset, sides, augment, cache))
                what = f"{name}, ours: {label}" + (", cached" if cache else "")
                print(f"{what:52}{own:8.0f}  {own / plain:.2f} of bare  {own / peer:.2f} of Pillow")


if __name__ == "__main__":
    main()
