"""Weights in HDF5: Keras's `.h5`, `.weights.h5`, and the `.weights.h5` inside a `.keras`.

Only data sets are read, and attributes of text. A full model's configuration is looked at as
plain JSON (`keras_config`); no layer is built from it.
"""

import sys
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.files import read_regular
from keras_retinanet.weight_files import checkpoint as bounds
from keras_retinanet.weight_files.checkpoint import Checkpoint, Damaged
from keras_retinanet.weight_files.h5_trial import check_h5, limit_memory
from keras_retinanet.weight_files.keras_config import (
    KERAS_CONFIG,
    MAX_CONFIG,
    config_text,
    parse_config,
)
from keras_retinanet.weight_files.mapped_file import (
    MAX_RATIO,
    ViewFile,
    map_file,
    zip_member,
    zip_members,
)

KERAS_WEIGHTS, KERAS_METADATA = "model.weights.h5", "metadata.json"
# gzip, shuffle, checksum: HDF5's own. Others are libraries that it would go and load.
KNOWN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
# Momenta and the like, as large as the weights.
OPTIMIZER = "optimizer"


def read_h5(view: memoryview, kind: str = "h5") -> Checkpoint:
    """Read the data sets of an HDF5 file from its bytes.

    Returns:
        Tensors by the full path of their data set (`conv1/conv1/kernel:0`), without those of an
        optimizer; `metadata` has the file's attributes of text.

    Raises:
        UserError: the file holds a layer of code (see `keras_config`).
        Damaged, or any other Exception: it is no plain HDF5 file of numbers.
    """
    check_h5(view)
    tensors, metadata = _read(view)
    return Checkpoint(tensors, metadata, kind)


def try_h5() -> None:
    """Read standard input as `read_h5` reads a file: of the trial's process (`h5_trial`).

    Prints what is wrong with it, but for what the caller will find and tell by itself.
    """
    view = memoryview(sys.stdin.buffer.read())
    limit_memory(len(view))
    try:
        _read(view)
    except UserError:
        pass
    except Exception as error:
        print(error or type(error).__name__)


def _read(view: memoryview) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with h5py.File(ViewFile(view), "r") as file:
        metadata = _texts(file) | _layer_names(file)
        if "model_config" in metadata:
            parse_config(metadata["model_config"])
        datasets = _datasets(file)
        # One place in the file may have many names, and be read as often.
        if sum(_stored(dataset, name) for name, dataset in datasets) > len(view):
            raise Damaged("data larger than the file holds")
        return {name: _values(dataset) for name, dataset in datasets}, metadata


def read_keras(view: memoryview) -> Checkpoint:
    """Read a `.keras` file of Keras 3 from its bytes: the weights, and `config.json` as text.

    Raises:
        UserError, Damaged or another Exception, as `read_h5`.
    """
    members = zip_members(view)
    metadata = {}
    for name in (KERAS_CONFIG, KERAS_METADATA):
        if name in members:
            metadata[name] = config_text(view, members[name])
            parse_config(metadata[name])
    if KERAS_WEIGHTS not in members:
        raise Damaged(f"no {KERAS_WEIGHTS} in it")
    weights = read_h5(zip_member(view, members[KERAS_WEIGHTS]), "keras")
    return Checkpoint(weights.tensors, {**weights.metadata, **metadata}, "keras")


def read_preset(folder: Path) -> Checkpoint:
    """Read a preset of KerasHub: a folder of weights in HDF5, and JSON.

    Returns:
        Tensors by file and path (`task.weights.h5/layers/.../vars/0`), JSON files as text by their
        names.

    Raises:
        UserError: the folder is no preset.
    """
    weights = sorted(folder.glob("*.weights.h5"))
    if not weights or not (folder / KERAS_CONFIG).is_file():
        raise UserError(
            f"expected a weight file. Received: {folder}, a folder without a TensorFlow checkpoint "
            "or a preset of KerasHub."
        )
    metadata = {}
    for file in sorted(folder.glob("*.json")):
        metadata[file.name] = read_regular(file, max_bytes=MAX_CONFIG).decode()
        parse_config(metadata[file.name])
    tensors = {
        f"{file.name}/{name}": values
        for file in weights
        for name, values in read_h5(map_file(file)).tensors.items()
    }
    return Checkpoint(tensors, metadata, "keras")


def _texts(file: h5py.File) -> dict[str, str]:
    """The attributes of text: of the file, and of a full model's group of weights."""
    texts = {}
    for name in file.attrs:
        identity = file.attrs.get_id(name)
        if identity.shape != () or identity.get_storage_size() > bounds.MAX_TEXT:
            continue
        value = file.attrs[name]
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        # A long text lies outside of the attribute: only now is its size known.
        if isinstance(value, str) and len(value) <= MAX_CONFIG:
            texts[name] = value
    return texts


def _layer_names(file: h5py.File) -> dict[str, str]:
    """Keras's list of layers, one a line: all that a file of weights tells of its graph."""
    names: list[str] = []
    for group in (file, file.get("model_weights")):
        # Lists too long for one attribute are cut into layer_names0, layer_names1, ...
        keys = [key for key in getattr(group, "attrs", ()) if key.startswith("layer_names")]
        for key in sorted(keys, key=lambda key: int("0" + key.removeprefix("layer_names"))):
            identity = group.attrs.get_id(key)
            values = [group.attrs[key]] if identity.shape == () else group.attrs[key].ravel()
            names += [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v)
                      for v in values]  # fmt: skip
    return {"layer_names": "\n".join(names)} if names else {}


def _datasets(file: h5py.File) -> list[tuple[str, h5py.Dataset]]:
    """Every data set with its path, in the file's order; by hard links alone."""
    found: list[tuple[str, h5py.Dataset]] = []
    waiting: list[tuple[str, h5py.Group, int]] = [("", file, 0)]
    visited = 0
    while waiting:
        path, group, depth = waiting.pop()
        below = []
        for name in group:
            visited += 1
            full = f"{path}/{name}" if path else name
            too_deep = depth > bounds.MAX_DEPTH or len(full) > bounds.MAX_NAME
            if too_deep or visited > bounds.MAX_TENSORS:
                raise Damaged("more, deeper or longer names than any model has")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Damaged(f"a link to elsewhere ({full})")
            child = group[name]
            if isinstance(child, h5py.Dataset):
                found.append((full, child))
            elif not full.startswith(OPTIMIZER):
                below.append((full, child, depth + 1))
        waiting += reversed(below)
    return found


def _is_brain(dataset: h5py.Dataset) -> bool:
    """Return whether Keras wrote it as bfloat16, which HDF5 has no type for."""
    named = "dtype" in dataset.attrs and dataset.attrs["dtype"] == "bfloat16"
    return named and dataset.dtype.itemsize == 2


def _stored(dataset: h5py.Dataset, name: str) -> float:
    """The bytes that a data set of numbers takes of the file, at least."""
    if dataset.is_virtual or dataset.external:
        raise Damaged(f"data that lie in another file ({name})")
    dtype: Any = dataset.dtype
    if dtype.kind not in "fiub" and not _is_brain(dataset):
        raise Damaged(f"values that are no numbers ({name})")
    plan = dataset.id.get_create_plist()
    filters = {plan.get_filter(index)[0] for index in range(plan.get_nfilters())}
    if not filters <= KNOWN_FILTERS:
        raise Damaged(f"a compression that is not read here ({name})")
    # What was never written reads as zeros, of any claimed size.
    stored = dataset.id.get_storage_size()
    ratio = MAX_RATIO if filters else 1
    if dataset.nbytes > stored * ratio:
        raise Damaged(f"data {dataset.shape} larger than the file holds ({name})")
    return dataset.nbytes / ratio


def _values(dataset: h5py.Dataset) -> np.ndarray:
    """The numbers of a data set of which `_stored` has found no fault."""
    dtype: Any = dataset.dtype
    values = np.empty(dataset.shape, dtype)
    if values.size:
        dataset.read_direct(values)
    values = values.view(ml_dtypes.bfloat16) if _is_brain(dataset) else values
    values.flags.writeable = False
    return values
