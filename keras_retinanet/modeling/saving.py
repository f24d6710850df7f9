"""One self-contained `.keras` file: written whole, and read without running code from it."""

import io
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras

from keras_retinanet.config.files import metadata_from_dict, model_config_from_dict
from keras_retinanet.errors import UserError, shown
from keras_retinanet.files import atomic_path
from keras_retinanet.modeling.backbones import pyramid_channels
from keras_retinanet.modeling.nas_fpn import CELLS
from keras_retinanet.modeling.retinanet import FORMAT, RetinaNet
from keras_retinanet.weight_files.checkpoint import Damaged
from keras_retinanet.weight_files.h5_file import KERAS_WEIGHTS
from keras_retinanet.weight_files.h5_trial import check_h5
from keras_retinanet.weight_files.keras_config import KERAS_CONFIG, config_text, parse_config
from keras_retinanet.weight_files.mapped_file import map_file, zip_member, zip_members

# Exceptions of Keras, h5py and zipfile for a file that is damaged or holds another graph.
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
# Limits of what a message shows: characters of another message, and keys.
SHOWN_REASON = 150
MAX_KEYS = 12

# Keys and types of `RetinaNet.get_config`.
CONFIG = {
    "format": int,
    "model": dict,
    "class_names": list,
    "class_ids": list,
    "metadata": dict,
    "name": str,
}
OPTIONAL = {"frozen": list}  # present only where layers were frozen by hand


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
    """Load a model that this package wrote.

    The graph is rebuilt from the file's own configuration by this package's builders; no code or
    class named in the file is imported or run. Another process reads the weights first, while the
    graph is built, because the HDF5 library can crash on them.

    Raises:
        UserError: the file does not exist, is not a model of this package, has a newer format or
            asks for code to be run; or its weights are damaged or do not fit the graph.
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
            # Keras only warns about layers without weights in the file.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(_WeightsInMemory(weights))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (*BAD_WEIGHTS, UserWarning) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:SHOWN_REASON]
        raise UserError(f"{path}: the weights do not fit the graph: {reason}") from error
    return model


class _WeightsInMemory(io.BytesIO):
    """The bytes of a file of weights, which Keras takes for one by its name.

    In a `.keras` file Keras reads them through `zipfile`, which starts again from the first byte
    at each step back: many times the whole file.
    """

    def __str__(self) -> str:
        return KERAS_WEIGHTS


def _weights(path: str | Path) -> memoryview:
    """Return the bytes of the HDF5 file in a `.keras` file after checking its checksum."""
    view = map_file(path)
    members = zip_members(view)
    if KERAS_WEIGHTS not in members:
        raise Damaged(f"no {KERAS_WEIGHTS} in it")
    return zip_member(view, members[KERAS_WEIGHTS])


def _check_size(config: dict, size: int) -> None:
    """Refuse a graph with more weights than `size` bytes hold, before memory is reserved for it.

    Only the largest kernels outside the backbone are counted, which every graph has.
    """
    model = model_config_from_dict(config["model"])
    head, fpn, anchors = model.head, model.fpn, model.anchors
    per_cell = len(anchors.scales) * len(anchors.ratios)
    head_kernel = head.channels**2 * (1 if head.separable else 9)
    own_channels = pyramid_channels(model.backbone.name)  # of a backbone without an FPN
    fpn_kernel = 0 if own_channels else fpn.channels**2 * (1 if fpn.separable else 9)
    fpn_kernels = len(CELLS) * fpn.repeats if fpn.name == "nas_fpn" else 3
    # A tower's first convolution takes the pyramid's channels, and so does the last, without one.
    final_kernel = (
        min(head.channels, own_channels or fpn.channels) * per_cell * len(config["class_names"])
    )
    least = 2 * max(head.depth - 1, 0) * head_kernel + fpn_kernels * fpn_kernel + final_kernel
    if 4 * least > size:
        raise Damaged(f"{4 * least:,} bytes of weights are needed, {size:,} are there")


def read_config(path: str | Path) -> dict:
    """Return the result of `RetinaNet.get_config` that a `.keras` file stores."""
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
    except Exception as error:  # A damaged zip, or JSON of another format, can raise anything.
        reason = error if isinstance(error, Damaged) else type(error).__name__
        raise UserError(
            f"{path} is not a model file of keras_retinanet: {reason}. "
            "`keras_retinanet import` converts files of other systems."
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
            f"{path} is not written by keras_retinanet: expected the keys "
            f"{', '.join(CONFIG)} with plain strings and numbers. Received: "
            f"{', '.join(str(key)[:40] for key in list(config)[:MAX_KEYS])}."
        )
    return {**config, "metadata": metadata_from_dict(config["metadata"])}


def _is_plain(config: dict) -> bool:
    """Return whether all values are plain: Keras would build objects from other ones."""
    return (
        set(config) <= {*CONFIG, *OPTIONAL}
        and all(isinstance(config[key], kind) for key, kind in OPTIONAL.items() if key in config)
        and all(isinstance(path, str) for path in config.get("frozen", ()))
        and all(isinstance(config.get(key), kind) for key, kind in CONFIG.items())
        and all(isinstance(name, str) for name in config["class_names"])
        and all(type(class_id) is int for class_id in config["class_ids"])
        and all(isinstance(text, str) for text in config["metadata"].values())
    )
