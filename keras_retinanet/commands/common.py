"""Shared by subcommands: the data flags, what they configure, and how models are found."""

import argparse
import dataclasses
import glob
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.config import Config, DataConfig
from keras_retinanet.config.files import load_config, option_help, with_overrides
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import COREML_SUFFIX, export_kind
from keras_retinanet.files.addresses import is_address
from keras_retinanet.training.run_folder import CONFIG_FILE, MODEL_FILES, RUNS, STATE_FOLDER

# The paper resizes to 800 px, at most 1333: other sizes keep that ratio.
LONG_TO_SHORT = 1333 / 800

# Flag -> key of the configuration.
DATA_KEYS = {
    "data_dir": "data.data_dir",
    "name": "data.name",
    "annotations": "data.annotations",
    "images": "data.images",
    "class_file": "data.class_file",
    "classes": "data.classes",
    "strict": "data.strict",
    "allow_outside": "data.allow_outside",
    "exif": "data.exif",
    "units": "data.units",
    "unmatched": "data.unmatched",
}
IMAGE_SIZE_KEYS = ("model.preprocessing.short_side", "model.preprocessing.long_side")
# Fields that locate the data of one source and mean nothing for another.
SOURCE_FIELDS = (
    *("data_dir", "name", "annotations", "images", "class_file", "classes"),
    *("split", "val_split", "one_based", "hierarchy"),
)


def add_data_arguments(parser: ArgumentParser) -> None:
    """Add DATASET and the flags that say where its images and boxes are."""
    add = parser.add_argument
    add(
        "dataset",
        nargs="?",
        metavar="DATASET",
        help="coco, csv, kitti, openimages, shapes, tfds, tfrecord, voc or yolo "
        "(default: recognized from --data_dir)",
    )
    option = partial(add_option, parser, keys=DATA_KEYS)
    option("--data_dir", metavar="DIR")
    option("--name")
    option("--annotations", metavar="FILE")
    option("--images", metavar="DIR")
    option("--class_file", metavar="FILE")
    option("--classes", type=_names, metavar="A,B")
    for flag in ("--strict", "--allow_outside"):
        option(flag, action="store_true", default=None)
    option("--exif", metavar="HOW")
    option("--units", choices=("pixels", "fractions", "percent"))
    option("--unmatched", choices=("refuse", "accept"))


def add_option(
    parser: ArgumentParser, flag: str, *, keys: Mapping[str, str], **settings: Any
) -> None:
    """Add a flag of the option that `keys` names for it, with that option's description as help."""
    description = option_help(keys[flag.removeprefix("--")])
    parser.add_argument(flag, help=description.replace("%", "%%"), **settings)


def add_recipe_arguments(parser: ArgumentParser) -> None:
    """Add the flags that choose a recipe and change it."""
    add = parser.add_argument
    add("--config", metavar="NAME|FILE", help="recipe such as bccd, or a YAML file")
    add("--set", action="append", metavar="KEY=VALUE", help="set any option: train.loss.box=giou")
    add("--image_size", type=image_size, metavar="SHORT[,LONG]", help="network input in pixels")


def add_model_argument(parser: ArgumentParser, *, otherwise: str = "") -> None:
    """Add --model; `otherwise` says what is taken where there is no run."""
    parser.add_argument(
        "--model",
        metavar="FILE",
        help=".keras file, run folder, exported file, another system's checkpoint, name of "
        f"`weights list`, or address (hf://, https://) (default: the newest run{otherwise})",
    )


def add_trust_argument(parser: ArgumentParser) -> None:
    """Add --trust."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run an exported file although it was changed or holds foreign operators: it is a "
        "program that runs with your rights (see SECURITY.md)",
    )


def image_size(text: str) -> tuple[int, int]:
    """Parse "SHORT[,LONG]" into pixels; without LONG, keep the paper's ratio of 1333 / 800."""
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

    Without DATASET, the format of a named place is recognized and printed.
    Another source than the config's own starts from that source's defaults.
    """
    given = flag_overrides(args, keys)
    source, overrides = args.dataset, {}
    # A new place replaces the old one, whose annotations belong to other images.
    place = given.get("data.annotations") or given.get("data.data_dir")
    if place is not None:
        overrides = {f"data.{name}": None for name in ("data_dir", "annotations", "images")}
        if source is None:
            import_tensorflow()
            from keras_retinanet.data.sources.recognition import recognise

            recognised, sentence = recognise(place)
            print(sentence)
            source = recognised.pop("source")
            given = {f"data.{key}": value for key, value in recognised.items()} | given
    if source not in (None, config.data.source):
        defaults = dataclasses.asdict(DataConfig())
        overrides |= {f"data.{name}": defaults[name] for name in SOURCE_FIELDS}
        overrides["data.source"] = source
    return with_overrides(config, {**overrides, **given})


def require_there(args: Namespace) -> None:
    """Raise UserError for data that is not there, whatever format and command it is for."""
    for flag in ("data_dir", "annotations", "images", "class_file"):
        path = getattr(args, flag, None)
        if not isinstance(path, str) or os.path.exists(path):
            continue
        if not (flag == "data_dir" and glob.glob(path)):
            kind = "a file" if flag in ("annotations", "class_file") else "a folder"
            raise UserError(f"Expected {kind}. Received: --{flag} {path}, which does not exist.")


def recipe_config(args: Namespace, keys: Mapping[str, str], base: Config | None = None) -> Config:
    """Return the configuration that the flags ask for.

    Later wins: `base`, by default the recipe; DATASET and the flags of `keys`; --image_size; --set.
    """
    config = with_source(base or load_config(args.config), args)
    overrides: dict[str, Any] = flag_overrides(args, keys)
    if args.image_size:
        overrides |= dict(zip(IMAGE_SIZE_KEYS, args.image_size, strict=True))
    return with_overrides(with_overrides(config, overrides), args.set or ())


def given_keys(args: Namespace, keys: Mapping[str, str]) -> set[str]:
    """Return the configuration's keys that the flags of `keys`, --image_size and --set name."""
    given = set(flag_overrides(args, keys))
    given.update(IMAGE_SIZE_KEYS if args.image_size else ())
    return given | {text.partition("=")[0].strip() for text in args.set or ()}


# ------------------------------------------------------------------------------ runs and models


def find_run(path: str | Path | None = None) -> Path:
    """Return the run folder at `path`, by default the newest below `runs/` that can be resumed."""
    if path is not None:
        if not (Path(path) / CONFIG_FILE).is_file():
            raise UserError(f"Expected a run folder, which holds {CONFIG_FILE}. Received: {path}.")
        return Path(path)
    return _newest(f"{STATE_FOLDER}/*")


def find_model(path: str | Path | None = None) -> Path:
    """Return the model file to use.

    Args:
        path: a model file; what `export` wrote; a run folder, whose best model is taken; another
            system's checkpoint, a name of the catalogue or an address, which come into the cache;
            None for the newest run.

    Raises:
        UserError: there is no such file.
    """
    if path is None:
        path = _newest(*MODEL_FILES)
    if is_address(path):
        from keras_retinanet.checkpoints.remote_files import remote_file

        path = remote_file(str(path))
    path = Path(path)
    files = [path / name for name in MODEL_FILES if (path / name).is_file()]
    if files:
        return files[0]
    if (path / CONFIG_FILE).is_file():
        raise UserError(
            f"Expected a run folder with {' or '.join(MODEL_FILES)}. Received: {path}. "
            "Train first, or give a .keras file."
        )
    if path.exists() and export_kind(path) is not None:
        return path
    if path.suffix == COREML_SUFFIX:
        raise UserError(
            f"Expected a model that runs here. Received: {path}, a package of Core ML, which only "
            "Apple's systems run. Give the .keras file that it was exported from."
        )
    from keras_retinanet.checkpoints.model_files import model_file

    if path.suffix != ".keras":
        import_tensorflow()  # without its start messages
    return model_file(path)


def has_model() -> bool:
    """Return whether a run below `runs/` holds a model."""
    return bool(_files_of_runs(*MODEL_FILES))


def _files_of_runs(*names: str) -> dict[Path, Path]:
    """Return file -> run, of the files of these names in the runs below `runs/`."""
    return {file: run for run in RUNS.glob("*/") for name in names for file in run.glob(name)}


def _newest(*names: str) -> Path:
    """Return the run below `runs/` that holds the newest file of one of these names."""
    files = _files_of_runs(*names)
    if not files:
        raise UserError(
            f"Expected a run below {RUNS}/ with {' or '.join(names)}; there is none. "
            "Train first, or name a file or a run folder."
        )
    return files[max(files, key=lambda file: file.stat().st_mtime)]


def run_config(model_path: Path) -> Config | None:
    """Return the configuration of the run that `model_path` lies in; None outside of a run."""
    file = model_path.parent / CONFIG_FILE
    is_run = model_path.name in MODEL_FILES and file.is_file()
    return load_config(file) if is_run else None
