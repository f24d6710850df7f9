"""The figures of `ablation.py`: AP over gamma, and figure 4 of the paper from a trained model."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_retinanet import load
from keras_retinanet.commands.common import find_model
from keras_retinanet.config import load_config, with_overrides
from keras_retinanet.data import load_dataset, training_batches
from keras_retinanet.files import atomic_write
from keras_retinanet.modeling import BACKGROUND, AnchorLabeler, RetinaNet, focal_loss

GAMMAS = (0.0, 0.5, 1.0, 2.0)
COLORS = ("#1f5fa8", "#2a9134", "#e07b00", "#b02a4c")
DRAWN = 500  # points of a curve


def plot_gammas(points: dict[str, tuple[list[float], float]], path: Path) -> None:
    """Plot AP over gamma: a dot for each seed and their mean, and the paper's beside it.

    Args:
        points: gamma -> (our AP of each seed, the paper's).
        path: PNG file to write.
    """
    figure = Figure(figsize=(7, 3.6), dpi=100, layout="constrained")
    axis = figure.subplots()
    places = range(len(points))
    for place, (ours, _) in zip(places, points.values(), strict=True):
        axis.plot([place] * len(ours), ours, "o", color=COLORS[0], ms=4, alpha=0.5)
    lines = axis.plot(places, [np.mean(ours) for ours, _ in points.values()], color=COLORS[0])
    other = axis.twinx()
    lines += other.plot(places, [paper for _, paper in points.values()], "--", color=COLORS[2])
    axis.set_xticks(places, list(points))
    axis.set(xlabel="gamma, each with its best alpha", ylabel="AP here")
    other.set_ylabel("AP on COCO, in the paper")
    axis.legend(lines, ["here", "paper"], frameon=False, loc="lower center")
    axis.grid(alpha=0.3)
    save(figure, path)


def plot_losses(model_path: Path, config_path: Path, path: Path, *, settings: list[str]) -> None:
    """Plot figure 4: which share of the examples has which share of the loss.

    Args:
        model_path: model file or run folder; the paper's was trained with gamma 2.
        config_path: recipe that says on which data.
        path: PNG file to write.
        settings: changes of the recipe.
    """
    model = load(find_model(str(model_path)))
    config = with_overrides(load_config(config_path), [*settings, "data.augment.flip=0"])
    dataset, size = load_dataset(config.data, "val"), config.train.batch_size
    batches = training_batches(
        dataset,
        model.preprocessing,
        data_config=config.data,
        batch_size=min(size, len(dataset.records)),
        seed=0,
        epochs=True,
    )
    found = [anchor_losses(model, images, labels) for images, labels in batches]
    figure = Figure(figsize=(9, 3.6), dpi=100, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for kind, (title, axis) in enumerate(zip(("positive", "negative"), axes, strict=True)):
        losses = np.concatenate([batch[kind] for batch in found], axis=1)  # (gammas, anchors)
        for gamma, color, row in zip(GAMMAS, COLORS, losses, strict=True):
            shares = cumulative_shares(row)
            drawn = np.linspace(0, len(shares) - 1, min(DRAWN, len(shares))).astype(int)
            examples = (drawn + 1) / len(shares)
            axis.plot(examples, shares[drawn], color=color, label=f"gamma {gamma:g}")
        axis.set(title=f"{losses.shape[1]:,} {title} anchors", xlabel=f"share of {title} anchors")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share of their loss")
    axes[0].legend(frameon=False, loc="upper left")
    save(figure, path)


def anchor_losses(
    model: RetinaNet, images: tf.Tensor, labels: dict[str, tf.Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the focal losses of positive (gammas, P) and negative (gammas, N) anchors.

    The loss of an anchor is the sum over its classes, all of one weight: alpha only scales what
    is normalized later.
    """
    logits = model(images, training=False)["class_logits"]
    targets = AnchorLabeler()(model.anchors(*images.shape[1:3]), labels)
    one_hot = tf.one_hot(targets.classes, logits.shape[-1])
    losses = [tf.reduce_sum(focal_loss(one_hot, logits, 0.5, gamma), axis=-1) for gamma in GAMMAS]
    kinds = (targets.classes >= 0, targets.classes == BACKGROUND)
    positive, negative = (
        np.stack([tf.boolean_mask(loss, kind).numpy() for loss in losses]) for kind in kinds
    )
    return positive, negative


def cumulative_shares(losses: np.ndarray) -> np.ndarray:
    """Return the share of the sum (N,) that the smallest 1, 2, ... N of losses (N,) have."""
    sums = np.cumsum(np.sort(losses.astype(np.float64)))
    return sums / sums[-1]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as stream:
        figure.savefig(stream, format="png")
