"""One function that reads every weight file, told apart by its first bytes, not by its name."""

from pathlib import Path

from keras_retinanet.errors import UserError
from keras_retinanet.files import magic
from keras_retinanet.weight_files.checkpoint import Checkpoint, Damaged
from keras_retinanet.weight_files.h5_file import KERAS_CONFIG, read_h5, read_keras, read_preset
from keras_retinanet.weight_files.mapped_file import map_file, zip_member, zip_members
from keras_retinanet.weight_files.safetensors_file import is_safetensors, read_safetensors
from keras_retinanet.weight_files.tf_file import checkpoint_prefix, read_tf_checkpoint
from keras_retinanet.weight_files.torch_file import LEGACY_MAGIC, read_pickle, read_torch

# How a pickle can begin: a protocol, or in those before 2 a container or a name.
PICKLE_STARTS = b"\x80(}]c"
# As a pickle has it, in its first bytes.
MAGIC_BYTES = LEGACY_MAGIC.to_bytes(10, "little")
FORMATS = (
    ".pth or .pt of PyTorch, .pkl, .safetensors, .h5, .keras, or a TensorFlow checkpoint (its "
    ".index file)"
)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the tensors of a weight file and run nothing that the file contains.

    Sizes are checked against the file's before room is made for them; tensors are views of the
    mapped file where the format allows it, so that reading needs no more memory than the file.

    Args:
        path: of a PyTorch file (either format, also alone in a zip), a pickle of NumPy arrays,
            safetensors, Keras's `.h5`, `.weights.h5` or `.keras`; or a TensorFlow checkpoint: its
            prefix, its `.index` file, or its folder; or the folder of a preset of KerasHub.

    Returns:
        The `Checkpoint`. Weights are taken out of wrappers such as "state_dict"; optimizers are
        skipped.

    Raises:
        UserError: the file is missing, damaged, of no known format, without tensors, or asks for
            code to be run; one line that names the file.
    """
    prefix = checkpoint_prefix(path)
    try:
        if prefix is not None:
            checkpoint = read_tf_checkpoint(prefix)
        elif Path(path).is_dir():
            checkpoint = read_preset(Path(path))
        else:
            checkpoint = _read(map_file(path))
    except UserError as error:
        message = str(error)
        raise UserError(message if str(path) in message else f"{path}: {message}") from None
    # Whatever nonsense does to the parsers, the finding is the same.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise UserError(
            f"expected a whole weight file. Received: {path} ({reason}). Fetch it again, or save "
            "it once more."
        ) from error
    if not checkpoint.tensors:
        raise UserError(
            f"expected a file with weights. Received: {path}, which holds no tensor in plain "
            "containers. Of a whole pickled model, save model.state_dict()."
        )
    return checkpoint


def _read(view: memoryview) -> Checkpoint:
    if view[:4] == magic.ZIP:
        return _read_zip(view)
    if view[:8] == magic.HDF5:
        return read_h5(view)
    if MAGIC_BYTES in bytes(view[:32]):
        return read_torch(view)
    if is_safetensors(view):
        return read_safetensors(view)
    if view[0] in PICKLE_STARTS:
        return read_pickle(view)
    if magic.is_archive(view):
        raise Damaged("an archive: unpack it and give the .index file or the weight file in it")
    raise Damaged(f"not the first bytes of {FORMATS}")


def _read_zip(view: memoryview) -> Checkpoint:
    """A zip is a file of torch.save or of Keras, or has one weight file packed into it."""
    members = zip_members(view)
    if KERAS_CONFIG in members:
        return read_keras(view)
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in members):
        return read_torch(view)
    packed = [info for info in members.values() if not info.is_dir()]
    weights = [info for info in packed if Path(info.filename).suffix in (".pth", ".pt")]
    if len(weights) != 1:
        names = ", ".join(info.filename[:40] for info in packed[:4])
        raise Damaged(f"a zip with {len(weights)} .pth files among {names}: unpack it, name one")
    inner = zip_member(view, weights[0])
    if inner[:4] != magic.ZIP or b"data.pkl" in bytes(inner[:200]):
        return read_torch(inner)
    raise Damaged("a zip in a zip")
