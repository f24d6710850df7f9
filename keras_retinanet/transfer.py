"""Start from a trained model of other classes: keep trunk, FPN, towers; begin the rest anew."""

import dataclasses

from keras_retinanet.config import ModelConfig
from keras_retinanet.model import RetinaNet

# Of both heads; only the class head's has a width that depends on the classes.
FINAL_LAYER = "final"


def transferred_config(source: RetinaNet, wanted: ModelConfig, origin: str) -> ModelConfig:
    """Return the graph of `source` with the input size and the detections of `wanted`.

    Its trunk counts as loaded from `origin`, so its batch norms may be frozen.
    """
    sizes = {name: getattr(wanted.preprocessing, name)
             for name in ("short_side", "long_side", "canvas", "multiple")}  # fmt: skip
    backbone = dataclasses.replace(
        source.config.backbone,
        weights=source.config.backbone.weights or origin,
        freeze_bn=wanted.backbone.freeze_bn,
        frozen_stages=wanted.backbone.frozen_stages,
    )
    return dataclasses.replace(
        source.config,
        backbone=backbone,
        preprocessing=dataclasses.replace(source.config.preprocessing, **sizes),
        detections=wanted.detections,
    )


def transfer_weights(source: RetinaNet, model: RetinaNet) -> list[str]:
    """Copy what `model` can keep of `source`, whose graph it shares; say what in one line a part.

    The class head's last layer is kept only if both have the same classes in the same order; the
    box head's does not depend on the classes, but starts anew with it.
    """
    same_classes = source.class_names == model.class_names
    report = []
    for part in ("backbone", "fpn", "class_head", "box_head"):
        theirs, ours = getattr(source, part), getattr(model, part)
        anew = []
        for layer, new in zip(theirs.layers, ours.layers, strict=True):
            if layer.name == FINAL_LAYER and not same_classes:
                anew.append(new.name)
            elif new.weights:
                new.set_weights(layer.get_weights())
        kept = sum(len(layer.weights) > 0 for layer in ours.layers) - len(anew)
        report.append(f"{part}: {kept} layers kept" + f", anew: {', '.join(anew)}" * bool(anew))
    return report
