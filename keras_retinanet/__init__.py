"""RetinaNet in Keras: train, evaluate, predict.

    import keras_retinanet
    model = keras_retinanet.load("best.keras")
    detections = model.detect(image)[0]

Names load on first use: importing this package imports no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_retinanet.version import __version__

if TYPE_CHECKING:
    from keras_retinanet.checkpoints.importing import import_checkpoint
    from keras_retinanet.checkpoints.peer_model import import_model
    from keras_retinanet.config.files import load_config
    from keras_retinanet.config.schema import Config
    from keras_retinanet.modeling.detections import Detections
    from keras_retinanet.modeling.labeling import AnchorLabeler
    from keras_retinanet.modeling.losses import RetinaNetLoss
    from keras_retinanet.modeling.retinanet import RetinaNet, retinanet
    from keras_retinanet.modeling.saving import load, save_model
    from keras_retinanet.training.run import train

__all__ = [
    "AnchorLabeler",
    "Config",
    "Detections",
    "RetinaNet",
    "RetinaNetLoss",
    "__version__",
    "import_checkpoint",
    "import_model",
    "load",
    "load_config",
    "retinanet",
    "save_model",
    "train",
]

# Public name -> the module that has it.
_MODULES = {
    "AnchorLabeler": "modeling.labeling",
    "Config": "config.schema",
    "Detections": "modeling.detections",
    "RetinaNet": "modeling.retinanet",
    "RetinaNetLoss": "modeling.losses",
    "import_checkpoint": "checkpoints.importing",
    "import_model": "checkpoints.peer_model",
    "load": "modeling.saving",
    "load_config": "config.files",
    "retinanet": "modeling.retinanet",
    "save_model": "modeling.saving",
    "train": "training.run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
