"""`features.json` and `dataset_info.json`, with which TFDS reads the shards of `writers.tfrecord`.

They describe the Object Detection API's flat keys (https://www.tensorflow.org/datasets/external_tfrecord).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_retinanet.data.sources.tfrecord import SIDES

VERSION = "1.0.0"
# TFDS decodes these; of other formats, such as WebP and moving GIFs, it gives the bytes.
DECODED = {"JPEG", "PNG", "BMP"}
DESCRIPTION = "Written by keras_retinanet with the TF Object Detection API's keys."


class Written(NamedTuple):
    """What became of a shard: how many images, their bytes and formats, and what was wrong."""

    pictures: int
    byte_count: int
    formats: set[str | None]
    problems: list[tuple[str, str]]


def write_tfds_info(folder: Path, name: str, sizes: Mapping[str, Sequence[Written]]) -> None:
    """Write both files.

    Args:
        name: of the dataset, which its shards' names begin with.
        sizes: split -> what was written, in the order of its shards.
    """
    import tensorflow_datasets as tfds  # Slow: not at the top, which every process imports.

    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=name, filetype_suffix="tfrecord"
    )
    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[written.pictures for written in shards],
            num_bytes=sum(written.byte_count for written in shards),
            filename_template=template.replace(split=split),
        )
        for split, shards in sizes.items()
    ]
    formats = {kind for shards in sizes.values() for written in shards for kind in written.formats}
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=_features(decoded=formats <= DECODED),
        split_infos=infos,
        version=VERSION,
        filename_template=template,
        check_data=False,
        description=DESCRIPTION,
    )


def _features(*, decoded: bool) -> Any:
    import tensorflow_datasets as tfds

    picture = tfds.features.Image() if decoded else tfds.features.Scalar(tf.string)
    features = {"image/encoded": picture, "image/height": np.int64, "image/width": np.int64}
    for key in ("format", "filename", "source_id", "key/sha256"):
        features[f"image/{key}"] = tfds.features.Text()
    columns: dict[str, Any] = {f"bbox/{side}": np.float32 for side in SIDES}
    columns |= dict.fromkeys(("class/label", "is_crowd", "difficult", "group_of"), np.int64)
    columns |= {"area": np.float32, "class/text": tfds.features.Text()}
    for key, kind in columns.items():
        features[f"image/object/{key}"] = tfds.features.Sequence(kind)
    return tfds.features.FeaturesDict(features)
