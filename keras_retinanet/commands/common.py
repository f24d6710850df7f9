"""What several subcommands share: flags of the data and what they configure, where models lie."""

import argparse
import dataclasses
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_retinanet.config import Config, DataConfig
from keras_retinanet.config_files import load_config, with_overrides
from keras_retinanet.errors import UserError

RUNS = Path("runs")
# In a run folder: the resolved configuration, what to resume from, the model files, best first.
CONFIG_FILE = "config.yaml"
STATE_FOLDER = "state"
MODEL_FILES = ("best.keras", "last.keras")
# The paper resizes to 800 px, at most 1333: other sizes keep that ratio.
LONG_TO_SHORT = 1333 / 800

# Flag -> key of the configuration.
DATA_KEYS = {
    "data_dir": "data.data_dir",
    "name": "data.name",
    "annotations": "data.annotations",
    "images": "data.images",
    "classes": "data.classes",
}
# What says where the data of one source lies, and means nothing for another source.
SOURCE_FIELDS = (*DATA_KEYS, "split", "val_split", "one_based")


def add_data_arguments(parser: ArgumentParser) -> None:
    """Add DATASET and the flags that say where its pictures and boxes are."""
    parser.add_argument("dataset", nargs="?", metavar="DATASET", help="coco, voc, tfds or shapes")
    parser.add_argument("--data_dir", metavar="DIR", help="folder of the data set")
    parser.add_argument("--name", help="tfds: which data set, such as coco/2017")
    parser.add_argument("--annotations", metavar="FILE", help="coco: annotation file")
    parser.add_argument("--images", metavar="DIR", help="coco: picture folder of --annotations")
    parser.add_argument("--classes", type=_names, metavar="A,B", help="keep these classes alone")


def add_model_argument(parser: ArgumentParser) -> None:
    """Add --model."""
    parser.add_argument(
        "--model", metavar="FILE", help=".keras file or run folder (default: the newest run)"
    )


def image_size(text: str) -> tuple[int, int]:
    """Parse "SHORT[,LONG]" into pixels; LONG left out keeps the paper's ratio of 1333 / 800."""
    try:
        short, long = [int(part) for part in [*text.split(","), "-1"][:2]]
    except ValueError:
        short = long = 0
    if long == -1:
        long = round(short * LONG_TO_SHORT)
    if text.count(",") > 1 or not 0 < short <= long:
        raise argparse.ArgumentTypeError(
            f"expected SHORT or SHORT,LONG in pixels, such as 800,1333. Received: {text!r}"
        )
    return short, long


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"expected different names a,b. Received: {text!r}")
    return names


def flag_overrides(args: Namespace, keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration's keys that flags of `args` set, for `keys` flag -> dotted key."""
    values = {key: getattr(args, flag) for flag, key in keys.items()}
    return {key: value for key, value in values.items() if value is not None}


def with_source(config: Config, args: Namespace, keys: Mapping[str, str] = DATA_KEYS) -> Config:
    """Return `config` with the data that DATASET and the flags of `keys` name.

    Another source than the config's own starts from that source's defaults.
    """
    given = flag_overrides(args, keys)
    overrides: dict[str, Any] = {}
    # A place that is named anew forgets the old one: its annotations belong to other pictures.
    if {"data.data_dir", "data.annotations"} & set(given):
        overrides = {f"data.{name}": None for name in ("data_dir", "annotations", "images")}
    if args.dataset not in (None, config.data.source):
        defaults = dataclasses.asdict(DataConfig())
        overrides = {f"data.{name}": defaults[name] for name in SOURCE_FIELDS}
        overrides["data.source"] = args.dataset
    return with_overrides(config, {**overrides, **given})


def import_tensorflow() -> None:
    """Import TensorFlow without its greetings, unless TF_CPP_MIN_LOG_LEVEL asks for them.

    They come before it reads that variable, so standard error itself is set aside meanwhile.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # errors alone
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# ------------------------------------------------------------------------------ runs and models


def find_run(path: str | Path | None = None) -> Path:
    """Return the run folder at `path`, by default the newest below `runs/` that can be resumed."""
    if path is not None:
        if not (Path(path) / CONFIG_FILE).is_file():
            raise UserError(f"Expected a run folder, which holds {CONFIG_FILE}. Received: {path}.")
        return Path(path)
    return _newest(f"{STATE_FOLDER}/*").parent.parent


def find_model(path: str | Path | None = None) -> Path:
    """Return the model file to use.

    Args:
        path: a model file; a run folder, whose best model is taken; None for the newest run.

    Raises:
        UserError: nothing there.
    """
    if path is None:
        path = _newest(*MODEL_FILES).parent
    path = Path(path)
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"Expected a .keras file or a run folder. Received: {path}, not there.")
        return path
    files = [path / name for name in MODEL_FILES if (path / name).is_file()]
    if not files:
        raise UserError(
            f"Expected a run folder with {' or '.join(MODEL_FILES)}. Received: {path}. "
            "Train first, or give a .keras file."
        )
    return files[0]


def _newest(*names: str) -> Path:
    files = [file for name in names for file in RUNS.glob(f"*/{name}")]
    if not files:
        raise UserError(
            f"Expected a run below {RUNS}/ with {' or '.join(names)}; there is none. "
            "Train first, or name a file or a run folder."
        )
    return max(files, key=lambda file: file.stat().st_mtime)


def run_config(model_path: Path) -> Config | None:
    """Return the configuration of the run that `model_path` lies in; None outside of a run."""
    file = model_path.parent / CONFIG_FILE
    is_run = model_path.name in MODEL_FILES and file.is_file()
    return load_config(file) if is_run else None
