"""TensorFlow Model Garden's RetinaNet with SpineNet (`retinanet_spinenet_coco`, `..._mobile_coco`).

Sources: official/vision/modeling/backbones/{spinenet,spinenet_mobile}.py,
modeling/layers/nn_blocks.py and configs/retinanet.py, of release 2.20. The names of a checkpoint
count the backbone's layers by their depth in the graph; its graph of objects says as what each was
created, which counts them in the order of the code.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator

from keras_retinanet.checkpoints.families import family, model_garden, spinenet
from keras_retinanet.config.model import Activation, BackboneConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row

LAYER = re.compile(r"backbone/layer_with_weights-\d+")
# As Keras numbers layers of a kind: conv2d, conv2d_1, ...
CREATED = re.compile(r"(?:sync_)?(?P<kind>\w+?)(?:_(?P<number>\d+))?/.*")
BLOCKS = {
    "bottleneck": "bottleneck_block",
    "residual": "residual_block",
    "mobile": "inverted_bottleneck_block",
}
# The end of our layer's name -> theirs, in a block.
PARTS = {
    "shortcut_conv": "_shortcut",
    "shortcut_bn": "_norm0",
    **{f"conv{i}": f"_conv{i}" for i in (1, 2, 3)},
    **{f"bn{i}": f"_norm{i}" for i in (1, 2, 3)},
    **{f"{name}_conv": f"_conv{i}" for i, name in enumerate(("expand", "depthwise", "project"))},
    **{f"{name}_bn": f"_norm{i}" for i, name in enumerate(("expand", "depthwise", "project"))},
    "se_reduce": "_squeeze_excitation/_se_reduce",
    "se_expand": "_squeeze_excitation/_se_expand",
}


def _adapt(checkpoint: Checkpoint) -> Checkpoint:
    """Call each layer of the backbone by its kind and its place among those of that kind."""
    checkpoint = model_garden.with_short_names(checkpoint)
    created: dict[str, tuple[str, int]] = {}
    for key, name in checkpoint.created_as.items():
        layer, found = LAYER.match(key), CREATED.fullmatch(name)
        if layer and found and "/.OPTIMIZER_SLOT/" not in key:
            created[layer[0]] = found["kind"], int(found["number"] or 0)
    counts: collections.Counter[str] = collections.Counter()
    renamed = {}
    for layer_name, (kind, _) in sorted(created.items(), key=lambda item: item[1]):
        renamed[layer_name] = f"backbone/{kind}-{counts[kind]}"
        counts[kind] += 1
    tensors = {}
    for name, array in checkpoint.tensors.items():
        layer = LAYER.match(name)
        if layer and layer[0] in renamed:
            name = renamed[layer[0]] + name[layer.end() :]
        tensors[name] = array
    return dataclasses.replace(checkpoint, tensors=tensors)


def _preset(shapes: family.Shapes) -> family.Preset:
    if "backbone/conv2d-0/kernel" not in shapes:
        raise UserError(
            "expected a checkpoint with the graph of its objects, which tells its layers apart. "
            "Received: one without. Give the checkpoint as its trainer wrote it."
        )
    convs = sum(re.fullmatch(r"backbone/conv2d-\d+/kernel", name) is not None for name in shapes)
    channels = shapes[f"backbone/conv2d-{convs - 1}/kernel"][-1]
    activation: Activation = "swish"
    if "backbone/inverted_bottleneck_block-0/_conv2/kernel" in shapes:
        first = shapes["backbone/inverted_bottleneck_block-0/_conv2/kernel"]
        name, activation = spinenet.mobile_of(first[-1], channels), "hard_swish"
    else:
        residuals = sum(
            re.fullmatch(r"backbone/residual_block-\d+/_conv1/kernel", n) is not None
            for n in shapes
        )
        kinds = [block.kind for block in spinenet.BLOCKS]
        name = spinenet.spinenet_of(
            shapes["backbone/bottleneck_block-0/_conv1/kernel"][-1],
            shapes["backbone/conv2d-1/kernel"][-1],
            residuals / kinds.count("residual"),
            channels,
        )
    towers = [n for n in shapes if re.fullmatch(r"head/_cls_convs/\d+/bias", n)]
    return spinenet.preset(
        BackboneConfig(name=name, padding="same", bn_epsilon=1e-3, activation=activation),
        spinenet.Heads(
            class_outputs=shapes["head/_classifier/bias"][-1],
            box_outputs=shapes["head/_box_regressor/bias"][-1],
            channels=shapes[towers[0]][-1],
            depth=len(towers),
            norm_epsilon=1e-3,
        ),
        published=spinenet.PUBLISHED[name],
        ratios=(0.5, 1.0, 2.0),
        inclusive=False,
        source="Model Garden's configuration",
    )


def _rows(model: RetinaNet) -> Iterator[Row]:
    counts: collections.Counter[str] = collections.Counter()
    for unit in spinenet.units(model.backbone):
        if unit.kind != spinenet.PLAIN:
            block = f"{BLOCKS[unit.kind]}-{counts[unit.kind]}"
            counts[unit.kind] += 1
        for layer in unit.layers:
            if unit.kind == spinenet.PLAIN:
                kind = spinenet.layer_kind(layer)
                place = f"{kind}-{counts[kind]}"
                counts[kind] += 1
            else:
                part = next(part for part in PARTS if layer.name.endswith(f"_{part}"))
                place = f"{block}/{PARTS[part]}"
            for weight in layer.weights:
                theirs = spinenet.weight_name(layer, weight.name)
                yield Row(f"backbone/{place}/{theirs}", f"backbone/{layer.name}/{weight.name}")
    heads = {ours: theirs for theirs, ours in model_garden.head_pairs(model)}
    for name in family.named_weights(model):
        layer, _, weight = name.rpartition("/")
        if layer in heads:
            yield Row(f"{heads[layer]}/{weight}", name)


def _recognizes(shapes: family.Shapes) -> bool:
    return model_garden.FAMILY.recognizes(shapes) and not any(
        name.startswith("decoder/") for name in shapes
    )


FAMILY = family.Family(
    "model_garden_spinenet",
    model_garden.FAMILY.origin,
    _recognizes,
    _preset,
    _rows,
    unused=model_garden.FAMILY.unused,
    adapt=_adapt,
)
