"""One self-contained `.keras` file: written whole, read without running anything from it."""

import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras

from keras_retinanet.config.files import metadata_from_dict, model_config_from_dict
from keras_retinanet.errors import UserError, shown
from keras_retinanet.files import atomic_path
from keras_retinanet.modeling.retinanet import FORMAT, RetinaNet
from keras_retinanet.weight_files.checkpoint import Damaged
from keras_retinanet.weight_files.h5_file import KERAS_WEIGHTS
from keras_retinanet.weight_files.h5_trial import check_h5
from keras_retinanet.weight_files.keras_config import KERAS_CONFIG, config_text, parse_config
from keras_retinanet.weight_files.mapped_file import map_file, zip_member, zip_members

# What Keras, h5py and zipfile raise for a file that is damaged or holds another graph.
BAD_WEIGHTS = (
    Damaged,
    AttributeError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,  # h5py, of a damaged tree of names
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
# How much of another's message, and how many keys, a line shows.
SHOWN_REASON = 150
MAX_KEYS = 12

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
    class named in the file is looked up or run. The weights are read by another process first,
    while the graph is built: HDF5's library can crash on them.

    Raises:
        UserError: if there is no such file, it is no model of this package, its format is newer, or
            it asks for code to be run; if its weights are damaged or not the graph's.
    """
    config = read_config(path)
    try:
        weights = _weights(path)
        _check_size(config, len(weights))
        with ThreadPoolExecutor(1) as pool:
            trial = pool.submit(check_h5, weights)
            model = RetinaNet.from_config(config)
            trial.result()
        with warnings.catch_warnings():
            # Keras only warns of layers that it finds no weights for.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (*BAD_WEIGHTS, UserWarning) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:SHOWN_REASON]
        raise UserError(f"{path}: the weights do not fit the graph: {reason}") from error
    return model


def _weights(path: str | Path) -> memoryview:
    """Return the bytes of the HDF5 file in a `.keras` file, whose checksum is right."""
    view = map_file(path)
    members = zip_members(view)
    if KERAS_WEIGHTS not in members:
        raise Damaged(f"no {KERAS_WEIGHTS} in it")
    return zip_member(view, members[KERAS_WEIGHTS])


def _check_size(config: dict, size: int) -> None:
    """Refuse a graph of more weights than `size` bytes can hold before room is made for it.

    Counted are the largest of the kernels outside of the backbone, which are there in any case.
    """
    model = model_config_from_dict(config["model"])
    head, fpn, anchors = model.head, model.fpn, model.anchors
    per_cell = len(anchors.scales) * len(anchors.ratios)
    head_kernel = head.channels**2 * (1 if head.separable else 9)
    fpn_kernel = fpn.channels**2 * (1 if fpn.separable else 9)
    # A tower's first convolution takes the pyramid's channels, and so does the last, without one.
    final_kernel = min(head.channels, fpn.channels) * per_cell * len(config["class_names"])
    least = 2 * max(head.depth - 1, 0) * head_kernel + 3 * fpn_kernel + final_kernel
    if 4 * least > size:
        raise Damaged(f"{4 * least:,} bytes of weights are needed, {size:,} are there")


def read_config(path: str | Path) -> dict:
    """Return the configuration stored in a `.keras` file: what `RetinaNet.get_config` gave."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"Expected a .keras file. Received: {path}, which is not a file.")
    try:
        view = map_file(path)
        stored = parse_config(config_text(view, zip_members(view)[KERAS_CONFIG]))
        registered, config = stored["registered_name"], stored["config"]
        version = int(config["format"])
    except UserError as error:
        message = str(error)
        raise UserError(message if str(path) in message else f"{path}: {message}") from error
    except Exception as error:  # Whatever a damaged zip, or JSON of another form, leads to.
        reason = error if isinstance(error, Damaged) else type(error).__name__
        raise UserError(
            f"{path} is not a model file of keras_retinanet: {reason}. Of another "
            "system's file, `keras_retinanet import` makes one."
        ) from error
    if registered != keras.saving.get_registered_name(RetinaNet):
        raise UserError(f"{path} is not a model of keras_retinanet: it holds {shown(registered)}.")
    if version > FORMAT:
        raise UserError(
            f"{path} has format {version}; this version reads up to {FORMAT}. "
            "Install a newer keras_retinanet."
        )
    if not _is_plain(config):
        raise UserError(
            f"{path} is not as keras_retinanet writes its models: expected the keys "
            f"{', '.join(CONFIG)}, of plain texts and numbers. Received: "
            f"{', '.join(str(key)[:40] for key in list(config)[:MAX_KEYS])}."
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
