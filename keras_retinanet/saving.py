"""One self-contained `.keras` file: written whole, read without running anything from it."""

import warnings
import zipfile
import zlib
from pathlib import Path

import keras

from keras_retinanet.checkpoints.checkpoint import Damaged
from keras_retinanet.checkpoints.keras_config import MAX_CONFIG, parse_config
from keras_retinanet.config_files import metadata_from_dict
from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_path
from keras_retinanet.model import FORMAT, RetinaNet

# What Keras, h5py and zipfile raise for a file that is damaged or holds another graph.
NO_CONFIG = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,  # an encrypted member, and RecursionError
    KeyError,
    TypeError,
    ValueError,
)
BAD_WEIGHTS = (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile, zlib.error)

# What `RetinaNet.get_config` gives.
CONFIG = {
    "format": int,
    "model": dict,
    "class_names": list,
    "class_ids": list,
    "metadata": dict,
    "name": str,
}


def save_model(model: RetinaNet, path: str | Path) -> None:
    """Write `model` to `path` (`.keras`), without the optimizer's state."""
    if model.compiled:
        # A copy that was never compiled: Keras would store the optimizer's slots too, twice the
        # size.
        copy = RetinaNet.from_config(model.get_config())
        copy.set_weights(model.get_weights())
        model = copy
    with atomic_path(path) as temporary:
        model.save(temporary)


def load(path: str | Path) -> RetinaNet:
    """Read a model that this package wrote.

    The graph is rebuilt from the file's own configuration by this package's builders; no code or
    class named in the file is looked up or run.

    Raises:
        UserError: if there is no such file, it is no model of this package, its format is newer, or
            it asks for code to be run.
    """
    config = read_config(path)
    try:
        model = RetinaNet.from_config(config)
        with warnings.catch_warnings():
            # Keras only warns of layers that it finds no weights for.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (*BAD_WEIGHTS, UserWarning) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: the weights do not fit the graph: {reason}") from error
    return model


def read_config(path: str | Path) -> dict:
    """Return the configuration stored in a `.keras` file: what `RetinaNet.get_config` gave."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"Expected a .keras file. Received: {path}, which is not a file.")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > MAX_CONFIG:
                raise Damaged("a configuration larger than any model's")
            stored = parse_config(archive.read("config.json"))
        registered, config = stored["registered_name"], stored["config"]
        version = int(config["format"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (*NO_CONFIG, Damaged) as error:
        raise UserError(
            f"{path} is not a model file of keras_retinanet: {type(error).__name__}. Of another "
            "system's file, `keras_retinanet import` makes one."
        ) from error
    if registered != keras.saving.get_registered_name(RetinaNet):
        raise UserError(f"{path} is not a model of keras_retinanet: it holds {registered!r}.")
    if version > FORMAT:
        raise UserError(
            f"{path} has format {version}; this version reads up to {FORMAT}. "
            "Install a newer keras_retinanet."
        )
    if not _is_plain(config):
        raise UserError(
            f"{path} is not as keras_retinanet writes its models: expected the keys "
            f"{', '.join(CONFIG)}, of plain texts and numbers. Received: "
            f"{', '.join(str(key)[:40] for key in config)}."
        )
    return {**config, "metadata": metadata_from_dict(config["metadata"])}


def _is_plain(config: dict) -> bool:
    """Whether all is what `get_config` gives: Keras would build objects from other arguments."""
    return (
        set(config) <= set(CONFIG)
        and all(isinstance(config.get(key), kind) for key, kind in CONFIG.items())
        and all(isinstance(name, str) for name in config["class_names"])
        and all(type(class_id) is int for class_id in config["class_ids"])
        and all(isinstance(text, str) for text in config["metadata"].values())
    )
