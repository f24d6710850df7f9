"""Start from a trained model of other classes: keep trunk, FPN, towers; begin the rest anew."""

import dataclasses

from keras_retinanet.config.schema import ModelConfig
from keras_retinanet.modeling.retinanet import RetinaNet

# Of both heads; only the class head's has a width that depends on the classes.
FINAL_LAYER = "final"
# Where a picture lies in the network's input; fields of `PreprocessingConfig`.
PLACEMENT = (
    *("short_side", "long_side", "canvas", "multiple"),
    *("rounding", "exact_scale", "pad_first"),
)


def transferred_config(source: RetinaNet, wanted: ModelConfig, origin: str) -> ModelConfig:
    """Return the graph of `source` with the input size and the detections of `wanted`.

    Its trunk counts as loaded from `origin`, so its batch norms may be frozen. Of an imported
    model's preprocessing it keeps what the weights expect, the colours and the kind of resize;
    training, and then detection too, places pictures in its own way.
    """
    sizes = {name: getattr(wanted.preprocessing, name) for name in PLACEMENT}
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
        total = sum(len(layer.weights) > 0 for layer in ours.layers)
        frozen = sum(len(layer.weights) > 0 and not layer.trainable for layer in ours.layers)
        line = f"{part}: {total - len(anew)} layers kept" + f", {frozen} frozen" * bool(frozen)
        report.append(line + f", anew: {', '.join(anew)}" * bool(anew))
    return report
