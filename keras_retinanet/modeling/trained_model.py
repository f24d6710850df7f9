"""The training step of the detector: labels, loss and its normalizer around Keras's `fit`."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.errors import UserError, listed
from keras_retinanet.modeling.accumulation import check_pieces, sum_over_pieces
from keras_retinanet.modeling.anchors import Anchors, level_cells, spatial_shape
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.distillation import Distiller
from keras_retinanet.modeling.label_checks import check_labels, plain_errors
from keras_retinanet.modeling.labeling import AnchorLabeler, Labeler, Targets
from keras_retinanet.modeling.losses import RetinaNetLoss, num_positives
from keras_retinanet.modeling.objective import INITIAL_NORMALIZER, Objective, own_loss
from keras_retinanet.modeling.optimizers import CoupledSGD
from keras_retinanet.modeling.recomputation import blocks, levels
from keras_retinanet.modeling.training_graph import Recomputed, run_for_training
from keras_retinanet.modeling.upsampling import UpsampleToMatch
from keras_retinanet.modeling.worker_steps import SharedSteps


class TrainedModel(SharedSteps):
    """Base of `RetinaNet`, which sets these attributes: a model that is trained on boxes."""

    anchors: Anchors
    box_coder: BoxCoder
    class_names: list[str]
    backbone: keras.Model
    fpn: keras.Model
    class_head: keras.Model
    box_head: keras.Model
    _class_loss: keras.metrics.Mean
    _box_loss: keras.metrics.Mean
    _objective: Objective

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the outputs of the network; Keras calls this."""
        if not training:
            return super().call(inputs, training=training, mask=mask)
        inputs = self._standardize_inputs(inputs)
        if not hasattr(self, "_objective"):
            return run_for_training(self, inputs)
        network = self._distiller.network if self._distiller else self
        return run_for_training(network, inputs, self._objective.recomputed)

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: RetinaNetLoss | None = None,
        *,
        labeler: Labeler | None = None,
        jit_compile: bool = False,
        micro_batch: int = 0,
        recompute: bool = False,
        distiller: Distiller | None = None,
        **kwargs: Any,
    ) -> None:
        """Set up training.

        Args:
            optimizer: as in Keras; default the paper's SGD for batches of 16 images.
            loss: a `RetinaNetLoss`; default the paper's.
            labeler: an `AnchorLabeler`, by default the paper's, or an `AtssLabeler`.
            jit_compile: compile the steps with XLA; same values. Off, for it is several times
                slower on a CPU. XLA does not check labels.
            micro_batch: number of images whose gradients are computed at once, on each device.
                The gradients of a batch are summed before the optimizer's one step, which is that
                of the whole batch (batch norms that train see the statistics of a piece). Not
                saved with the model. 0: the whole batch.
            recompute: keep only what passes between the blocks of the backbone and the levels of
                the heads, and compute the rest again in the backward pass: the same step in less
                memory and more time. Blocks with batch norms that train are kept. Not saved either.
            distiller: a teacher that this model imitates besides, which weights of images and
                classes do not change. Not saved either.
        """
        check_pieces(micro_batch, jit_compile=jit_compile, **kwargs)
        self._objective = Objective(
            labeler or AnchorLabeler(),
            own_loss(loss, self.box_coder, len(self.class_names)),
            keras.Variable(INITIAL_NORMALIZER, trainable=False, aggregation="mean"),
            keras.Variable(np.ones(len(self.class_names), np.float32), trainable=False),
            micro_batch,
            self._pieces() if recompute else {},
            distiller,
        )
        for layer in (*self.backbone.layers, *self.fpn.layers):
            if isinstance(layer, UpsampleToMatch):
                layer.for_xla = jit_compile
        super().compile(optimizer=optimizer or CoupledSGD(), jit_compile=jit_compile, **kwargs)
        self.optimizer.build([*self.trainable_variables, *self.distillation_variables])

    def _pieces(self) -> Recomputed:
        """Return the models that are run in pieces, by id, and their pieces."""
        heads = {id(head): levels(head) for head in (self.class_head, self.box_head)}
        return {id(self.backbone): blocks(self.backbone)} | heads

    def fit(
        self, *args: Any, class_weight: Mapping[int, float] | None = None, **kwargs: Any
    ) -> Any:
        """Train as `keras.Model.fit` does.

        `sample_weight` multiplies the loss of each image, and `class_weight` that of each anchor
        that is assigned a box of the class. As elsewhere in Keras, weights do not change what the
        sum is divided by: here the number of positive anchors.

        Raises:
            UserError: the labels cannot be right (see `check_labels`), or a class of
                `class_weight` does not exist.
        """
        self._objective.class_weights.assign(self._weights_of_classes(class_weight or {}))
        if isinstance(args[0] if args else kwargs.get("x"), tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # Keras warns that it cannot shuffle one
        with plain_errors():
            return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Return the losses as `keras.Model.evaluate` does; `fit` names the errors."""
        with plain_errors():
            return super().evaluate(*args, **kwargs)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Train on one batch as `keras.Model.train_on_batch` does; `fit` names the errors."""
        with plain_errors():
            return super().train_on_batch(*args, **kwargs)

    def _weights_of_classes(self, class_weight: Mapping[int, float]) -> np.ndarray:
        num_classes = len(self.class_names)
        unknown = [key for key in class_weight if key not in range(num_classes)]
        if unknown:
            raise UserError(
                f"Expected the keys of class_weight to be class ids 0 to {num_classes - 1}. "
                f"Received: {listed(unknown)}."
            )
        return np.array([class_weight.get(k, 1.0) for k in range(num_classes)], np.float32)

    def _maybe_symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is left to build, and Keras's way of it averages bool labels over replicas."""

    def get_compile_config(self) -> dict[str, Any] | None:
        if not self.compiled:
            return None
        parts = {
            "optimizer": self.optimizer,
            "loss": self._objective.loss,
            "labeler": self._objective.labeler,
        }
        return keras.saving.serialize_keras_object(parts)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Return this replica's share of the loss of the global batch, a scalar.

        The shares of all replicas sum to the loss, as their gradients do: no replica factor.
        """
        anchors, targets, weights = self._targets(x, y, sample_weight)
        normalizer = self._normalizer(num_positives(targets), training)
        losses = self._shares(anchors, targets, y_pred, weights, normalizer)
        self._note_losses(*losses)
        return losses[0] + losses[1]

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step of the optimizer; with `micro_batch` on gradients summed over pieces."""
        size, distiller = self._objective.micro_batch, self._distiller
        if not size and distiller is None:
            return super().train_step(data)
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        anchors, targets, weights = self._targets(images, labels, sample_weight)
        # Of the whole batch on all devices, so that the shares of its pieces sum to its loss.
        normalizer = self._normalizer(num_positives(targets), training=True)
        count = _over_replicas(tf.cast(tf.shape(images)[0], tf.float32))
        variables = [*self.trainable_weights, *self.distillation_variables]

        def piece(images: tf.Tensor, targets: Targets, weights: tf.Tensor) -> Any:
            taught = distiller.teach(images) if distiller else {}
            with tf.GradientTape() as tape:
                outputs = self(images, training=True)
                losses = [*self._shares(anchors, targets, outputs, weights, normalizer)]
                if distiller:
                    divisors = {"images": count, "normalizer": normalizer}
                    losses.append(distiller.loss(outputs, taught, targets, **divisors))
                scaled = self.optimizer.scale_loss(sum(losses))
            zero = tf.UnconnectedGradients.ZERO
            return losses, tape.gradient(scaled, variables, unconnected_gradients=zero)

        batch = images, targets, weights
        if size:
            zeros = [tf.zeros(())] * (3 if distiller else 2)
            slopes = [tf.zeros(v.shape, v.dtype) for v in variables]
            losses, gradients = sum_over_pieces(piece, batch, size=size, zeros=(zeros, slopes))
        else:
            losses, gradients = piece(*batch)
        self._note_losses(*losses)
        # As Keras's own step does, whose metric this is.
        self._loss_tracker.update_state(
            sum(losses) * tf.distribute.get_strategy().num_replicas_in_sync,
            sample_weight=tf.shape(images)[0],
        )
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self.get_metrics_result()

    def _targets(
        self, images: tf.Tensor, labels: Any, sample_weight: Any
    ) -> tuple[tf.Tensor, Targets, tf.Tensor]:
        """Return the anchors (R, 4) of the images, their targets and weights."""
        size = spatial_shape(images)
        check_labels(labels, size, len(self.class_names))
        anchors = self.anchors(*size)
        targets = self._objective.labeler(anchors, labels, level_cells=level_cells(*size))
        return anchors, targets, self._anchor_weights(targets, sample_weight)

    def _shares(
        self,
        anchors: tf.Tensor,
        targets: Targets,
        outputs: Mapping[str, tf.Tensor],
        weights: tf.Tensor,
        normalizer: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the shares of class and box loss that these images have, two scalars."""
        class_sum, box_sum = self._objective.loss.sums(anchors, targets, outputs, weights)
        return class_sum / normalizer, box_sum / normalizer

    def _note_losses(self, *losses: tf.Tensor) -> None:
        """Update the means of class loss, box loss and, with a teacher, its imitation."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        means = self._class_loss, self._box_loss, *self._distillation_metrics
        for mean, loss in zip(means, losses, strict=False):  # without a teacher in `evaluate`
            # A mean over replicas of R times the share is the sum of the shares.
            mean.update_state(loss * replicas)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means of the losses."""
        return [*super().metrics, *self._distillation_metrics]

    @property
    def _distillation_metrics(self) -> list[keras.metrics.Metric]:
        return [self._distiller.metric] if self._distiller else []

    @property
    def distillation_variables(self) -> list[keras.Variable]:
        """What trains beside the weights to imitate a teacher: no part of the detector."""
        return self._distiller.variables if self._distiller else []

    @property
    def _distiller(self) -> Distiller | None:
        return self._objective.distiller if hasattr(self, "_objective") else None

    def _anchor_weights(self, targets: Targets, sample_weight: Any) -> tf.Tensor:
        """Return the factor of each anchor's loss, (B, R) or what broadcasts to it."""
        # Background and ignored anchors have no class: their weight is 1.
        by_class = tf.pad(
            tf.convert_to_tensor(self._objective.class_weights), [[0, 1]], constant_values=1.0
        )
        weights = tf.gather(
            by_class, tf.where(targets.classes >= 0, targets.classes, len(self.class_names))
        )
        if sample_weight is None:
            return weights
        # Keras hands one array of weights on as one for each entry of the labels.
        per_image = tf.nest.flatten(sample_weight)[0]
        return weights * tf.reshape(tf.cast(per_image, tf.float32), (-1, 1))

    @property
    def loss_normalizer(self) -> keras.Variable:
        """The moving average of positives per batch: state of a training, not of the detector."""
        return self._objective.normalizer

    def _normalizer(self, positives: tf.Tensor, training: bool) -> tf.Tensor:
        positives = _over_replicas(positives)
        momentum = self._objective.loss.normalizer_momentum
        average = self._objective.normalizer
        if momentum == 0:
            return tf.maximum(positives, 1.0)
        if training:
            average.assign(momentum * average + (1 - momentum) * positives)
        return tf.maximum(tf.convert_to_tensor(average), 1.0)


def _over_replicas(number: tf.Tensor) -> tf.Tensor:
    """Return the sum of a number over all devices."""
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, number)
