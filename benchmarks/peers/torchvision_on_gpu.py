"""Time torchvision's RetinaNet on a CUDA device, and what the device itself can do.

    python benchmarks/peers/torchvision_on_gpu.py --out runs/gpu.json

These are the anchors for `keras_retinanet benchmark` on the same device. Needs PyTorch and
torchvision alone. All weights are random; the last layer of the class head is scaled so that
scores differ. Times are medians with the device synchronized, in milliseconds.

- floor: a 3x3 convolution of 256 channels at 100x100, batch 16; a matrix product of 8192.
- image to detections of `retinanet_resnet50_fpn` at 800x800, from a tensor on the device, with NMS.
- training step (forward, loss, backward, update) at 512x512 with 2 and 16 images, and of 16 images
  of 800x1344; frozen batch norms, stem and first stage, SGD with momentum, as detectron2 trains.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torchvision.models.detection import retinanet_resnet50_fpn

CLASSES = 91  # as released: COCO's ids
OBJECTS = 8  # of an image, as in COCO
# Name -> (type under autocast or None, TF32 allowed)
PRECISIONS = {
    "float32": (None, False),
    "tf32": (None, True),
    "bfloat16": (torch.bfloat16, True),
}


def timed(step: Callable[[], object], *, repeats: int, warmup: int = 5) -> dict[str, float]:
    """Return median, least and largest milliseconds of a step."""
    for _ in range(warmup):
        step()
    torch.cuda.synchronize()
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        step()
        torch.cuda.synchronize()
        found.append(1000 * (time.perf_counter() - begin))
    return {"median": statistics.median(found), "min": min(found), "max": max(found)}


def use(precision: str) -> torch.autocast:
    """Set the arithmetic of convolutions and products; return the context to compute in."""
    kind, tf32 = PRECISIONS[precision]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    return torch.autocast("cuda", dtype=kind or torch.bfloat16, enabled=kind is not None)


def detector(**options: object) -> torch.nn.Module:
    """Return a RetinaNet with ResNet-50 on the device, whose scores differ."""
    torch.manual_seed(0)
    model = retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, **options
    )
    torch.nn.init.normal_(model.head.classification_head.cls_logits.weight, std=0.3)
    return model.to("cuda", memory_format=torch.channels_last)


def floor(precision: str) -> dict[str, float]:
    """Return TFLOP/s of a convolution and of a matrix product."""
    kind = PRECISIONS[precision][0] or torch.float32
    with use(precision), torch.no_grad():
        conv = torch.nn.Conv2d(256, 256, 3, padding=1).to(
            "cuda", kind, memory_format=torch.channels_last
        )
        images = torch.randn(16, 256, 100, 100, device="cuda", dtype=kind)
        images = images.contiguous(memory_format=torch.channels_last)
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=kind) for _ in range(2))
        conv_ms = timed(lambda: conv(images), repeats=20)["median"]
        product_ms = timed(lambda: a @ b, repeats=20)["median"]
    return {
        "convolution TFLOP/s": 2 * 16 * 100 * 100 * 256 * 256 * 9 / conv_ms / 1e9,
        "matrix product TFLOP/s": 2 * 8192**3 / product_ms / 1e9,
    }


def inference(precision: str, batch: int) -> dict[str, float]:
    """Return the times of image to detections."""
    model = detector(min_size=800, max_size=1333).eval()
    images = [torch.rand(3, 800, 800, device="cuda") for _ in range(batch)]
    with use(precision), torch.inference_mode():
        found = timed(lambda: model(images), repeats=20)
        detections = sum(len(one["boxes"]) for one in model(images)) / batch
        canvas = torch.stack(images).contiguous(memory_format=torch.channels_last)
        backbone = timed(lambda: model.head(list(model.backbone(canvas).values())), repeats=20)
    return found | {"detections of an image": detections, "network alone": backbone["median"]}


def training(precision: str, batch: int, size: tuple[int, int]) -> dict[str, float]:
    """Return the times of a training step and its peak memory."""
    model = detector(min_size=min(size), max_size=max(size), trainable_backbone_layers=3).train()
    for name, weight in model.backbone.body.named_parameters():  # torchvision: only if pretrained
        weight.requires_grad_(name.startswith(("layer2", "layer3", "layer4")))
    freeze_norms(model.backbone.body)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-5, momentum=0.9, weight_decay=1e-4)
    images = [torch.rand(3, *size, device="cuda") for _ in range(batch)]
    corners = torch.rand(batch, OBJECTS, 2, device="cuda") * (min(size) - 130)
    sides = 20 + torch.rand(batch, OBJECTS, 2, device="cuda") * 100
    labels = torch.randint(1, CLASSES, (batch, OBJECTS), device="cuda")
    targets = [
        {"boxes": torch.cat([corner, corner + side], dim=1), "labels": label}
        for corner, side, label in zip(corners, sides, labels, strict=True)
    ]

    def step() -> None:
        with use(precision):
            loss = sum(model(images, targets).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    torch.cuda.reset_peak_memory_stats()
    found = timed(step, repeats=10)
    return found | {"peak MiB": torch.cuda.max_memory_allocated() / 2**20}


def freeze_norms(module: torch.nn.Module) -> None:
    """Replace each BatchNorm by a frozen one, as with released weights."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            frozen = torchvision.ops.FrozenBatchNorm2d(child.num_features, eps=child.eps)
            setattr(module, name, frozen.to("cuda"))
        else:
            freeze_norms(child)


def main() -> None:
    """Measure all and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    device = torch.cuda.get_device_name()
    result = {"device": device, "torch": torch.__version__, "torchvision": torchvision.__version__}
    for precision in PRECISIONS:
        jobs = {
            "floor": lambda p=precision: floor(p),
            "800x800, batch 1": lambda p=precision: inference(p, 1),
            "800x800, batch 8": lambda p=precision: inference(p, 8),
            "step 512x512, batch 2": lambda p=precision: training(p, 2, (512, 512)),
            "step 512x512, batch 16": lambda p=precision: training(p, 16, (512, 512)),
            "step 800x1344, batch 16": lambda p=precision: training(p, 16, (800, 1344)),
        }
        for name, job in jobs.items():
            found = job()
            result[f"{precision}, {name}"] = {key: round(value, 3) for key, value in found.items()}
            print(f"{precision}, {name}: {result[f'{precision}, {name}']}", flush=True)
            args.out.write_text(json.dumps(result, indent=2) + "\n")  # each: a later one may fail
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
