"""Our model -> torchvision's state dict: for the graphs that torchvision can build, and no other.

The rows of the family `torchvision_v1` or `torchvision_v2` are read the other way, so an imported
file comes back bit for bit: float32 values are moved, never computed with.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.checkpoints.counters import COUNTERS, read_counters
from keras_retinanet.checkpoints.families.family import named_weights
from keras_retinanet.checkpoints.families.torchvision import V1, V2
from keras_retinanet.config import model as configs
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones.resnet import RESNETS
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.filling import LAYOUTS, Row
from keras_retinanet.weight_files.torch_writer import Tensor, write_tensors

# Backbones of torchvision.models.resnet that our names stand for.
TRUNKS = [name for name in RESNETS if name != "resnext101_32x4d"]
# What torchvision's RetinaNet computes, where it leaves no choice to its builder.
_GRAPH: dict[str, Any] = {
    "fpn": configs.FPNConfig(),
    "head": configs.HeadConfig(),
    "anchors": configs.AnchorConfig(offset=0.0, rounded=True, stride="true"),
    "box_coder": configs.BoxCoderConfig(),
    "preprocessing": configs.PreprocessingConfig(),
}
# Choices that its builder takes, that weights do not depend on, or that only training reads.
_FREE = {
    "fpn": {"channels", "p6_from"},
    "head": {"channels", "norm", "prior"},
    "preprocessing": {
        *("short_side", "long_side", "canvas", "multiple"),
        *("rounding", "resize_method", "antialias", "exact_scale"),
    },
}
TORCH_EPSILON = 1e-5
TINY = 1e-30
# A state dict is in the order in which the modules were made: the ranks of the parts of a name.
_RANKS = {
    word: rank
    for rank, word in enumerate(
        "backbone head body fpn conv1 bn1 conv2 bn2 conv3 bn3 downsample layer1 layer2 layer3 "
        "layer4 inner_blocks layer_blocks extra_blocks p6 p7 classification_head regression_head "
        "conv cls_logits bbox_reg weight bias running_mean running_var "
        "num_batches_tracked".split()
    )
}


def export_torchvision(model: RetinaNet, path: str | Path) -> list[str]:
    """Write `model` as torchvision's state dict.

    Args:
        path: `.safetensors` for that format, else torch's own.

    Returns:
        The names of the tensors, in the order of the file.

    Raises:
        UserError: torchvision has no such graph; the message says what differs.
    """
    tensors = state_dict(model)
    write_tensors(path, tensors)
    return [tensor.name for tensor in tensors]


def state_dict(model: RetinaNet) -> list[Tensor]:
    """Return what torchvision's `state_dict()` of this graph holds, in its order, unread yet."""
    check_graph(model.config)
    family = V2 if model.config.head.norm == "group_norm" else V1
    weights = named_weights(model)
    tensors = [_tensor(row, weights) for row in family.rows(model)]
    counters = read_counters(model.metadata.get(COUNTERS, ""))
    if not counters and family is V2:
        # torchvision trains the batch norms of this graph, so that each has a counter.
        counters = {
            tensor.name.replace("running_var", "num_batches_tracked"): 0
            for tensor in tensors
            if tensor.name.endswith("running_var")
        }
    tensors += [_counter(name, value) for name, value in counters.items()]
    return sorted(tensors, key=_place)


def check_graph(config: configs.ModelConfig) -> None:
    """Refuse what torchvision's RetinaNet cannot compute."""
    trunk = config.backbone
    wrong = []
    if trunk.name not in TRUNKS:
        wrong.append(f"backbone.name={trunk.name}, not one of {', '.join(TRUNKS)}")
    bottlenecks = trunk.name not in ("resnet18", "resnet34")
    if trunk.stride_in_1x1 is not False and bottlenecks and not trunk.name.startswith("resnext"):
        wrong.append("backbone.stride_in_1x1 is not false")
    wrong += [
        f"backbone.{name}={getattr(trunk, name)}, not symmetric"
        for name in ("padding", "stem_padding", "pool_padding")
        if getattr(trunk, name) not in (None, "symmetric")
    ]
    for section, wanted in _GRAPH.items():
        given = getattr(config, section)
        for field in dataclasses.fields(wanted):
            value, theirs = getattr(given, field.name), getattr(wanted, field.name)
            if field.name not in _FREE.get(section, ()) and value != theirs:
                wrong.append(f"{section}.{field.name}={value}, not {theirs}")
    if config.head.channels != config.fpn.channels:
        wrong.append(f"head.channels={config.head.channels}, not fpn's {config.fpn.channels}")
    if config.head.norm == "batch_norm":
        wrong.append("head.norm=batch_norm, not none or group_norm")
    if wrong:
        raise UserError(
            f"expected a graph that torchvision has. Received: {'; '.join(wrong)}. "
            "Export a model that was imported from torchvision or trained from such a file."
        )


def builder_lines(model: RetinaNet, path: str | Path) -> list[str]:
    """Return the Python lines that read the file into torchvision."""
    config, classes = model.config, len(model.class_names)
    v2 = config.head.norm == "group_norm"
    theirs = ("resnet50", 256, "c5" if v2 else "p5")
    published = (config.backbone.name, config.fpn.channels, config.fpn.p6_from) == theirs
    read = "load_file" if Path(path).suffix == ".safetensors" else "torch.load"
    lines = [f'model.load_state_dict({read}("{path}"))']
    if published:
        builder = "retinanet_resnet50_fpn_v2" if v2 else "retinanet_resnet50_fpn"
        lines.insert(
            0, f"model = {builder}(weights=None, weights_backbone=None, num_classes={classes})"
        )
    epsilon = config.backbone.bn_epsilon
    if epsilon is not None and epsilon != TORCH_EPSILON:
        # The import's stand-in for torchvision's own 0, which Keras does not take.
        epsilon = 0.0 if epsilon < TINY else epsilon
        lines.append(
            "for m in model.modules():\n"
            f"    if isinstance(m, torch.nn.BatchNorm2d): m.eps = {epsilon:g}"
        )
    return lines


def _tensor(row: Row, weights: Mapping[str, Any]) -> Tensor:
    to_theirs, weight = LAYOUTS[row.layout][1], weights[row.ours]
    # A stand-in of no size tells the shape.
    shape = to_theirs(np.broadcast_to(np.int8(0), tuple(weight.shape))).shape
    return Tensor(row.theirs, shape, np.dtype("float32"), lambda: to_theirs(weight.numpy()))


def _counter(name: str, value: int) -> Tensor:
    return Tensor(name, (), np.dtype("int64"), lambda: np.array(value, np.int64))


def _place(tensor: Tensor) -> list[int]:
    return [
        int(part) if part.isdigit() else _RANKS.get(part, len(_RANKS))
        for part in tensor.name.split(".")
    ]
