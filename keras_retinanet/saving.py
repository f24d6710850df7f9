"""One self-contained `.keras` file: written whole, read without running anything from it."""

import json
import warnings
import zipfile
import zlib
from pathlib import Path

import keras

from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_path
from keras_retinanet.model import FORMAT, RetinaNet

# What Keras, h5py and zipfile raise for a file that is damaged or holds another graph.
BAD_WEIGHTS = (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile, zlib.error)


def save_model(model: RetinaNet, path: str | Path) -> None:
    """Write `model` to `path` (`.keras`), without the optimizer's state."""
    # A copy that was never compiled: Keras would store the optimizer's slots too, twice the size.
    copy = RetinaNet.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    with atomic_path(path) as temporary:
        copy.save(temporary)


def load(path: str | Path) -> RetinaNet:
    """Read a model that this package wrote.

    The graph is rebuilt from the file's own configuration by this package's builders; no code or
    class named in the file is looked up or run.

    Raises:
        UserError: if there is no such file, it is no model of this package, or its format is newer.
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
            stored = json.loads(archive.read("config.json"))
        registered, config = stored["registered_name"], stored["config"]
        version = int(config["format"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not a model file of keras_retinanet: {type(error).__name__}."
        ) from error
    if registered != keras.saving.get_registered_name(RetinaNet):
        raise UserError(f"{path} is not a model of keras_retinanet: it holds {registered!r}.")
    if version > FORMAT:
        raise UserError(
            f"{path} has format {version}; this version reads up to {FORMAT}. "
            "Install a newer keras_retinanet."
        )
    return config
