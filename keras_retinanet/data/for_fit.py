"""A folder of images and boxes -> a `tf.data.Dataset` for `model.fit`, in one call."""

import dataclasses
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_retinanet.config.data import AugmentConfig, DataConfig
from keras_retinanet.config.model import PreprocessingConfig
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.sources.recognition import recognise
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.preprocessing import Preprocessing


def load(
    place: str | Path,
    split: str = "train",
    *,
    preprocessing: PreprocessingConfig | None = None,
    augment: AugmentConfig | None = None,
    batch_size: int = 8,
    seed: int = 0,
    tile: int = 0,
    **options: Any,
) -> tf.data.Dataset:
    """Read a data set, whatever its format, as batches that `RetinaNet.fit` takes.

        train = keras_retinanet.data.load("photos")
        model = keras_retinanet.retinanet("resnet50", class_names=train.class_names)
        model.compile()
        model.fit(train, epochs=10)

    Each epoch has another order and other augmentations; images that do not fill a batch come in
    the next one.

    Args:
        place: a folder of a data set, or one annotation file.
        split: a split's name; a set without splits has the seeded parts "train" and "val".
        preprocessing: of the model, such as `model.preprocessing`; None: the paper's, as
            `retinanet` has it.
        augment: random changes; None: the paper's flip for the split "train", nothing for others.
            `close_mosaic` must be 0: the length of a `fit` is not known here.
        batch_size: B, number of images per batch.
        seed: of the order, the augmentation and the parts of a set without splits.
        tile: show random windows of this side instead of whole images (`model.config.tiles.side`).
        **options: other fields of `DataConfig`, such as `classes`.

    Returns:
        Batches of (images (B, H, W, 3) float32 RGB 0..255, {"boxes": (B, G, 4) float32 xyxy pixels
        of the input, "classes": (B, G) int32 with -1 as padding, "ignore": (B, G) bool}), with the
        attributes `class_names`, the K names, and `records`, a `Dataset` with what was skipped.

    Raises:
        UserError: nothing there is a data set, or it has no such split.
    """
    found, _ = recognise(place)
    if augment is None:
        augment = AugmentConfig() if split == "train" else AugmentConfig(flip=0.0)
    if augment.close_mosaic:
        raise UserError(
            "Expected close_mosaic=0: only `fit` knows how long it trains. Received: "
            f"close_mosaic={augment.close_mosaic:g}. Train with keras_retinanet.train, or call "
            "`fit` a second time on batches that mix no images."
        )
    config = dataclasses.replace(DataConfig(augment=augment), **{**found, **options})
    records = load_dataset(config, split, seed=seed)
    own = vars(preprocessing or PreprocessingConfig())
    batches = training_batches(
        records,
        Preprocessing(**own),
        data_config=config,
        batch_size=batch_size,
        seed=seed,
        epochs=True,
        tile=tile,
    )
    batches.class_names, batches.records = records.class_names, records
    return batches
