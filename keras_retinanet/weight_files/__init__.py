"""Weight files of other systems, read without running anything from them."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.weight_files.checkpoint import Checkpoint
    from keras_retinanet.weight_files.reading import read_checkpoint
    from keras_retinanet.weight_files.torch_writer import write_tensors

__all__ = [
    "Checkpoint",
    "read_checkpoint",
    "write_tensors",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "checkpoint": "Checkpoint",
        "reading": "read_checkpoint",
        "torch_writer": "write_tensors",
    },
)
