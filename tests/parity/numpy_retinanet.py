"""RetinaNet in plain NumPy, evaluated from a peer's own tensors by their own names.

Written from what the peers' sources compute, and calling nothing of this package, so that an
imported model can be checked where the peer cannot run. Maps are (H, W, C), one picture at a time.
"""

import re
from dataclasses import dataclass

import numpy as np

EPSILON = 1e-5  # torch's default for batch norms

# ------------------------------------------------------------------------------------ layers


def conv2d(x, kernel, bias=None, *, stride=1, pad=0, groups=1):
    """(H,W,C), (kh,kw,C/groups,D), (D,) -> (h,w,D); `pad` zeros all around, or ((t,b),(l,r))."""
    if groups > 1:
        parts = zip(np.split(x, groups, -1), np.split(kernel, groups, -1), strict=True)
        y = np.concatenate([conv2d(a, k, stride=stride, pad=pad) for a, k in parts], -1)
        return y if bias is None else y + bias
    x = np.pad(x, (*(((pad, pad),) * 2 if isinstance(pad, int) else pad), (0, 0)))
    high, wide = ((x.shape[i] - kernel.shape[i]) // stride + 1 for i in (0, 1))
    y = np.zeros((high, wide, kernel.shape[3]), np.float64)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            window = x[i : i + stride * high : stride, j : j + stride * wide : stride]
            y += window[:high, :wide] @ kernel[i, j].astype(np.float64)
    return y if bias is None else y + bias


def batch_norm(x, gamma, beta, mean, variance, epsilon=EPSILON):
    return (x - mean) / np.sqrt(variance.astype(np.float64) + epsilon) * gamma + beta


def relu(x):
    return np.maximum(x, 0)


def max_pool(x, *, pad=((1, 1), (1, 1))):
    """3x3, stride 2."""
    x = np.pad(x, (*pad, (0, 0)), constant_values=-np.inf)
    high, wide = ((x.shape[i] - 3) // 2 + 1 for i in (0, 1))
    windows = [x[i : i + 2 * high : 2, j : j + 2 * wide : 2] for i in range(3) for j in range(3)]
    return np.max([window[:high, :wide] for window in windows], axis=0)


def upsample(x, shape):
    """Nearest: output cell i takes input cell floor(i * in / out)."""
    rows = np.arange(shape[0]) * x.shape[0] // shape[0]
    columns = np.arange(shape[1]) * x.shape[1] // shape[1]
    return x[rows][:, columns]


# ---------------------------------------------------------------------- torch-style detectors


@dataclass(frozen=True)
class Names:
    """Where one peer keeps each part; `{}` is a number from 0 where a tower is meant."""

    trunk: str
    laterals: tuple[str, str, str]  # C3, C4, C5
    outputs: tuple[str, str, str, str, str]  # P3..P7
    class_tower: tuple[str, ...]  # the last one gives the logits
    box_tower: tuple[str, ...]


@dataclass(frozen=True)
class Peer:
    names: Names
    stride_in_1x1: bool = False
    relu_before_p7: bool = True


class TorchNet:
    """A state dict that can be evaluated."""

    def __init__(self, tensors, peer):
        self.tensors, self.peer = tensors, peer

    def conv(self, x, name, *, stride=1, groups=1):
        kernel = self.tensors[f"{name}.weight"].transpose(2, 3, 1, 0)
        bias = self.tensors.get(f"{name}.bias")
        return conv2d(x, kernel, bias, stride=stride, pad=kernel.shape[0] // 2, groups=groups)

    def norm(self, x, name):
        parts = ("weight", "bias", "running_mean", "running_var")
        return batch_norm(x, *(self.tensors[f"{name}.{part}"] for part in parts))

    def block(self, x, name, stride):
        """torchvision's BasicBlock or Bottleneck, or Caffe's with the stride in the first 1x1."""
        deep = f"{name}.conv3.weight" in self.tensors
        first, second = (stride, 1) if self.peer.stride_in_1x1 or not deep else (1, stride)
        y = relu(self.norm(self.conv(x, f"{name}.conv1", stride=first), f"{name}.bn1"))
        groups = 1
        if deep:
            groups = y.shape[-1] // self.tensors[f"{name}.conv2.weight"].shape[1]
        y = self.conv(y, f"{name}.conv2", stride=second, groups=groups)
        y = self.norm(y, f"{name}.bn2")
        if deep:
            y = self.norm(self.conv(relu(y), f"{name}.conv3"), f"{name}.bn3")
        if f"{name}.downsample.0.weight" in self.tensors:
            x = self.conv(x, f"{name}.downsample.0", stride=stride)
            x = self.norm(x, f"{name}.downsample.1")
        return relu(x + y)

    def trunk(self, x):
        prefix = self.peer.names.trunk
        x = relu(self.norm(self.conv(x, f"{prefix}conv1", stride=2), f"{prefix}bn1"))
        x = max_pool(x)
        features = []
        for stage in (1, 2, 3, 4):
            pattern = re.compile(re.escape(f"{prefix}layer{stage}.") + r"(\d+)\.conv1\.weight")
            for i in range(sum(pattern.fullmatch(name) is not None for name in self.tensors)):
                stride = 2 if stage > 1 and i == 0 else 1
                x = self.block(x, f"{prefix}layer{stage}.{i}", stride)
            features.append(x)
        return features[1:]

    def pyramid(self, features):
        names = self.peer.names
        c3, c4, c5 = features
        p5 = self.conv(c5, names.laterals[2])
        p4 = self.conv(c4, names.laterals[1])
        p4 = p4 + upsample(p5, p4.shape)
        p3 = self.conv(c3, names.laterals[0])
        p3 = p3 + upsample(p4, p3.shape)
        p3, p4, p5 = (self.conv(*part) for part in zip((p3, p4, p5), names.outputs, strict=False))
        p6 = self.conv(c5, names.outputs[3], stride=2)
        p7 = relu(p6) if self.peer.relu_before_p7 else p6
        return p3, p4, p5, p6, self.conv(p7, names.outputs[4], stride=2)

    def tower(self, x, names, per_anchor):
        *hidden, last = names
        for name in hidden:
            x = relu(self.conv(x, name))
        return self.conv(x, last).reshape(-1, per_anchor)

    def __call__(self, network_input, *, classes):
        """(H,W,3) normalised -> logits (R,K), deltas (R,4)."""
        levels = self.pyramid(self.trunk(network_input))
        names = self.peer.names
        return (
            np.concatenate([self.tower(x, names.class_tower, classes) for x in levels]),
            np.concatenate([self.tower(x, names.box_tower, 4) for x in levels]),
        )


def mmdet(style):
    names = Names(
        "backbone.",
        tuple(f"neck.lateral_convs.{i}.conv" for i in range(3)),
        tuple(f"neck.fpn_convs.{i}.conv" for i in range(5)),
        (*(f"bbox_head.cls_convs.{i}.conv" for i in range(4)), "bbox_head.retina_cls"),
        (*(f"bbox_head.reg_convs.{i}.conv" for i in range(4)), "bbox_head.retina_reg"),
    )
    return Peer(names, stride_in_1x1=style == "caffe", relu_before_p7=False)


def odtk(backbone):
    prefix = f"backbones.{backbone}."
    names = Names(
        f"{prefix}features.",
        tuple(f"{prefix}lateral{level}" for level in (3, 4, 5)),
        (*(f"{prefix}smooth{i}" for i in (3, 4, 5)), f"{prefix}pyramid6", f"{prefix}pyramid7"),
        tuple(f"cls_head.{i}" for i in (0, 2, 4, 6, 8)),
        tuple(f"box_head.{i}" for i in (0, 2, 4, 6, 8)),
    )
    return Peer(names)


def yhenon():
    layers = ("conv1", "conv2", "conv3", "conv4", "output")
    names = Names(
        "",
        ("fpn.P3_1", "fpn.P4_1", "fpn.P5_1"),
        ("fpn.P3_2", "fpn.P4_2", "fpn.P5_2", "fpn.P6", "fpn.P7_2"),
        tuple(f"classificationModel.{layer}" for layer in layers),
        tuple(f"regressionModel.{layer}" for layer in layers),
    )
    return Peer(names)


# ---------------------------------------------------------------------- anchors and detections


def grid(height, width, cell, *, offset):
    """`cell(stride)` gives the (w, h) of a cell's anchors -> (R, 4), P3..P7, centres row by row."""
    boxes = []
    for stride in (8, 16, 32, 64, 128):
        for row in range(-(-height // stride)):
            for column in range(-(-width // stride)):
                x, y = (column + offset) * stride, (row + offset) * stride
                boxes += [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for w, h in cell(stride)]
    return np.array(boxes)


def decode(deltas, anchors, *, stds=(1, 1, 1, 1), limit=(-np.inf, np.inf)):
    """Centre form; log dw and log dh are cut at `limit`."""
    sides = anchors[:, 2:] - anchors[:, :2]
    deltas = deltas * np.array(stds)
    centres = anchors[:, :2] + sides / 2 + deltas[:, :2] * sides
    half = sides * np.exp(np.clip(deltas[:, 2:], *limit)) / 2
    return np.concatenate([centres - half, centres + half], axis=1)


def nms(boxes, scores, threshold):
    """Indices of the boxes that are kept, best first."""
    order, kept = np.argsort(-scores, kind="stable"), []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        common = np.clip(np.minimum(boxes[best, 2:], boxes[rest, 2:]) - low, 0, None).prod(axis=1)
        order = rest[common <= threshold * (areas[best] + areas[rest] - common)]
    return kept


def detect(scores, boxes, level_cells, *, top_k=None, most=100, threshold=0.05, iou=0.5):
    """Scores (R,K), boxes (R,4), clipped -> rows (score, class, x1, y1, x2, y2), best first."""
    rows, start = [], 0
    for cells in level_cells:
        anchor, label = np.nonzero(scores[start : start + cells] > threshold)
        anchor += start
        start += cells
        best = np.argsort(-scores[anchor, label], kind="stable")[:top_k]
        pairs = zip(anchor[best], label[best], strict=True)
        rows += [(scores[a, k], k, *boxes[a]) for a, k in pairs]
    rows = np.array(rows).reshape(-1, 6)
    found = [
        group[nms(group[:, 2:], group[:, 0], iou)]
        for group in (rows[rows[:, 1] == k] for k in np.unique(rows[:, 1]))
    ]
    found = np.concatenate(found) if found else rows
    return found[np.argsort(-found[:, 0], kind="stable")][:most]
