"""What `--model` and `--weights` name -> a `.keras` file of this package.

A built-in model is there already; a catalogue name is fetched; a foreign checkpoint is imported
once, into the cache, under the hash of its bytes.
"""

import hashlib
import json
from pathlib import Path

from keras_retinanet.checkpoints import catalogue_file
from keras_retinanet.checkpoints.built_in import built_in_models
from keras_retinanet.checkpoints.catalogue_file import Entry, catalogue
from keras_retinanet.errors import UserError
from keras_retinanet.files import sha256_of
from keras_retinanet.files.downloads import cache_folder, locked, verify
from keras_retinanet.version import __version__
from keras_retinanet.weight_files.archives import unpacked
from keras_retinanet.weight_files.keras_config import KERAS_CONFIG, config_text
from keras_retinanet.weight_files.mapped_file import map_file, zip_members

OWN_SUFFIX = ".keras"
# What a folder that stands for a checkpoint has.
FOLDER_FILES = ("*.index", "*.weights.h5")
# Digits of sha256 in the name of an imported file: no two files of one user's will share them.
DIGITS = 16


def model_file(word: str | Path) -> Path:
    """Return the model file that `word` names.

    Args:
        word: a `.keras` file of this package, which is returned as it is; a checkpoint of a known
            family, which may be a folder or a prefix; or a name of `weights list`.

    Raises:
        UserError: nothing there, or nothing that can be fetched or imported.
    """
    path, name = Path(word), str(word)
    if path.is_file() or Path(f"{path}.index").is_file() or _holds_checkpoint(path):
        return path if _is_own(path) else _imported(path, catalogue_file.entry_for(path))
    if name in built_in_models():
        return built_in_models()[name].path
    if name in catalogue():
        entry = catalogue()[name]
        return _imported(unpacked(catalogue_file.fetch(entry)), entry)
    near = catalogue_file.near_names(name)
    raise UserError(
        f"Expected a .keras file, a run folder, a checkpoint or a name of `keras_retinanet weights "
        f"list`. Received: {name}, not there." + (f" Near: {', '.join(near)}." if near else "")
    )


def _holds_checkpoint(folder: Path) -> bool:
    """Return whether `folder` is TensorFlow's or a KerasHub preset; no other is read or hashed."""
    return any(any(folder.glob(kind)) for kind in FOLDER_FILES)


def _is_own(path: Path) -> bool:
    """Return whether `saving.load` reads `path`, which reports best what is wrong with it."""
    if path.suffix != OWN_SUFFIX:
        return False
    try:
        view = map_file(path)
        stored = json.loads(config_text(view, zip_members(view)[KERAS_CONFIG]))
        return str(stored["registered_name"])[:40].startswith("keras_retinanet>")
    except Exception:  # Whatever is wrong with it.
        return True


def _imported(path: Path, entry: Entry | None) -> Path:
    """Return the model that `path` was imported to, importing it unless the cache has it."""
    stem = path.name.split(".")[0]
    imported = cache_folder() / "imported" / f"{stem}-{_digest(path)}-{__version__}{OWN_SUFFIX}"
    imported.parent.mkdir(parents=True, exist_ok=True)
    with locked(imported):
        if not imported.is_file():
            _import(path, entry, imported)
    return imported


def _import(path: Path, entry: Entry | None, imported: Path) -> None:
    from keras_retinanet.checkpoints.importing import import_checkpoint
    from keras_retinanet.modeling.saving import save_model

    model = import_checkpoint(path, family=entry.family if entry else None)
    if entry is not None:
        if path.is_file():
            verify(path, entry, advice="Rename it if it is another file.")
        model.metadata |= catalogue_file.provenance(entry)
    save_model(model, imported)
    print(f"imported {path} as {model.metadata.get('family', 'a RetinaNet')} into {imported}")


def _digest(path: Path) -> str:
    """Leading digits of the sha256 of a file, or of all files of a TensorFlow checkpoint."""
    if path.is_dir():
        files = [file for file in path.iterdir() if file.is_file()]
    elif path.is_file() and path.suffix != ".index":
        files = [path]
    else:
        prefix = path.name.removesuffix(".index")
        files = [path.with_name(f"{prefix}.index"), *path.parent.glob(f"{prefix}.data-*")]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(bytes.fromhex(sha256_of(file)))
    return digest.hexdigest()[:DIGITS]
