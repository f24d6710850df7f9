"""Judge each image by a model that was trained on the other folds."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_retinanet.commands.common import given_keys, recipe_config
from keras_retinanet.config import Config, DataConfig
from keras_retinanet.errors import counted
from keras_retinanet.files.targets import check_new_folder
from keras_retinanet.training.run_folder import MODEL_FILES

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset
    from keras_retinanet.evaluation.runner import DetectorRun

MINUTES = {"minutes": "train.minutes"}


def judged_by_folds(
    args: Namespace, dataset: "Dataset", data: DataConfig, *, folder: Path
) -> "DetectorRun":
    """Train a model for each fold, in `folder`, and return what they detect in their folds.

    Args:
        args: `folds`, `minutes` and the flags of a recipe; without one, the options are decided
            from the data and the machine.
        data: where the images are, as recognized.
    """
    import keras

    from keras_retinanet.data.splits import random_split
    from keras_retinanet.evaluation.review.judged_data import folds
    from keras_retinanet.evaluation.runner import finished_run, run_detector
    from keras_retinanet.evaluation.streaming import Columns
    from keras_retinanet.exporting.exported import load_detector
    from keras_retinanet.training.run import train

    check_new_folder(folder)
    config = _config(args, data)
    seed, columns = config.train.seed, Columns()
    for number, (others, judged) in enumerate(folds(dataset, args.folds, seed=seed), start=1):
        print(f"Fold {number} of {args.folds}: train on {counted(len(others.records), 'image')}")
        place = folder / f"fold_{number}"
        train(config, place, data=random_split(others, seed))
        keras.utils.clear_session()
        model = next(place / name for name in MODEL_FILES if (place / name).is_file())
        run_detector(
            load_detector(model),
            dataset,
            batch_size=config.evaluate.batch_size,
            indices=judged,
            columns=columns,
        )
    return finished_run(dataset, columns, ([], []), asked=range(len(dataset.records)))


def _config(args: Namespace, data: DataConfig) -> Config:
    base = Config() if args.config is None else None
    config = recipe_config(args, MINUTES, base=base)
    if args.config is not None:
        return config
    from keras_retinanet.training.auto import plan

    decided = plan(config, given_keys(args, MINUTES))
    for line in decided.lines:
        print(line)
    return decided.config
