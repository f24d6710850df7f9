"""Judge each image by a model that was trained on the other folds."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_retinanet.commands.common import DATA_KEYS, given_keys, recipe_config
from keras_retinanet.config import Config
from keras_retinanet.errors import counted
from keras_retinanet.files.targets import check_new_folder
from keras_retinanet.training.run_folder import MODEL_FILES

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset
    from keras_retinanet.evaluation.runner import DetectorRun

# The same folds whatever the recipe.
SEED = 0
MINUTES = {"minutes": "train.minutes"}


def judged_by_folds(args: Namespace, dataset: "Dataset", *, folder: Path) -> "DetectorRun":
    """Train a model for each fold, in `folder`, and return what they detect in their folds.

    Args:
        args: `folds`, `minutes` and the flags of a recipe; without one, the options are decided
            from the data and the machine.
        dataset: the images and labels to judge.
        folder: new or empty, gets the run of each fold.
    """
    import keras

    from keras_retinanet.data.loading import NO_SPLIT
    from keras_retinanet.data.splits import random_split
    from keras_retinanet.evaluation.review.judged_data import folds
    from keras_retinanet.evaluation.runner import finished_run, run_detector
    from keras_retinanet.evaluation.streaming import Columns
    from keras_retinanet.exporting.exported import load_detector
    from keras_retinanet.training.run import train

    check_new_folder(folder)
    parts = list(folds(dataset, args.folds, seed=SEED))
    config, columns = _config(args), Columns()
    for number, (others, judged) in enumerate(parts, start=1):
        print(f"Fold {number} of {args.folds}: train on {counted(len(others.records), 'image')}")
        place = folder / f"fold_{number}"
        no_val = config.data.val_split == NO_SPLIT
        train(config, place, data=(others, None) if no_val else random_split(others, SEED))
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


def _config(args: Namespace) -> Config:
    base = Config() if args.config is None else None
    config = recipe_config(args, MINUTES, base=base)
    if args.config is not None:
        return config
    from keras_retinanet.training.auto import plan

    decided = plan(config, given_keys(args, MINUTES | DATA_KEYS))
    for line in decided.lines:
        print(line)
    return decided.config
