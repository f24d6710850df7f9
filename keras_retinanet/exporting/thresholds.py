"""A model with other thresholds: the same weights, another way from logits to boxes."""

from typing import Any

from keras_retinanet.config.files import config_to_dict, model_config_from_dict
from keras_retinanet.modeling.retinanet import RetinaNet


def with_detections(
    model: RetinaNet,
    *,
    score_threshold: float | None = None,
    nms_iou: float | None = None,
    max_detections: int | None = None,
) -> RetinaNet:
    """Return `model` with some fields of its `DetectionConfig` changed; None leaves one as it is.

    Raises:
        UserError: a value out of its range.
    """
    given: dict[str, Any] = {
        "score_threshold": score_threshold,
        "nms_iou": nms_iou,
        "max_detections": max_detections,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return model
    plain = config_to_dict(model.config)
    plain["detections"] |= changes
    model_config_from_dict(plain)  # refuses before anything is built
    changed = RetinaNet.from_config({**model.get_config(), "model": plain})
    changed.set_weights(model.get_weights())
    return changed
