"""Public RetinaNets by family: listed, fetched, imported, written."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.checkpoints.built_in import BuiltIn, built_in_models
    from keras_retinanet.checkpoints.catalogue_file import Entry, catalogue, fetch, find_entry
    from keras_retinanet.checkpoints.families.torchvision_export import export_torchvision
    from keras_retinanet.checkpoints.importing import FAMILIES, import_checkpoint, recognise
    from keras_retinanet.checkpoints.model_files import model_file
    from keras_retinanet.checkpoints.peer_model import import_model

__all__ = [
    "FAMILIES",
    "BuiltIn",
    "Entry",
    "built_in_models",
    "catalogue",
    "export_torchvision",
    "fetch",
    "find_entry",
    "import_checkpoint",
    "import_model",
    "model_file",
    "recognise",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "built_in": "BuiltIn built_in_models",
        "catalogue_file": "Entry catalogue fetch find_entry",
        "families.torchvision_export": "export_torchvision",
        "importing": "FAMILIES import_checkpoint recognise",
        "model_files": "model_file",
        "peer_model": "import_model",
    },
)
