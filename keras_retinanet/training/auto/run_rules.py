"""Rules about the run: how long, from what, with which batch, precision and evaluations."""

import math
from typing import Any

import numpy as np

from keras_retinanet.errors import counted
from keras_retinanet.modeling.backbones import install_hint, weights_at_hand
from keras_retinanet.training.auto.decision import Decision, Situation
from keras_retinanet.training.auto.facts import GIB, Machine
from keras_retinanet.training.auto.paces import EVALUATION_SPEEDUP, image_bytes, images_per_second
from keras_retinanet.training.schedules import PAPER_BATCH, total_steps

# Minutes of a run on a CPU, unless they are given.
CPU_MINUTES = 30.0
# A run need not see each image more often, nor more images in all unless one pass has more; but a
# few thousand, even if they are the same few.
MOST_PASSES, FEWEST_PASSES, MOST_SEEN, FEWEST_SEEN = 150, 12, 200_000, 6_000
PRETRAINED_LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
# What learns from random weights in the shortest time.
RANDOM = "resnet18"
# Backbones for which FPN and heads have the paper's width.
LARGE = ("resnet50", "resnet101", "resnet152", "resnext")
CPU_BATCH, GPU_BATCH = 8, 16
# Share of a machine's memory that a training step may take.
MEMORY_SHARE = 0.5
EVALUATIONS = 12
# Share of a run that evaluations may take.
EVALUATION_SHARE = 0.1


def length(s: Situation) -> Decision:
    """Decide how long to train: never more than the data is worth, and minutes on a CPU."""
    images = s.data.images
    passes = max(min(MOST_PASSES * images, MOST_SEEN), FEWEST_PASSES * images)
    seen = max(FEWEST_SEEN, passes)
    values: dict[str, Any] = {"train.steps": math.ceil(seen / PAPER_BATCH)}
    reason = f"at most {seen / images:.0f} passes over {counted(images, 'image')}"
    if not s.machine.gpus and not s.given & {"train.steps", "train.minutes"}:
        values["train.minutes"] = CPU_MINUTES
        reason += f", and at most {CPU_MINUTES:g} minutes without a GPU"
    return Decision(values, reason)


def learning(s: Situation) -> Decision:
    """Decide loss, matching and optimizer: those of the recipe `bccd`."""
    values = {
        "train.loss.box": "giou",
        "train.loss.box_weight": 2.0,
        "train.matching.low_quality": True,
        "train.schedule.name": "cosine",
        "train.schedule.warmup_steps": 50,
    }
    if "train.optimizer.name" not in s.given:
        values |= {
            "train.optimizer.name": "adamw",
            "train.optimizer.learning_rate": 2e-3,
            "train.optimizer.weight_decay": 0.05,
            "train.optimizer.backbone_multiplier": 0.3,
            "train.optimizer.ema": 0.99,
        }
    return Decision(values, "as in the recipe bccd")


def start(s: Situation) -> Decision:
    """Decide what to start from: a detector, a pretrained backbone, or random weights."""
    if s.config.train.weights is not None:
        return Decision(
            {"train.optimizer.learning_rate": 4e-4},
            "a trained detector keeps its graph and learns slowly",
        )
    is_given = "model.backbone.name" in s.given
    name = s.config.model.backbone.name if is_given else _backbone(s.machine)
    values: dict[str, Any] = {"model.backbone.name": name, "model.head.norm": "group_norm"}
    if not name.startswith(LARGE):
        values |= {"model.fpn.channels": 64, "model.head.channels": 64, "model.head.depth": 3}
    if s.config.model.backbone.weights is None and not weights_at_hand(name):
        values["train.optimizer.clip_norm"] = 10.0
        missing = (
            f"no pretrained weights of {name} are" if is_given else "no pretrained backbone is"
        )
        return Decision(
            values,
            f"random weights, for which group norm helps: {missing} on this machine "
            f"({install_hint(PRETRAINED_LITE[0])})",
        )
    values["model.backbone.weights"] = "imagenet"
    if name.startswith(LARGE):
        values["train.optimizer.learning_rate"] = 1e-3
        return Decision(values, "pretrained, with the paper's pyramid and heads")
    values["model.backbone.frozen_stages"] = 0
    return Decision(values, "a small pretrained backbone, for a CPU")


def _backbone(machine: Machine) -> str:
    """Return the best backbone whose weights are on this machine, or the one to train without."""
    names = ("resnet50",) * bool(machine.gpus) + PRETRAINED_LITE
    return next((name for name in names if weights_at_hand(name)), RANDOM)


def batch(s: Situation) -> Decision:
    """Decide the images of a step, and in how many parts they fit the memory."""
    # A GPU's memory is not known; --dry_run shows whether a step fits.
    if s.machine.gpus:
        return Decision({"train.batch_size": GPU_BATCH * s.machine.gpus}, "16 for each GPU")
    per_image = image_bytes(s.config.model.backbone.name, s.pixels)
    fitting = int(MEMORY_SHARE * s.machine.memory * GIB / per_image)
    values: dict[str, Any] = {"train.batch_size": CPU_BATCH}
    if fitting >= CPU_BATCH:
        return Decision(values, "small, because the number of steps decides in a short run")
    values["train.micro_batch"] = 2 ** int(math.log2(max(1, fitting)))
    return Decision(
        values,
        f"in parts, because an image takes {per_image / GIB:.1f} of {s.machine.memory} GiB; the "
        "gradients are those of the whole step",
    )


def evaluation(s: Situation) -> Decision | None:
    """Decide how often to evaluate, and when to stop for want of progress."""
    train = s.config.train
    if not s.data.val_images:
        return None
    speed = images_per_second(s.config.model.backbone.name, s.pixels, s.machine)
    seconds = total_steps(train) * train.batch_size / speed
    if train.minutes:
        seconds = min(seconds, train.minutes * 60)
    each = s.data.val_images * _inputs_per_image(s) / (speed * EVALUATION_SPEEDUP)
    count = int(min(EVALUATIONS, max(1, EVALUATION_SHARE * seconds / each)))
    every = math.ceil(seconds * speed / train.batch_size / count)
    values = {"train.eval_every": max(1, every)}
    reason = f"about {count} times in the run"
    if count >= EVALUATIONS / 2:
        values["train.patience"] = math.ceil(count / 2)
        reason += ", which ends early when AP stays below its best for half of them"
    return Decision(values, reason)


def _inputs_per_image(s: Situation) -> float:
    """Return how many tiles an image is detected in, about; 1 for whole images."""
    tiles = s.config.model.tiles
    if not tiles.side:
        return 1.0
    step = tiles.side * (1 - tiles.overlap)
    return float(np.ceil(s.data.sizes / step).prod(axis=1).mean())


def precision(s: Situation) -> Decision | None:
    """Decide the precision of the layers."""
    if not s.machine.bfloat16:
        return None
    return Decision({"train.precision": "mixed_bfloat16"}, "all GPUs multiply bfloat16")
