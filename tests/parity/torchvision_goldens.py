"""Rebuild tests/goldens/torchvision_v1.npz and torchvision_v2.npz by running torchvision itself.

    python tests/parity/torchvision_goldens.py [--out DIR]

Needs torch 2.13.0 and torchvision 0.28.0 (see README.md beside this file), not this package. The
picture, its boxes and the sizes are those of the stored goldens; weights are the seeded ones.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))
from seeded_weights import seeded  # noqa: E402

# torchvision imports its own compiled operators; a build for another torch cannot register them.
# Schemas are enough to import it, and a few lines of torch to run it.
OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
COPIED = ("image", "gt_boxes", "gt_labels", "min_size", "max_size", "class_gain")
NUM_CLASSES = 91
PIXEL_STEP, CHANNEL_STEP = 16, 32


def define_operators() -> torch.library.Library | None:
    """Register what the compiled library lacks, before torchvision is imported; hold the result."""
    try:
        torch.ops.torchvision.nms.default  # noqa: B018
    except (AttributeError, RuntimeError):
        library = torch.library.Library("torchvision", "DEF")
        for name, schema in OPERATORS.items():
            library.define(name + schema)
        library.impl("nms", nms, "CPU")
        from torchvision import extension

        extension._has_ops = lambda: True  # its question whether the compiled library was loaded
        return library
    return None


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy suppression: indices of the kept boxes, best first."""
    order = scores.argsort(descending=True, stable=True)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        top_left = torch.maximum(boxes[best, :2], boxes[order, :2])
        bottom_right = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        inner = (bottom_right - top_left).clamp(min=0).prod(1)
        # Negated: boxes without area have an IoU of NaN, and torchvision keeps them.
        order = order[~(inner / (areas[best] + areas[order] - inner) > iou_threshold)]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64)


def build(version: str, sizes: dict[str, int], num_classes: int = NUM_CLASSES) -> nn.Module:
    """The graph as its COCO weights are used: v1 with frozen batch norms of epsilon 0."""
    from torchvision.models import resnet50
    from torchvision.models.detection import RetinaNet, retinanet_resnet50_fpn_v2
    from torchvision.models.detection._utils import overwrite_eps
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7
    from torchvision.ops.misc import FrozenBatchNorm2d

    if version == "v2":
        return retinanet_resnet50_fpn_v2(
            weights=None, weights_backbone=None, num_classes=num_classes, **sizes
        )
    trunk = _resnet_fpn_extractor(
        resnet50(weights=None, norm_layer=FrozenBatchNorm2d),
        trainable_layers=3,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    model = RetinaNet(trunk, num_classes, **sizes)
    overwrite_eps(model, 0.0)
    return model


def fill(model: nn.Module, class_gain: float) -> list:
    """Put the seeded weights into the model; return its names, shapes and dtypes."""
    state = model.state_dict()
    spec = [[n, list(t.shape), str(t.dtype).removeprefix("torch.")] for n, t in state.items()]
    seeds = {n: torch.from_numpy(seeded(n, s, d, class_gain)) for n, s, d in spec}
    model.load_state_dict(seeds, strict=True)
    return spec


def golden(version: str, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All that the file holds, for the picture and sizes of `stored`."""
    sizes = {name: int(stored[name]) for name in ("min_size", "max_size")}
    model = build(version, sizes)
    spec = fill(model, float(stored["class_gain"]))
    model.eval()
    image = torch.from_numpy(stored["image"]).permute(2, 0, 1).float() / 255
    boxes = torch.from_numpy(stored["gt_boxes"]).float()
    target = {"boxes": boxes, "labels": torch.from_numpy(stored["gt_labels"])}
    with torch.no_grad():
        images, (resized,) = model.transform([image], [target])
        levels = list(model.backbone(images.tensors).values())
        raw = model.head(levels)
        anchors = model.anchor_generator(images, levels)[0]
        from torchvision.ops import box_iou

        matches = model.proposal_matcher(box_iou(resized["boxes"], anchors))
        losses = model.head.compute_loss([resized], raw, [anchors], [matches])
        (found,) = model([image])
    sample = {
        f"p{level}_sample": features[0, ::CHANNEL_STEP].permute(1, 2, 0)
        for level, features in enumerate(levels, 3)
    }
    arrays = {
        "network_input_sample": images.tensors[0, :, ::PIXEL_STEP, ::PIXEL_STEP].permute(1, 2, 0),
        "class_logits": raw["cls_logits"][0],
        "box_deltas": raw["bbox_regression"][0],
        "anchors": anchors,
        **sample,
        **{f"detection_{name}": found[name] for name in ("boxes", "scores", "labels")},
        "match_index": matches,
        "gt_boxes_network": resized["boxes"],
    }
    return {
        **{name: stored[name] for name in COPIED},
        **{name: array.numpy() for name, array in arrays.items()},
        "spec": spec_text(spec),
        "network_input_shape": np.array(images.tensors.shape),
        "anchor_index": np.arange(len(anchors)),
        "num_anchors": np.array(len(anchors)),
        "loss_classification": np.array(float(losses["classification"])),
        "loss_box": np.array(float(losses["bbox_regression"])),
    }


def spec_text(spec: list) -> np.ndarray:
    """[name, shape, dtype] of all tensors as the goldens store them."""
    return np.array(json.dumps(spec))


def tell_differences(name: str, stored: dict, rebuilt: dict) -> None:
    """Print what is not bit-equal to the stored golden."""
    worst = {
        key: np.abs(stored[key].astype("f8") - rebuilt[key]).max(initial=0)
        if stored[key].dtype.kind in "fiu" and stored[key].shape == rebuilt[key].shape
        else float(not np.array_equal(stored[key], rebuilt[key]))
        for key in stored
    }
    other = {key: difference for key, difference in worst.items() if difference}
    print(f"{name}: " + ("as stored, bit for bit" if not other else f"differs by {other}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=GOLDENS)
    out = parser.parse_args().out
    library = define_operators()  # registered for as long as it is held
    for version in ("v1", "v2"):
        name = f"torchvision_{version}.npz"
        with np.load(GOLDENS / name) as file:
            stored = {key: file[key] for key in file.files}
        rebuilt = golden(version, stored)
        tell_differences(name, stored, rebuilt)
        np.savez_compressed(out / name, **{key: rebuilt[key] for key in stored})
    del library


if __name__ == "__main__":
    main()
