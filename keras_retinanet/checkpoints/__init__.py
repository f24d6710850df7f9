"""Weights of other systems: one file per family or file format, each reading what it names."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_retinanet.checkpoints.importing import FAMILIES, import_checkpoint, recognise
    from keras_retinanet.checkpoints.peer_model import import_model

__all__ = ["FAMILIES", "import_checkpoint", "import_model", "recognise"]


def __getattr__(name: str) -> Any:
    # On first use: trunks read files through this folder, and families build models from trunks.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "peer_model" if name == "import_model" else "importing"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
