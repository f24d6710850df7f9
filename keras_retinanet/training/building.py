"""Build a model, its loss, labeler and optimizer from a `Config` and a data set."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.config import Config, TrainConfig
from keras_retinanet.config.post_processing import USUAL_DETECTIONS
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.crowds import crowd_warning, max_detections_for, most_objects
from keras_retinanet.modeling.atss import build_labeler
from keras_retinanet.modeling.backbones import weights_license
from keras_retinanet.modeling.losses import RetinaNetLoss
from keras_retinanet.modeling.optimizers import CoupledSGD, DetectorAdamW
from keras_retinanet.modeling.retinanet import RetinaNet, resolve
from keras_retinanet.modeling.saving import load, read_config
from keras_retinanet.modeling.transfer import transfer_weights, transferred_config
from keras_retinanet.training.distillation import build_distiller
from keras_retinanet.training.schedules import scaled_learning_rate
from keras_retinanet.version import __version__


def require_boxes(data: Dataset) -> None:
    """Raise a UserError if no image of `data` has a box to learn."""
    if not most_objects(data):
        raise UserError(
            f"Expected images with boxes to train on. Received: {data.name}, "
            f"{len(data.records)} images without any "
            f"({'; '.join(data.problems.lines()) or 'nothing was dropped'}). Check the "
            "annotations and --classes."
        )


def follow_data(config: Config, datasets: Sequence[Dataset | None]) -> Config:
    """Return `config` with as many detections per image, or tile, as those of `datasets` ask for.

    A number of the user's stays; a line warns where it is less than an image has objects.
    """
    detections = config.model.detections
    tiles = config.model.tiles
    most = max(most_objects(data, tiles) for data in datasets if data is not None)
    if detections.max_detections != "auto":
        for line in crowd_warning(most, detections.max_detections):
            print(line)
        return config
    limit = max_detections_for(most)
    if limit != USUAL_DETECTIONS:
        where = "a tile" if tiles.side else "an image"
        print(f"model.detections.max_detections: {limit}, because {where} has {most} objects")
    detections = dataclasses.replace(detections, max_detections=limit)
    model = dataclasses.replace(config.model, detections=detections)
    return dataclasses.replace(config, model=model)


def build_model(config: Config, data: Dataset, *, resume: bool = False) -> RetinaNet:
    """Return the model that `config` asks for, with the classes of `data`.

    Args:
        resume: load no weights, because they come from the state of the run.
    """
    names, ids = data.class_names, data.class_ids
    facts = provenance(config, data)
    if resume or config.train.weights is None:
        graph = config.model if resume else resolve(config.model)
        return RetinaNet(graph, names, class_ids=ids, metadata=facts, load_weights=not resume)
    source = load(config.train.weights)
    graph = transferred_config(source, config.model, config.train.weights)
    model = RetinaNet(graph, names, class_ids=ids, metadata=facts, load_weights=False)
    print(f"weights and graph ({graph.backbone.name}) from {config.train.weights}:")
    for line in transfer_weights(source, model):
        print("  " + line)
    return model


def provenance(config: Config, data: Dataset) -> dict[str, str]:
    """Return the origin of a model as plain strings, for its file."""
    facts = {
        "origin": f"trained by keras_retinanet {__version__} on {data.name}",
        "versions": f"tensorflow {tf.__version__}, keras {keras.__version__}",
    }
    if config.train.teacher is not None:
        facts["teacher"] = f"SHA-256 {config.train.distillation.teacher_sha256}"
    start = config.train.weights
    if start is None:
        backbone = config.model.backbone
        license = weights_license(backbone.name, backbone.weights) or "none recorded"
        return facts | {"license": license}
    # A license stays with the weights that it came with.
    source = read_config(start)["metadata"]
    return facts | {
        "license": source.get("license", "none recorded"),
        "started_from": source.get("origin", start),
    }


def compile_model(model: RetinaNet, train: TrainConfig) -> None:
    """Compile `model` with the loss, labeler, optimizer and teacher of `train`."""
    model.compile(
        optimizer=build_optimizer(model, train),
        loss=RetinaNetLoss(**dataclasses.asdict(train.loss)),
        labeler=build_labeler(train.matching),
        micro_batch=train.micro_batch,
        recompute=train.recompute,
        distiller=build_distiller(model, train),
    )


def build_optimizer(model: RetinaNet, train: TrainConfig) -> keras.optimizers.Optimizer:
    """Return SGD with coupled weight decay, or AdamW; `Pace` sets the rate at each step."""
    options = train.optimizer
    slow = [variable.path for variable in model.backbone.trainable_variables]
    shared: dict[str, Any] = {
        "slow_variables": slow,
        "slow_multiplier": options.backbone_multiplier,
        "clip_norm": options.clip_norm,
        "skip_nonfinite": train.on_nan == "skip",
        "use_ema": options.ema > 0,
        "ema_momentum": options.ema or 0.99,
    }
    rate = scaled_learning_rate(train)
    if options.name == "sgd":
        return CoupledSGD(rate, options.momentum, coupled_decay=options.weight_decay, **shared)
    return DetectorAdamW(rate, weight_decay=options.weight_decay, **shared)
