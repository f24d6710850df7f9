"""Create and check the folder of a run and its record of how the run began."""

import contextlib
import datetime
import json
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from keras_retinanet.config import Config
from keras_retinanet.config.files import config_to_dict, load_config, save_config
from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_path, atomic_write

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset

RUNS = Path("runs")
CONFIG_FILE = "config.yaml"
STATE_FOLDER = "state"
DATA_FILE = "data.json"
DRY_RUN_FILE = "batch.png"
LOG_FILE = "metrics.csv"
# Options that `--resume` may change.
LENGTH_KEYS = ("train.steps", "train.minutes")
# Best first.
MODEL_FILES = ("best.keras", "last.keras")


def new_run_folder(recipe: str) -> Path:
    """Make and return `runs/<date>-<recipe>`, with a number if another run has that name."""
    date = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    RUNS.mkdir(exist_ok=True)  # see `remove_if_empty`
    number = 1
    while True:
        suffix = f"-{number}" if number > 1 else ""
        folder = RUNS / f"{date}-{recipe}{suffix}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def remove_if_empty(folder: Path) -> None:
    """Remove the folder of a run that was refused, and the folder of runs that it leaves empty."""
    with contextlib.suppress(OSError):
        folder.rmdir()
        if folder.parent == RUNS:
            RUNS.rmdir()


def require_begun(folder: Path) -> None:
    """Raise a UserError unless `folder` holds a run, which may have no state yet."""
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(
            f"Expected the folder of a run, which holds {CONFIG_FILE}. Received: {folder}. "
            "Name the folder of a run that has begun, or start a new one without --resume."
        )


def require_new(folder: Path) -> None:
    """Raise a UserError if `folder` holds a run, or anything but the image of a dry run."""
    if (folder / CONFIG_FILE).exists():
        raise UserError(
            f"Expected a new folder for the run. Received: {folder}, which holds a run. "
            f"Resume it with --resume {folder}, or name another folder with --out."
        )
    # Ignore hidden files: the lock, and files that desktops leave in every folder.
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if names not in ([], [DRY_RUN_FILE]):
        raise UserError(
            f"Expected a new or empty folder for the run. Received: {folder}, which holds "
            f"{names[0]}{' and more' if len(names) > 1 else ''} and no {CONFIG_FILE} of a run. "
            "Name another folder with --out."
        )


# ---------------------------------------------------------------------------------- configuration


def begin_run(config: Config, folder: Path) -> None:
    """Write the configuration to the folder, and a copy beside the state."""
    state = folder / STATE_FOLDER
    state.mkdir(exist_ok=True)
    save_config(config, state / CONFIG_FILE)
    save_config(config, folder / CONFIG_FILE)  # last: it marks the folder as a run


def stored_config(folder: Path) -> Config:
    """Return the configuration of the run in `folder`; restore a damaged one from its copy.

    Raises:
        UserError: neither the file nor its copy can be read.
    """
    path, copy = folder / CONFIG_FILE, folder / STATE_FOLDER / CONFIG_FILE
    try:
        # An empty file is valid YAML, which would mean the paper's configuration.
        if path.stat().st_size:
            return load_config(path)
        problem = f"{path}: expected the keys of a run. Received: an empty file."
    except UserError as error:
        problem = str(error)
    if not copy.is_file():
        raise UserError(problem)
    config = load_config(copy)
    print(f"{problem} Restored from {copy}, as the run began.")
    with atomic_path(path) as temporary:
        shutil.copyfile(copy, temporary)
    return config


def resume_config(config: Config, folder: Path) -> None:
    """Store a new length of the run in `folder`; no other option may have changed.

    Raises:
        UserError: the run began with another configuration than `config`.
    """
    copy = folder / STATE_FOLDER / CONFIG_FILE
    if not copy.is_file():  # a run of a version before 0.2
        return
    began, now = _flat(config_to_dict(load_config(copy))), _flat(config_to_dict(config))
    # What is "auto" was written as the number that the data gave.
    changed = [key for key in now if now[key] not in (began.get(key), "auto")]
    if changed and set(changed) <= set(LENGTH_KEYS):
        told = ", ".join(f"{key} {now[key]:g} instead of {began[key]:g}" for key in changed)
        print(f"the run continues with {told}; the learning rate follows its new length")
        begin_run(config, folder)
    elif changed:
        key = changed[0]
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise UserError(
            f"Expected the configuration that the run began with. Received: {folder / CONFIG_FILE} "
            f"with {key}: {str(now[key])[:80]} instead of {str(began.get(key))[:80]}{more}. Change "
            f"it back ({copy} has it), or start a new run with --weights {folder}."
        )


def _flat(values: dict, prefix: str = "") -> dict:
    flat: dict = {}
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        flat |= _flat(value, f"{dotted}.") if isinstance(value, dict) else {dotted: value}
    return flat


def is_whole_model(path: Path) -> bool:
    """Return whether all members of the `.keras` file at `path` match their checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
        return False


def remove_damaged_models(folder: Path) -> None:
    """Remove the models of the run that are damaged, so that they are written again."""
    for path in (folder / name for name in MODEL_FILES):
        if path.exists() and not is_whole_model(path):
            print(f"{path} is damaged: it is removed and will be written again.")
            path.unlink()


# ------------------------------------------------------------------------------------------- data


def write_data_report(data: "Dataset", validation: "Dataset | None", folder: Path) -> None:
    """Write the images of training and validation, and their problems."""
    parts = {"train": data} | ({"validation": validation} if validation is not None else {})
    report = {
        name: {
            "pictures": [record.file_name for record in part.records],
            "problems": dict(part.problems),
        }
        for name, part in parts.items()
    }
    with atomic_write(folder / DATA_FILE) as stream:
        json.dump(report, stream, indent=1)


def require_same_pictures(data: "Dataset", folder: Path) -> None:
    """Refuse to resume on other images, which would change the order of the rest of the run.

    Raises:
        UserError: the images are not those in `data.json`. If that file is damaged or missing, a
            line says that they were not compared.
    """
    path = folder / DATA_FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["train"]["pictures"]
    except (OSError, ValueError, KeyError, TypeError):
        print(f"{path} is missing or damaged: the images were not compared with the earlier ones.")
        return
    if stored != [record.file_name for record in data.records]:
        raise UserError(
            f"Expected the {len(stored)} training images that {path} lists. Received: "
            f"{len(data.records)}, not the same. Restore them, or start a new run with "
            f"--weights {folder}."
        )
