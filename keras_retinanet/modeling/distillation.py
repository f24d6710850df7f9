"""A trained model as the teacher of another one, in training alone."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from keras_retinanet.config.model import LEVELS, ModelConfig
from keras_retinanet.errors import UserError, listed
from keras_retinanet.files.names import name_key
from keras_retinanet.modeling.distillation_losses import feature_loss, output_loss
from keras_retinanet.modeling.labeling import Targets

# Key of the features of P3 to P7 beside the outputs of a network.
FEATURES = "features"


class Distiller:
    """A teacher and what its student needs to imitate it: nothing of it is saved with the student.

    Where the two pyramids have other channels, an adapter per level, a 1x1 convolution that trains
    with the student, brings its features to the teacher's channels. No Keras container, so that
    the student tracks neither teacher nor adapters.

    Args:
        student: the `RetinaNet` that is trained; it is given to `compile` with this.
        teacher: a trained `RetinaNet`, which stays as it is. It sees the student's input, pixels of
            0 to 255, and normalizes them its own way.
        feature_weight: of the imitation of P3 to P7.
        output_weight: of the imitation of class scores and boxes; 0: classes and anchors of the
            two may differ.

    Raises:
        UserError: the teacher's outputs do not mean what the student's do.
    """

    def __init__(
        self,
        student: Any,
        teacher: Any,
        *,
        feature_weight: float = 10.0,
        output_weight: float = 1.0,
    ):
        self._feature_weight, self._output_weight = feature_weight, output_weight
        if output_weight:
            self._classes = _shared_classes(student, teacher)
        self.network = _with_features(student)
        self._teacher = _with_features(teacher)
        self.metric = keras.metrics.Mean(name="distillation_loss")
        own, taught = (net.output[FEATURES][0].shape[-1] for net in (self.network, self._teacher))
        self._adapters: list[layers.Layer] = []
        if feature_weight and own != taught:
            self._adapters = [
                layers.Conv2D(taught, 1, use_bias=False, name=f"adapter_p{level}")
                for level in LEVELS
            ]
            for adapter in self._adapters:
                adapter.build((None, None, None, own))

    @property
    def variables(self) -> list[keras.Variable]:
        """The weights of the adapters, which train with the student."""
        return [variable for adapter in self._adapters for variable in adapter.variables]

    def teach(self, images: tf.Tensor) -> dict[str, Any]:
        """Return the teacher's outputs and features of `images`; no gradient flows through it."""
        taught = self._teacher(images, training=False)
        if self._output_weight:
            logits = tf.gather(taught["class_logits"], self._classes, axis=-1)
            taught = {**taught, "class_logits": logits}
        return tf.nest.map_structure(tf.stop_gradient, taught)

    def loss(
        self,
        outputs: Mapping[str, Any],
        taught: Mapping[str, Any],
        targets: Targets,
        *,
        images: tf.Tensor,
        normalizer: tf.Tensor,
    ) -> tf.Tensor:
        """Return the share of the loss that some images of a batch have, a scalar.

        Args:
            outputs: of `network` for these images.
            taught: what `teach` returns for them.
            targets: what the labeler made of their ground truth.
            images: number of images of the whole batch, which divides the loss of the features.
            normalizer: divides the loss of the outputs, as it does the student's other losses.
        """
        total = tf.zeros(())
        if self._feature_weight:
            total += self._feature_weight * self._feature_sum(outputs, taught) / images
        if self._output_weight:
            output_sum = output_loss(outputs, taught, targets.matches >= 0)
            total += self._output_weight * output_sum / normalizer
        return total

    def _feature_sum(self, outputs: Mapping[str, Any], taught: Mapping[str, Any]) -> tf.Tensor:
        features = list(outputs[FEATURES])
        if self._adapters:
            pairs = zip(self._adapters, features, strict=True)
            features = [adapter(own) for adapter, own in pairs]
        levels = zip(features, taught[FEATURES], strict=True)
        return tf.add_n([feature_loss(own, theirs) for own, theirs in levels])


def _with_features(model: Any) -> keras.Model:
    """Return the graph of `model` with the features of P3 to P7 beside its outputs."""
    (features,) = (
        list(node.outputs)
        for nodes in model._nodes_by_depth.values()
        for node in nodes
        if node.operation is model.fpn
    )
    return keras.Model(model.input, {**model.output, FEATURES: features})


def _shared_classes(student: Any, teacher: Any) -> list[int]:
    """Return the teacher's number of each class of the student."""
    numbers = {name_key(name): number for number, name in enumerate(teacher.class_names)}
    missing = [name for name in student.class_names if name_key(name) not in numbers]
    problem = _difference(student.config, teacher.config)
    if missing:
        problem = f"no {listed(missing)} among its classes, {listed(teacher.class_names)}"
    if problem:
        raise UserError(
            "Expected a teacher with the student's classes, anchors and box coder, whose outputs "
            f"can be imitated. Received: {problem}. Set train.distillation.output_weight=0 to "
            "imitate its features alone."
        )
    return [numbers[name_key(name)] for name in student.class_names]


def _difference(student: ModelConfig, teacher: ModelConfig) -> str | None:
    """Return the first option that gives the outputs another meaning; None: there is none."""
    for part in ("anchors", "box_coder"):
        own, theirs = vars(getattr(student, part)), vars(getattr(teacher, part))
        for name, value in theirs.items():
            if value != own[name]:
                return f"model.{part}.{name} of {value}, where the student has {own[name]}"
    return None
