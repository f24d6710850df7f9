"""Start from a trained model of other classes: keep backbone, FPN and towers only."""

import dataclasses

from keras_retinanet.config import ModelConfig
from keras_retinanet.files.names import name_key
from keras_retinanet.modeling.retinanet import RetinaNet

# Last layer of both heads; only the width of the class head's depends on the classes.
FINAL_LAYER = "final"
# Fields of `PreprocessingConfig` that place an image in the network's input.
PLACEMENT = (
    *("short_side", "long_side", "canvas", "multiple"),
    *("rounding", "exact_scale", "pad_first"),
)


def transferred_config(source: RetinaNet, wanted: ModelConfig, origin: str) -> ModelConfig:
    """Return the graph of `source` with the input size, detections and tiles of `wanted`.

    Its backbone counts as loaded from `origin`, so its batch norms may be frozen. The colors and
    the resize method of `source` are kept, because its weights expect them; images are placed as
    `wanted` says, in training and then in detection.
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
        tiles=wanted.tiles,
    )


def transfer_weights(source: RetinaNet, model: RetinaNet) -> list[str]:
    """Copy what `model` can keep of `source`, whose graph it shares; return one line per part.

    The last layers of both heads are kept only if both models have the same classes in the same
    order.
    """
    known, wanted = ([*map(name_key, net.class_names)] for net in (source, model))
    same_classes = known == wanted
    report = []
    for part in ("backbone", "fpn", "class_head", "box_head"):
        theirs, ours = getattr(source, part), getattr(model, part)
        fresh = []
        for layer, new in zip(theirs.layers, ours.layers, strict=True):
            if layer.name == FINAL_LAYER and not same_classes:
                fresh.append(new.name)
            elif new.weights:
                new.set_weights(layer.get_weights())
        total = sum(len(layer.weights) > 0 for layer in ours.layers)
        frozen = sum(len(layer.weights) > 0 and not layer.trainable for layer in ours.layers)
        line = f"{part}: {total - len(fresh)} layers kept" + f", {frozen} frozen" * bool(frozen)
        report.append(line + f", new: {', '.join(fresh)}" * bool(fresh))
    return report
