"""The teacher of a run: found, known by its hash, and given to the student that is trained."""

import dataclasses
from pathlib import Path

from keras_retinanet.checkpoints.model_files import model_file
from keras_retinanet.config import Config, TrainConfig
from keras_retinanet.errors import UserError
from keras_retinanet.files import sha256_of
from keras_retinanet.modeling.distillation import Distiller
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import load
from keras_retinanet.training.run_folder import MODEL_FILES

LOSSES = ("loss", "class_loss", "box_loss")


def loss_names(train: TrainConfig) -> tuple[str, ...]:
    """Return the losses that a step of a run has."""
    return (*LOSSES, "distillation_loss") if train.teacher else LOSSES


def pinned_teacher(config: Config) -> Config:
    """Return `config` with the path of its teacher's file, if it has a teacher, and its SHA-256.

    Raises:
        UserError: there is no such file, or `config` names the SHA-256 of another one.
    """
    train = config.train
    if train.teacher is None:
        return config
    found = [file for name in MODEL_FILES if (file := Path(train.teacher) / name).is_file()]
    path = found[0] if found else model_file(train.teacher)
    digest, expected = sha256_of(path), train.distillation.teacher_sha256
    if expected not in (None, digest):
        raise UserError(
            f"Expected the teacher that the run began with, of SHA-256 {expected}. Received: "
            f"{path} of SHA-256 {digest}. Restore that file, or start a new run."
        )
    distillation = dataclasses.replace(train.distillation, teacher_sha256=digest)
    train = dataclasses.replace(train, teacher=str(path), distillation=distillation)
    return dataclasses.replace(config, train=train)


def build_distiller(model: RetinaNet, train: TrainConfig) -> Distiller | None:
    """Return what `model` imitates its teacher with; None without a teacher.

    Raises:
        UserError: the teacher cannot be loaded, or does not fit `model`.
    """
    if train.teacher is None:
        return None
    options = train.distillation
    distiller = Distiller(
        model,
        load(train.teacher),
        feature_weight=options.feature_weight,
        output_weight=options.output_weight,
    )
    print(f"the teacher is {train.teacher}")
    return distiller
