"""What the JSON beside Keras's weights says of a detector. Plain JSON: nothing in it is built."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from keras_retinanet.checkpoints.families.family import Preset
from keras_retinanet.errors import UserError

Refine = Callable[[Preset, Mapping[str, str]], Preset]


def refining(maker: str) -> Callable[[Refine], Refine]:
    """Return a decorator of a family's `refine` that reads a configuration of `maker`'s.

    What is not as the maker writes it becomes a UserError.
    """

    def decorate(refine: Refine) -> Refine:
        @functools.wraps(refine)
        def refined(preset: Preset, metadata: Mapping[str, str]) -> Preset:
            try:
                return refine(preset, metadata)
            except UserError:
                raise
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(
                    f"expected a configuration as {maker} writes it. Received: one where "
                    f"{error!r} is wrong. Import the weights alone, a .weights.h5 file."
                ) from error

        return refined

    return decorate


def thresholds(decoder: Mapping[str, Any], maker: str) -> dict[str, Any]:
    """Return fields of a `DetectionConfig` from the configuration of a prediction decoder.

    Raises:
        UserError: it does not take logits.
    """
    if not decoder["from_logits"]:
        raise UserError(
            "expected a prediction decoder of logits. Received: from_logits=False. Give the model "
            f"{maker}'s own decoder before it is saved."
        )
    return {
        "score_threshold": decoder["confidence_threshold"],
        "nms_iou": decoder["iou_threshold"],
        "max_detections": decoder["max_detections"],
    }
