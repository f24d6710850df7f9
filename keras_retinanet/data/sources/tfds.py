"""Any detection dataset of TensorFlow Datasets that is prepared on this machine.

Its TFRecord shards are indexed once, image by image, and then read at random by offset, so
that the same order, seeds and resuming hold as for files.
"""

import functools
import os
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, Record, make_record
from keras_retinanet.data.sources.shards import index_shards, picture_of
from keras_retinanet.data.splits import match_split
from keras_retinanet.errors import UserError
from keras_retinanet.files.images.decoding import image_size

# COCO's 80 classes carry ids up to 90: these ten were never published.
_COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_IDS = [class_id for class_id in range(1, 91) if class_id not in _COCO_GAPS]
_IGNORE_FIELDS = ("is_crowd", "is_difficult")
PICTURE_KEY = "image"


def is_prepared(name: str, data_dir: str | None = None) -> bool:
    """Return whether dataset `name` lies prepared in `data_dir` (None: TFDS's own folder)."""
    import tensorflow_datasets as tfds  # Slow, and needed by few: not at the top.

    try:
        return bool(tfds.builder(name, data_dir=data_dir).info.splits)
    except (ValueError, OSError):
        return False


def splits(config: DataConfig) -> list[str]:
    """Return the names of the splits. Raises: as `load`."""
    return sorted(_builder(config).info.splits)


def load(config: DataConfig, split: str | None) -> Dataset:
    """Index one split: each record's place in its shard, its image's size and its boxes.

    Reads the shards once from end to end, in parallel. Crowd and difficult objects become boxes
    to ignore.

    Args:
        config: `name` ("coco/2017") and `data_dir` (None: TFDS's own folder) are used.
        split: a split's name (None: "train").

    Raises:
        UserError: the dataset is unknown, not prepared, not in TFRecords, has no boxes or no
            such split; a shard is cut off.
    """
    builder = _builder(config)
    split = match_split(split or "train", sorted(builder.info.splits), str(config.name))
    objects_key, label_key, class_names = _box_features(builder)
    problems = Problems(strict=config.strict)
    paths = map(os.fspath, builder.info.splits[split].filepaths)
    read = functools.partial(_record, keys=(objects_key, label_key))
    records = index_shards(paths, read, problems)
    is_coco = builder.name == "coco" and len(class_names) == len(COCO_IDS)
    class_ids = COCO_IDS if is_coco else list(range(1, len(class_names) + 1))
    return Dataset(
        str(config.name),
        split,
        class_names,
        class_ids,
        records,
        problems,
        # TFDS prepares COCO's test splits too, whose boxes are not public.
        has_annotations=any(len(record.boxes) for record in records),
        reader=read_picture,
    )


def read_picture(image: ImageRef) -> bytes:
    """Return the encoded image of the example that `image` points at."""
    return picture_of(image, PICTURE_KEY)


def _builder(config: DataConfig) -> Any:
    import tensorflow_datasets as tfds  # Slow, and needed by few: not at the top.

    if config.name is None:
        raise UserError("Expected a data set's name. Received: none. Give --name, as coco/2017.")
    try:
        builder = tfds.builder(config.name, data_dir=config.data_dir)
    except (ValueError, OSError) as error:
        raise UserError(
            f"Expected a data set that TFDS knows. Received: name={config.name} "
            f"({str(error).splitlines()[0]}). See https://www.tensorflow.org/datasets/catalog."
        ) from error
    if not builder.info.splits:
        raise UserError(
            f"Expected {config.name} to be prepared in {builder.data_path}. Received: nothing "
            f"there. Prepare it once with: tfds build {config.name}"
        )
    if builder.info.file_format != tfds.core.file_adapters.FileFormat.TFRECORD:
        raise UserError(
            f"Expected TFRecord shards. Received: {config.name} as {builder.info.file_format}. "
            "Prepare it with --file_format=tfrecord."
        )
    return builder


def _box_features(builder: Any) -> tuple[str, str | None, list[str]]:
    """Return the key of the objects, that of their labels (None: one class), the class names."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    for key, feature in features.items():
        fields = getattr(feature, "feature", None)
        if "image" not in features or not isinstance(fields, tfds.features.FeaturesDict):
            continue
        if "bbox" in fields and isinstance(fields["bbox"], tfds.features.BBoxFeature):
            for name, label in fields.items():
                if isinstance(label, tfds.features.ClassLabel):
                    return key, name, list(label.names)
            return key, None, [key]
    raise UserError(
        "Expected a detection data set: an image, and a sequence of objects with a bbox. "
        f"Received: {builder.name} with {', '.join(features)}. Choose another one."
    )


def _record(
    image: ImageRef, example: bytes, problems: Problems, *, keys: tuple[str, str | None]
) -> Record | None:
    name = f"{Path(image.path).name}@{image.offset}"
    try:
        features = tf.train.Example.FromString(example).features.feature
    except DecodeError as error:
        problems.note("unreadable annotation", f"{name} ({error})")
        return None
    file_name = name
    if features["image/filename"].bytes_list.value:
        file_name = features["image/filename"].bytes_list.value[0].decode("utf-8", "replace")
    try:
        height, width = image_size(features[PICTURE_KEY].bytes_list.value[0])
    except (UserError, IndexError):
        problems.note("unreadable picture", file_name)
        return None
    objects_key, label_key = keys
    # TFDS's boxes: ymin, xmin, ymax, xmax as fractions of the sides, all objects in one list.
    flat = features[f"{objects_key}/bbox"].float_list.value
    count = len(flat) // 4

    def column(field: str | None, default: Any) -> list:
        values = list(features[f"{objects_key}/{field}"].int64_list.value) if field else []
        return values if len(values) == count else [default] * count

    areas = column("area", None)
    labels = column(label_key, 0)
    ignore = [any(flags) for flags in zip(*(column(k, 0) for k in _IGNORE_FIELDS), strict=True)]
    objects = []
    for i in range(count):
        y1, x1, y2, x2 = flat[4 * i : 4 * i + 4]
        box = (x1 * width, y1 * height, x2 * width, y2 * height)
        objects.append((box, labels[i], ignore[i], areas[i]))
    ids = features["image/id"].int64_list.value
    return make_record(
        ids[0] if ids else name,
        image,
        (height, width),
        file_name=file_name,
        objects=objects,
        problems=problems,
    )
