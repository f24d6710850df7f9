"""Train a detector on a data set, or on embedded scenes if none is given.

Without --config, the options are decided from the data set and the machine; each decision is
printed with its reason.

Examples:
    keras_retinanet train
    keras_retinanet train --data_dir my_images --minutes 15
    keras_retinanet train voc --data_dir bccd --config bccd
    keras_retinanet train voc --data_dir bccd --config bccd --teacher runs/larger
    keras_retinanet train coco --config retinanet_r50_coco_800 --set train.optimizer.name=adamw
    keras_retinanet train --resume
"""

import argparse
import math
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from keras_retinanet.commands.common import (
    DATA_KEYS,
    add_data_arguments,
    add_option,
    add_recipe_arguments,
    find_model,
    find_run,
    flag_overrides,
    given_keys,
    recipe_config,
)
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.config import Config
from keras_retinanet.config.files import with_overrides
from keras_retinanet.errors import UserError, counted
from keras_retinanet.training.cluster import STRATEGIES, read_cluster
from keras_retinanet.training.run_folder import CONFIG_FILE, RUNS, new_run_folder, stored_config

# Recipe of a run without a data set and a recipe, or on the embedded set.
EMBEDDED = "shapes"
# Recipe of a run on a named data set: decided from the data and the machine.
AUTO = "auto"

# More logical devices than this are probably a typing error: each one holds the model.
MAX_DEVICES = 64

# Flag -> key of the configuration.
TRAIN_KEYS = {
    "split": "data.split",
    "val_split": "data.val_split",
    "backbone": "model.backbone.name",
    "batch_size": "train.batch_size",
    "steps": "train.steps",
    "minutes": "train.minutes",
    "patience": "train.patience",
    "learning_rate": "train.optimizer.learning_rate",
    "precision": "train.precision",
    "seed": "train.seed",
    "deterministic": "train.deterministic",
    "on_nan": "train.on_nan",
    "weights": "train.weights",
    "teacher": "train.teacher",
}
# Flags that make a resumed run longer; it may change no other.
LENGTH_FLAGS = ("steps", "minutes")
CONFIG_FLAGS = ("dataset", "config", "set", "image_size", "out", *DATA_KEYS, *TRAIN_KEYS)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `train` to its parser."""
    add = parser.add_argument
    add_recipe_arguments(parser)
    add_data_arguments(parser)
    option = partial(add_option, parser, keys=TRAIN_KEYS)
    option("--split")
    option("--val_split", metavar="SPLIT")
    option("--backbone", metavar="NAME")
    option("--batch_size", type=int, metavar="B")
    option("--steps", type=int, metavar="N")
    option("--minutes", type=float, metavar="M")
    add("--epochs", type=float, help=argparse.SUPPRESS)  # answered by `_no_epochs`
    option("--patience", type=int, metavar="N")
    option("--learning_rate", type=float, metavar="LR")
    option("--precision")
    option("--seed", type=int, metavar="N")
    option("--deterministic", action="store_true", default=None)
    option("--on_nan")
    add(
        "--weights",
        metavar="NAME|FILE",
        help="start from this model, run, checkpoint or name of `weights list`; classes may differ",
    )
    add(
        "--teacher",
        metavar="NAME|FILE",
        help="imitate this model or run in training; the trained model is the same without it",
    )
    add("--callback", action="append", metavar="MODULE:CLASS", help="call a Keras callback too")
    add("--out", metavar="DIR", help=f"run folder (default: {RUNS}/<date>-<config>)")
    add(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="resume a run (default: the newest); --steps or --minutes make it longer",
    )
    add("--dry_run", action="store_true", help="take 2 steps; report time and memory; draw a batch")
    _add_devices(parser)


def _add_devices(parser: ArgumentParser) -> None:
    """Add the flags that say what trains."""
    add = parser.add_argument
    add(
        "--devices",
        type=_devices,
        metavar="N",
        help="train on N GPUs, or on N logical devices of the CPU (default: all GPUs, or the CPU)",
    )
    add(
        "--strategy",
        choices=STRATEGIES,
        default="auto",
        help="the devices that train (default: auto, the machines of TF_CONFIG or this one's)",
    )


def run(args: Namespace) -> int:
    """Resolve the configuration and train; return the exit code."""
    resuming = args.resume is not None
    config, place = _resumed(args) if resuming else config_from_args(args)

    import_tensorflow()
    from keras_retinanet.training.distribution import strategy, use_devices

    if args.devices:
        use_devices(args.devices)
    if read_cluster():
        # Before TensorFlow computes anything.
        strategy(args.strategy, hang_minutes=config.train.hang_minutes)
        if not resuming and args.out is None:
            raise UserError("Expected --out with several processes: one folder for all of them.")
    data = None
    if not resuming and args.config == AUTO:
        config, data = _decided(config, args)
    if args.epochs is not None:
        raise _no_epochs(args.epochs, config)
    from keras_retinanet.training.own_callbacks import load_callback
    from keras_retinanet.training.run import train

    callbacks = [load_callback(name) for name in args.callback or ()]
    out = Path(place) if resuming else Path(args.out or new_run_folder(place))
    trained = train(
        config,
        out,
        callbacks=callbacks,
        resume=resuming,
        dry_run=args.dry_run,
        data=data,
        strategy=args.strategy,
    )
    add_result(args, run=out, **(trained or {}))
    return 0


def config_from_args(args: Namespace) -> tuple[Config, str]:
    """Return the configuration that the flags ask for, and the name of its recipe.

    Where no recipe is named, `args.config` becomes the one that is used. With "auto", the
    configuration is the paper's but for what the flags say: `_decided` decides the rest.
    """
    if args.config is None:
        places = (args.dataset, args.data_dir, args.annotations)
        is_named = any(place is not None for place in places) and args.dataset != EMBEDDED
        args.config = AUTO if is_named else EMBEDDED
        if args.dataset is None and not is_named:
            print(f"No data set given: training on the embedded `{EMBEDDED}` with its recipe.")
    if args.weights is not None:
        if args.backbone is not None:
            raise UserError(
                "Expected --weights or --backbone, not both: the file determines the graph. "
                f"Received: --weights {args.weights} --backbone {args.backbone}."
            )
        args.weights = str(find_model(args.weights))
    if args.teacher is not None:
        args.teacher = str(find_model(args.teacher))
    config = recipe_config(args, TRAIN_KEYS, base=Config() if args.config == AUTO else None)
    return config, Path(args.config).stem


def _decided(config: Config, args: Namespace) -> tuple[Config, tuple]:
    """Print the plan for the data and this machine; return its configuration and the data."""
    from keras_retinanet.training.auto import plan

    decided = plan(config, given_keys(args, TRAIN_KEYS | DATA_KEYS))
    for line in decided.lines:
        print(line)
    return decided.config, decided.data


def _resumed(args: Namespace) -> tuple[Config, str]:
    kept = [flag for flag in CONFIG_FLAGS if flag not in LENGTH_FLAGS]
    given = [flag for flag in kept if getattr(args, flag) is not None]
    if given:
        raise UserError(
            "Expected --resume alone, or with --steps or --minutes: a resumed run keeps its "
            f"{CONFIG_FILE}. Received: --resume with {', '.join(given)}. Remove them, or start a "
            "new run with --weights."
        )
    run_dir = find_run(args.resume or None)
    longer = flag_overrides(args, {flag: TRAIN_KEYS[flag] for flag in LENGTH_FLAGS})
    return with_overrides(stored_config(run_dir), longer), str(run_dir)


def _no_epochs(epochs: float, config: Config) -> UserError:
    """Return the error that states the epochs in steps."""
    from keras_retinanet.data.loading import load_train_val
    from keras_retinanet.data.pipeline.balance import images_per_pass
    from keras_retinanet.training.schedules import PAPER_BATCH

    try:
        data, _ = load_train_val(config.data, config.train.seed)
        count = images_per_pass(data, config.data.balance, config.model.tiles.side)
    except UserError:  # the option is the first mistake
        said = f"Steps are epochs * images / {PAPER_BATCH}"
    else:
        steps = max(1, math.ceil(epochs * count / PAPER_BATCH))
        asked = "1 epoch" if epochs == 1 else f"{epochs:g} epochs"
        said = f"{asked} of {counted(count, 'image')} are --steps {steps}"
    return UserError(
        f"Expected --steps, the length of a run in steps of {PAPER_BATCH} images. Received: "
        f"--epochs {epochs:g}. {said}, at any --batch_size."
    )


def _devices(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_DEVICES:
        raise argparse.ArgumentTypeError(
            f"expected a number from 1 to {MAX_DEVICES}. Received: {text[:20]!r}"
        )
    return int(text)
