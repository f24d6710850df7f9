"""Images made as small as training needs them, once, and kept in memory or in a TFRecord file.

It pays where images are much larger than the network's input, or come from a slow disk.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.images.exif import turn_image
from keras_retinanet.data.pipeline.vanished import require_readable
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, Record, read_slice
from keras_retinanet.data.sources.shards import read_records, write_shard
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.terminal import progress

MEMORY = "memory"
# Of the copies: at 95 and without chroma subsampling their loss is below the sensor's noise.
JPEG_QUALITY = 95
THREADS = os.cpu_count() or 1
# Images that wait between the threads and the file: bounds the memory.
CHUNK = 64


@dataclass(frozen=True)
class _Reader:
    """Reads the copies that lie in `place` by `own`, and all other images as before."""

    place: str
    own: Callable[[ImageRef], bytes]
    others: Callable[[ImageRef], bytes]

    def __call__(self, image: ImageRef) -> bytes:
        return self.own(image) if image.path == self.place else self.others(image)


def cached(
    dataset: Dataset,
    preprocessing: Preprocessing,
    augment: AugmentConfig,
    where: str,
    *,
    tile: int = 0,
) -> Dataset:
    """Return `dataset` with its images and boxes as small as training with `augment` needs.

    An image that is not larger than that is kept as it is stored. One that cannot be read, or has
    another size than annotated, stays where it is: it is counted when it is drawn, as it is without
    a cache. A file that was made for the same images and sizes is used again.

    Args:
        where: "memory", or a folder for a TFRecord file.
        tile: side of the windows that training shows, for which images keep their size.

    Raises:
        UserError: no image can be read (see `require_readable`).
    """
    sizes = [
        (record.height, record.width) if tile else _needed_size(record, preprocessing, augment)
        for record in dataset.records
    ]
    if where == MEMORY:
        pictures = list(_copies(dataset, sizes))
        places = [ImageRef(MEMORY, index, len(copy)) for index, copy in enumerate(pictures)]
        reader = _Reader(MEMORY, lambda image: pictures[image.offset], dataset.reader)
    else:
        path = Path(where) / f"{dataset.split}-{_fingerprint(dataset, sizes)}.tfrecord"
        if not path.exists():
            write_shard(path, _copies(dataset, sizes))
        found = read_records(str(path), Problems(strict=True))
        places = [ImageRef(str(path), offset, len(content)) for offset, content in found]
        reader = _Reader(str(path), read_slice, dataset.reader)
    rows = zip(dataset.records, places, sizes, strict=True)
    records = [_resized(*row) if row[1].length else row[0] for row in rows]
    return replace(dataset, records=records, reader=reader)


def _needed_size(
    record: Record, preprocessing: Preprocessing, augment: AugmentConfig
) -> tuple[int, int]:
    """Return the (height, width) of the largest that training will show of an image."""
    short_side = max(augment.short_sides, default=None)
    needed = preprocessing.resized_size(record.height, record.width, short_side)
    scale = max(1.0, augment.scale[1])
    height, width = (round(side * scale) for side in needed)
    # Never larger than stored.
    if height >= record.height or width >= record.width:
        return record.height, record.width
    return height, width


def _copies(dataset: Dataset, sizes: list[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the encoded copy of each image, in order; empty for one that must not be copied."""

    def copy(index: int) -> bytes:
        record, (height, width) = dataset.records[index], sizes[index]
        try:
            encoded = dataset.read_bytes(index)
            damage: list[str] = []
            image = decode_image(encoded, on_damage=damage.append)
            image = turn_image(image, record.orientation)
        except (PictureError, OSError):
            require_readable(dataset, index)
            return b""
        # What is damaged is read from its own file, which counts it.
        if damage or image.shape[:2] != (record.height, record.width):
            return b""
        if record.orientation == 1 and (height, width) == image.shape[:2]:
            return encoded
        small = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return stream.getvalue()

    count = len(dataset.records)
    with ThreadPool(THREADS) as pool, progress(total=count, desc="cache", unit="image") as bar:
        for start in range(0, count, CHUNK):
            chunk = range(start, min(start + CHUNK, count))
            yield from pool.map(copy, chunk)
            bar.update(len(chunk))


def _fingerprint(dataset: Dataset, sizes: list[tuple[int, int]]) -> str:
    """Return a word that changes with the images, their files' dates or the sizes."""
    digest = hashlib.sha256()
    for record, size in zip(dataset.records, sizes, strict=True):
        place = record.image
        try:
            changed = os.stat(place.path).st_mtime_ns
        except (OSError, ValueError):  # drawn, or gone since it was listed
            changed = 0
        row = [place.path, place.offset, place.length, changed, record.orientation, *size]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]


def _resized(record: Record, place: ImageRef, size: tuple[int, int]) -> Record:
    y, x = size[0] / record.height, size[1] / record.width
    scale = np.array([x, y, x, y], np.float32)
    return replace(
        record,
        image=place,
        height=size[0],
        width=size[1],
        boxes=record.boxes * scale,
        areas=record.areas * np.float32(x * y),
        orientation=1,
    )
