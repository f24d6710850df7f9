"""Images that `export` calibrates, checks and verifies on."""

from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from keras_retinanet.commands.common import flag_overrides, with_source
from keras_retinanet.commands.detecting import load_split
from keras_retinanet.commands.export_flags import CALIBRATION_PICTURES
from keras_retinanet.config import Config, DataConfig
from keras_retinanet.config.files import with_overrides
from keras_retinanet.errors import UserError
from keras_retinanet.terminal import printable

if TYPE_CHECKING:
    import numpy as np

    from keras_retinanet.data.records import Dataset
    from keras_retinanet.modeling.retinanet import RetinaNet

CHECK_PICTURES = 4


def data_config(args: Namespace, trained: Config | None) -> Config | None:
    """Return where images come from: DATASET and its flags, else the model's run, else None."""
    named = {args.dataset, args.verify} - {None, ""}
    if len(named) > 1:
        raise UserError(
            "Expected one data set, to calibrate and to verify on. "
            f"Received: DATASET {args.dataset} and --verify {args.verify}."
        )
    source = Namespace(**{**vars(args), "dataset": named.pop() if named else None})
    is_named = source.dataset or args.data_dir or args.annotations
    if trained is None and not is_named:
        if args.precision == "int8" or args.verify is not None:
            raise UserError(
                "Expected a data set, because this model is not in a run folder that names one. "
                "Received: none. Write for example: --verify voc --data_dir DIR."
            )
        return None
    config = with_source(trained or Config(), source)
    return with_overrides(config, flag_overrides(args, {"split": "evaluate.split"}))


def scored_split(
    args: Namespace, config: Config | None, trained: Config | None, model: "RetinaNet"
) -> "Dataset | None":
    """Return the data set of --verify; refuse early one without annotations."""
    if args.verify is None or config is None:
        return None
    from keras_retinanet.evaluation.runner import map_classes

    dataset = load_split(config, trained)
    map_classes(model.class_names, dataset.class_names)
    if not dataset.has_annotations:
        raise UserError(
            f"Expected a split with boxes to verify on. Received: {dataset.split} of "
            f"{dataset.name}, whose annotations are not public. Choose another one with --split."
        )
    return dataset


def calibration_pictures(
    config: Config, count: int | None, *, tile: int = 0
) -> Iterable["np.ndarray"]:
    """Return images of the training split, or windows of them where the model takes tiles."""
    from keras_retinanet.data.loading import load_train_val
    from keras_retinanet.exporting.sample import Sample

    train, _ = load_train_val(config.data, config.train.seed)
    return Sample(train, count or CALIBRATION_PICTURES, tile)


def check_pictures(
    files: list[str] | None, config: Config | None, scored: "Dataset | None"
) -> Iterable["np.ndarray"]:
    """Return images to check on: the given files, else the data set's, else generated ones."""
    from keras_retinanet.data.loading import load_dataset
    from keras_retinanet.exporting.sample import Sample
    from keras_retinanet.files.images.decoding import decode_image
    from keras_retinanet.files.images.headers import read_picture

    if files:
        return [decode_image(read_picture(file)) for file in files]
    if scored is None and config is not None:
        try:
            scored = load_dataset(config.data, config.evaluate.split, seed=config.train.seed)
        except UserError as error:
            print(f"The check takes generated images: {printable(str(error))}")
    if scored is None:
        scored = load_dataset(DataConfig(source="shapes", shapes_val=CHECK_PICTURES), "val")
    return Sample(scored, CHECK_PICTURES)
