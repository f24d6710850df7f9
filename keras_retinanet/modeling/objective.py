"""What a detector is trained for: its loss, labeler and normalizer, and how a step is computed."""

import copy
import dataclasses

import keras
import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.distillation import Distiller
from keras_retinanet.modeling.labeling import Labeler
from keras_retinanet.modeling.losses import RetinaNetLoss
from keras_retinanet.modeling.training_graph import Recomputed

# detectron2 starts its moving average of positives here.
INITIAL_NORMALIZER = 100.0


@dataclasses.dataclass(frozen=True)
class Objective:
    """What `compile` sets up for training. No Keras container: neither tracked nor saved."""

    labeler: Labeler
    loss: RetinaNetLoss
    normalizer: keras.Variable  # moving average of the positives per global batch
    class_weights: keras.Variable  # (K,), all 1 without `class_weight`
    micro_batch: int  # images computed at once; 0: the whole batch
    recomputed: Recomputed
    distiller: Distiller | None


def own_loss(loss: RetinaNetLoss | None, box_coder: BoxCoder, num_classes: int) -> RetinaNetLoss:
    """Return `loss`, by default the paper's, checked and with the box coder of its model."""
    loss = RetinaNetLoss() if loss is None else loss
    if not isinstance(loss, RetinaNetLoss):
        raise ValueError(
            f"Expected loss to be a RetinaNetLoss or None. Received: loss={loss!r}. "
            "Subclass RetinaNetLoss and override `sums` for another one."
        )
    if loss.box_coder is None:
        loss = copy.copy(loss)  # the caller's own may serve another model
        loss.box_coder = box_coder
    elif loss.box_coder != box_coder:
        raise ValueError(
            "Expected the loss to write boxes as the model does. "
            f"Received: loss.box_coder={loss.box_coder}, model's {box_coder}."
        )
    if np.ndim(loss.alpha) and np.size(loss.alpha) != num_classes:
        raise UserError(
            f"Expected one alpha, or one for each of the {num_classes} classes. "
            f"Received: {np.size(loss.alpha)}."
        )
    return loss
