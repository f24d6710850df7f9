"""RetinaNet in Keras: train, evaluate, predict.

    import keras_retinanet
    model = keras_retinanet.load("best.keras")
    detections = model.detect("photo.jpg")[0]

Names load on first use: importing this package imports no TensorFlow.
"""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily, register_with_keras, require_tensorflow_backend
from keras_retinanet.version import __version__

if TYPE_CHECKING:
    from keras_retinanet.checkpoints import import_checkpoint, import_model
    from keras_retinanet.config import Config, load_config
    from keras_retinanet.modeling import (
        AnchorLabeler,
        Detections,
        RetinaNet,
        RetinaNetLoss,
        load,
        retinanet,
        save_model,
    )
    from keras_retinanet.training import train

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

__getattr__, __dir__ = lazily(
    __name__,
    {
        "checkpoints": "import_checkpoint import_model",
        "config": "Config load_config",
        "modeling": "AnchorLabeler Detections RetinaNet RetinaNetLoss load retinanet save_model",
        "training": "train",
        # Rooms that give no name here: `keras_retinanet.data.load`.
        **dict.fromkeys(
            ("data", "doctor", "drawing", "evaluation", "exporting", "inference", "speed"), ""
        ),
    },
    before=require_tensorflow_backend,
)
register_with_keras(
    __name__,
    {
        "modeling": "AnchorLabeler AtssLabeler CoupledSGD DetectorAdamW RetinaNet RetinaNetLoss",
        "modeling.backbones.resnet": "GroupedConv2D",
        "modeling.upsampling": "UpsampleToMatch",
        "modeling.preprocessing": "PixelNormalization",
    },
)
