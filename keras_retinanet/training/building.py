"""A `Config` and a data set -> a model, its loss, labeler and optimizer."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.config.schema import Config, TrainConfig
from keras_retinanet.data.records import Dataset
from keras_retinanet.modeling.backbones import weights_license
from keras_retinanet.modeling.labeling import AnchorLabeler
from keras_retinanet.modeling.losses import RetinaNetLoss
from keras_retinanet.modeling.optimizers import CoupledSGD, DetectorAdamW
from keras_retinanet.modeling.retinanet import RetinaNet, resolve
from keras_retinanet.modeling.saving import load, read_config
from keras_retinanet.modeling.transfer import transfer_weights, transferred_config
from keras_retinanet.training.schedules import scaled_learning_rate
from keras_retinanet.version import __version__


def build_model(config: Config, data: Dataset, *, resume: bool = False) -> RetinaNet:
    """Return the model that `config` asks for, with the classes of `data`.

    Args:
        resume: the weights come from a run's own state: read no others.
    """
    names, ids = data.class_names, data.class_ids
    facts = provenance(config, data)
    if resume or config.train.weights is None:
        graph = config.model if resume else resolve(config.model)
        return RetinaNet(graph, names, class_ids=ids, metadata=facts, load_weights=not resume)
    source = load(config.train.weights)
    graph = transferred_config(source, config.model, config.train.weights)
    model = RetinaNet(graph, names, class_ids=ids, metadata=facts, load_weights=False)
    print(f"from {config.train.weights}, whose graph ({graph.backbone.name}) and colours it takes:")
    for line in transfer_weights(source, model):
        print("  " + line)
    return model


def provenance(config: Config, data: Dataset) -> dict[str, str]:
    """Return what a model file says of its origin, as plain strings."""
    facts = {
        "origin": f"trained by keras_retinanet {__version__} on {data.name}",
        "versions": f"tensorflow {tf.__version__}, keras {keras.__version__}",
    }
    start = config.train.weights
    if start is None:
        trunk = config.model.backbone
        license = weights_license(trunk.name, trunk.weights) or "none recorded"
        return facts | {"license": license}
    # A license stays with the weights that it came with.
    source = read_config(start)["metadata"]
    return facts | {
        "license": source.get("license", "none recorded"),
        "started_from": source.get("origin", start),
    }


def compile_model(model: RetinaNet, train: TrainConfig) -> None:
    """Set up loss, labeler and optimizer as `train` says."""
    model.compile(
        optimizer=build_optimizer(model, train),
        loss=RetinaNetLoss(**dataclasses.asdict(train.loss)),
        labeler=AnchorLabeler(**dataclasses.asdict(train.matching)),
    )


def build_optimizer(model: RetinaNet, train: TrainConfig) -> keras.optimizers.Optimizer:
    """Return SGD with coupled decay, or AdamW; the rate itself is set at each step."""
    options = train.optimizer
    slow = [variable.path for variable in model.backbone.trainable_variables]
    shared: dict[str, Any] = {
        "slow_variables": slow,
        "slow_multiplier": options.backbone_multiplier,
        "clip_norm": options.clip_norm,
        "use_ema": options.ema > 0,
        "ema_momentum": options.ema or 0.99,
    }
    rate = scaled_learning_rate(train)
    if options.name == "sgd":
        return CoupledSGD(rate, options.momentum, coupled_decay=options.weight_decay, **shared)
    return DetectorAdamW(rate, weight_decay=options.weight_decay, **shared)
