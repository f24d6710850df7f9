"""The detector: one graph that trains, detects and is saved as one file."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.config.files import metadata_from_dict, model_config_from_dict, to_plain
from keras_retinanet.config.schema import BackboneConfig, ModelConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.anchors import Anchors, feature_sizes
from keras_retinanet.modeling.backbones import backbone_preprocessing, build_backbone
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.detecting import detect_images
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.fpn import build_fpn
from keras_retinanet.modeling.heads import build_head
from keras_retinanet.modeling.labeling import AnchorLabeler
from keras_retinanet.modeling.losses import RetinaNetLoss, num_positives
from keras_retinanet.modeling.optimizers import CoupledSGD
from keras_retinanet.modeling.post_processing import DetectionBatch, PostProcessing
from keras_retinanet.modeling.preprocessing import PixelNormalization, Preprocessing

# Of the `.keras` file. A reader refuses a newer one; raise it when an older reader would be wrong.
FORMAT = 1
# detectron2 starts its moving average of positives here.
INITIAL_NORMALIZER = 100.0


@dataclasses.dataclass(frozen=True)
class Objective:
    """What `compile` sets up for training. No Keras container: neither tracked nor saved."""

    labeler: AnchorLabeler
    loss: RetinaNetLoss
    normalizer: keras.Variable  # moving average of the positives per global batch


@keras.saving.register_keras_serializable(package="keras_retinanet")
class RetinaNet(keras.Model):
    """RetinaNet (Lin et al. 2017): backbone, FPN P3..P7, class and box subnets over anchors.

    Calling it on RGB float32 images 0..255, (B, H, W, 3) of any height and width, gives
    `{"class_logits": (B, R, K), "box_deltas": (B, R, 4)}`, float32, P3..P7 concatenated.

    Args:
        config: every choice of the graph, its preprocessing and its detections.
        class_names: K names; background has none.
        class_ids: the dataset's own K ids (default 1..K).
        metadata: origin, license and the like, plain strings that travel with the file.
        load_weights: read `config.backbone.weights`; False when a saved file brings its own.
    """

    takes_batches = True

    def __init__(
        self,
        config: ModelConfig,
        class_names: Sequence[str],
        *,
        class_ids: Sequence[int] | None = None,
        metadata: dict[str, str] | None = None,
        load_weights: bool = True,
        **kwargs: Any,
    ):
        preprocessing = Preprocessing(**vars(config.preprocessing))
        anchors = Anchors(**vars(config.anchors))
        trunk = build_backbone(**vars(config.backbone), load_weights=load_weights)
        images = keras.Input((None, None, 3), name="images")
        normalized = PixelNormalization(
            preprocessing.mean, preprocessing.std, preprocessing.color_order, name="normalization"
        )(images)
        features = [feature for _, feature in sorted(trunk(normalized).items())]  # C3, C4, C5
        fpn = build_fpn([feature.shape[-1] for feature in features], **vars(config.fpn))
        levels = fpn(features)
        head = {**vars(config.head), "in_channels": config.fpn.channels}
        prior = head.pop("prior")
        head["num_anchors"] = anchors.per_cell
        class_head = build_head(
            "class_head", outputs_per_anchor=len(class_names), prior=prior, **head
        )
        box_head = build_head("box_head", outputs_per_anchor=4, **head)
        outputs = {"class_logits": class_head(levels), "box_deltas": box_head(levels)}
        super().__init__(inputs=images, outputs=outputs, **{"name": "retinanet", **kwargs})

        self.config = config
        self.preprocessing = preprocessing
        self.anchors = anchors
        self.box_coder = BoxCoder(**vars(config.box_coder))
        self.post_processing = PostProcessing(**vars(config.detections))
        self.class_names = list(class_names)
        self.class_ids = list(class_ids or range(1, len(class_names) + 1))
        self.metadata = metadata_from_dict(metadata or {})
        self.backbone, self.fpn = trunk, fpn
        self.class_head, self.box_head = class_head, box_head
        self._class_loss = keras.metrics.Mean(name="class_loss")
        self._box_loss = keras.metrics.Mean(name="box_loss")

    # ------------------------------------------------------------------------------ training

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: RetinaNetLoss | None = None,
        *,
        labeler: AnchorLabeler | None = None,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Set up training.

        Args:
            optimizer: as in Keras; default the paper's SGD for batches of 16 images.
            loss: a `RetinaNetLoss`; default the paper's.
            labeler: an `AnchorLabeler`; default the paper's.
            jit_compile: XLA; off, for it is slower on CPU.
        """
        loss = RetinaNetLoss() if loss is None else loss
        if not isinstance(loss, RetinaNetLoss):
            raise ValueError(
                f"Expected loss to be a RetinaNetLoss or None. Received: loss={loss!r}. "
                "Subclass RetinaNetLoss and override `sums` for another one."
            )
        if loss.box_coder is None:
            loss = copy.copy(loss)  # the caller's own may serve another model
            loss.box_coder = self.box_coder
        elif loss.box_coder != self.box_coder:
            raise ValueError(
                "Expected the loss to write boxes as the model does. "
                f"Received: loss.box_coder={loss.box_coder}, model's {self.box_coder}."
            )
        if np.ndim(loss.alpha) and np.size(loss.alpha) != len(self.class_names):
            raise UserError(
                f"Expected one alpha, or one for each of the {len(self.class_names)} classes. "
                f"Received: {np.size(loss.alpha)}."
            )
        self._objective = Objective(
            labeler or AnchorLabeler(),
            loss,
            keras.Variable(INITIAL_NORMALIZER, trainable=False, aggregation="mean"),
        )
        super().compile(optimizer=optimizer or CoupledSGD(), jit_compile=jit_compile, **kwargs)
        self.optimizer.build(self.trainable_variables)

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
        labeler, loss = self._objective.labeler, self._objective.loss
        anchors = self.anchors(*spatial_shape(x))
        targets = labeler(anchors, y)
        class_sum, box_sum = loss.sums(anchors, targets, y_pred)
        normalizer = self._normalizer(num_positives(targets), training)
        class_loss, box_loss = class_sum / normalizer, box_sum / normalizer
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        # A mean over replicas of R times the share is the sum of the shares.
        self._class_loss.update_state(class_loss * replicas)
        self._box_loss.update_state(box_loss * replicas)
        return class_loss + box_loss

    @property
    def loss_normalizer(self) -> keras.Variable:
        """The moving average of positives per batch: state of a training, not of the detector."""
        return self._objective.normalizer

    def _normalizer(self, positives: tf.Tensor, training: bool) -> tf.Tensor:
        replica = tf.distribute.get_replica_context()
        positives = replica.all_reduce(tf.distribute.ReduceOp.SUM, positives)
        momentum = self._objective.loss.normalizer_momentum
        average = self._objective.normalizer
        if momentum == 0:
            return tf.maximum(positives, 1.0)
        if training:
            average.assign(momentum * average + (1 - momentum) * positives)
        return tf.maximum(tf.convert_to_tensor(average), 1.0)

    # ----------------------------------------------------------------------------- detection

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None, 3), tf.float32),
            tf.TensorSpec((None, 2), tf.int32),
        ]
    )
    def detect_batch(self, images: tf.Tensor, sizes: tf.Tensor) -> DetectionBatch:
        """Return detections in pixels of the network input.

        Args:
            images: (B, H, W, 3) float32 RGB 0..255, letterboxed by `preprocessing`.
            sizes: (B, 2) int32 height and width of each image inside its canvas.
        """
        return self.detect_outputs(self(images, training=False), spatial_shape(images), sizes)

    def detect_outputs(
        self,
        outputs: dict[str, tf.Tensor],
        input_shape: tuple[Any, Any],
        sizes: tf.Tensor,
        post_processing: PostProcessing | None = None,
    ) -> DetectionBatch:
        """Return detections of the model's raw `outputs` for an input of `input_shape` (H, W).

        Args:
            post_processing: instead of the model's own, such as one with other thresholds.
        """
        cells = [rows * cols * self.anchors.per_cell for rows, cols in feature_sizes(*input_shape)]
        anchors = self.anchors(*input_shape)
        post_processing = post_processing or self.post_processing
        return post_processing(outputs, anchors, cells, sizes, self.box_coder, input_shape)

    def detect(
        self, images: np.ndarray | Sequence[np.ndarray], *, batch_size: int = 8
    ) -> list[Detections]:
        """Detect objects in images of any sizes.

        Args:
            images: one uint8 RGB array (H, W, 3), or a list of such.
            batch_size: how many of equal canvas go through the network at once.

        Returns:
            One `Detections` per image, boxes in pixels of that image.

        Raises:
            ValueError: if an array is not uint8 (H, W, 3), or is empty.
        """
        return detect_images(self, images, batch_size=batch_size)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """Return the network input (ch, cw, 3) float32 of a uint8 RGB image, and its size there."""
        canvas, size = self.preprocessing.letterbox(image)
        return canvas.numpy(), size

    def infer(self, inputs: np.ndarray, sizes: np.ndarray | None = None) -> DetectionBatch:
        """Return the detections of network inputs (B, H, W, 3) as NumPy, in pixels of the input.

        Args:
            sizes: (B, 2) int32 height and width of each image in its input; None: all of it.
        """
        if sizes is None:
            sizes = np.tile(np.array(inputs.shape[1:3], np.int32), (len(inputs), 1))
        batch = self.detect_batch(tf.constant(inputs, tf.float32), tf.constant(sizes, tf.int32))
        return DetectionBatch(*(part.numpy() for part in batch))

    def finish(
        self, outputs: DetectionBatch, row: int, size: Sequence[int], original_size: Sequence[int]
    ) -> Detections:
        """Return image `row` of a batch, moved from its resized `size` to its own (h, w)."""
        num = int(outputs.num[row])
        boxes, scores, classes = (np.asarray(part[row, :num]) for part in outputs[:3])
        boxes = self.preprocessing.boxes_to_picture(boxes, size, original_size)
        return Detections(boxes, scores, classes, self.class_names)

    # -------------------------------------------------------------------------------- saving

    def get_config(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "model": to_plain(self.config),
            "class_names": self.class_names,
            "class_ids": self.class_ids,
            "metadata": self.metadata,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "RetinaNet":
        config = dict(config)
        config.pop("format")
        model_config = model_config_from_dict(config.pop("model"))
        return cls(model_config, config.pop("class_names"), load_weights=False, **config)


def spatial_shape(images: tf.Tensor) -> tuple[Any, Any]:
    """Return (height, width) of `images` (B, H, W, 3): Python integers where they are known."""
    dynamic = tf.shape(images)
    height, width = (
        dynamic[axis] if images.shape[axis] is None else images.shape[axis] for axis in (1, 2)
    )
    return height, width


# ---------------------------------------------------------------------------------- builders


def resolve(config: ModelConfig) -> ModelConfig:
    """Return `config` with what its backbone's weights demand: colors, and options of the graph."""
    demands = backbone_preprocessing(config.backbone.name, config.backbone.weights)
    if not demands:
        return config
    graph = {f.name for f in dataclasses.fields(BackboneConfig)}
    return dataclasses.replace(
        config,
        backbone=dataclasses.replace(
            config.backbone, **{k: v for k, v in demands.items() if k in graph}
        ),
        preprocessing=dataclasses.replace(
            config.preprocessing, **{k: v for k, v in demands.items() if k not in graph}
        ),
    )


def retinanet(
    backbone: str = BackboneConfig.name,
    num_classes: int | None = None,
    *,
    class_names: Sequence[str] | None = None,
    weights: str | None = BackboneConfig.weights,
    config: ModelConfig | None = None,
) -> RetinaNet:
    """Build a RetinaNet as in the paper.

    Args:
        backbone: a name from `keras_retinanet.modeling.backbones.BACKBONES`.
        num_classes: K, background not counted (default 80, or the length of `class_names`).
        class_names: K names (default "class_0", ...).
        weights: of the backbone: None for random, "imagenet", or a file.
        config: every other choice; its backbone's name and weights are replaced by those above.
    """
    if class_names is None:
        class_names = [f"class_{i}" for i in range(80 if num_classes is None else num_classes)]
    if not class_names or num_classes not in (None, len(class_names)):
        raise ValueError(
            f"Expected one name for each class. Received: num_classes={num_classes}, "
            f"{len(class_names)} class_names."
        )
    config = config or ModelConfig()
    trunk = dataclasses.replace(config.backbone, name=backbone, weights=weights)
    return RetinaNet(resolve(dataclasses.replace(config, backbone=trunk)), class_names)
