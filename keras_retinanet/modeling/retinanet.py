"""The detector: one graph that trains, detects and is saved as one file.

Its training step is in `trained_model.py`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.config import BackboneConfig, ModelConfig
from keras_retinanet.config.files import config_to_dict, metadata_from_dict, model_config_from_dict
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.anchors import Anchors, feature_sizes, spatial_shape
from keras_retinanet.modeling.backbones import backbone_preprocessing, build_backbone
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.detecting import Images
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.folded_network import FoldedNetwork
from keras_retinanet.modeling.freezing import freeze_layers, frozen_layers
from keras_retinanet.modeling.heads import build_head
from keras_retinanet.modeling.necks import build_neck
from keras_retinanet.modeling.post_processing import DetectionBatch, PostProcessing
from keras_retinanet.modeling.preprocessing import PixelNormalization, Preprocessing
from keras_retinanet.modeling.streaming import Streaming
from keras_retinanet.modeling.tiling import detect
from keras_retinanet.modeling.trained_model import TrainedModel

# Of the `.keras` file. A reader refuses a newer one; raise it when an older reader would be wrong.
FORMAT = 1
_INPUTS = [
    tf.TensorSpec((None, None, None, 3), tf.float32),
    tf.TensorSpec((None, 2), tf.int32),
]


@keras.saving.register_keras_serializable(package="keras_retinanet")
class RetinaNet(TrainedModel, Streaming):
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
        require_channels_last()
        preprocessing = Preprocessing(**vars(config.preprocessing))
        anchors = Anchors(**vars(config.anchors))
        trunk = build_backbone(**vars(config.backbone), load_weights=load_weights)
        images = keras.Input((None, None, 3), name="images")
        normalized = PixelNormalization(
            preprocessing.mean, preprocessing.std, preprocessing.color_order, name="normalization"
        )(images)
        features = dict(sorted(trunk(normalized).items()))  # C3, C4, C5, or P3..P7
        fpn = build_neck({name: x.shape[-1] for name, x in features.items()}, **vars(config.fpn))
        levels = fpn([*features.values()])
        head = {**vars(config.head), "in_channels": levels[0].shape[-1]}
        prior = head.pop("prior")
        head["num_anchors"] = anchors.per_cell
        class_head = build_head(
            "class_head", outputs_per_anchor=len(class_names), prior=prior, **head
        )
        box_head = build_head("box_head", outputs_per_anchor=4, **head)
        outputs = {"class_logits": class_head(levels), "box_deltas": box_head(levels)}
        super().__init__(inputs=images, outputs=outputs, **{"name": "retinanet", **kwargs})

        self.config = dataclasses.replace(config, detections=config.detections.numbered())
        self.post_processing = PostProcessing(**vars(self.config.detections))
        self.preprocessing = preprocessing
        self.anchors = anchors
        self.box_coder = BoxCoder(**vars(config.box_coder))
        self.class_names = list(class_names)
        self.class_ids = list(class_ids or range(1, len(class_names) + 1))
        self.metadata = metadata_from_dict(metadata or {})
        self.backbone, self.fpn = trunk, fpn
        self.class_head, self.box_head = class_head, box_head
        self._class_loss = keras.metrics.Mean(name="class_loss")
        self._box_loss = keras.metrics.Mean(name="box_loss")
        self._frozen_as_built, self._folded = frozen_layers(self), FoldedNetwork(self)

    # ----------------------------------------------------------------------------- detection

    def detect_batch(self, images: tf.Tensor, sizes: tf.Tensor) -> DetectionBatch:
        """Return detections in pixels of the network input.

        Args:
            images: (B, H, W, 3) float32 RGB 0..255, letterboxed by `preprocessing`.
            sizes: (B, 2) int32 height and width of each image inside its canvas.
        """
        if not self._is_folded_here():
            return self.detect_as_built(images, sizes)
        self._folded.refresh()
        return self._detect_folded(images, sizes)

    @tf.function(input_signature=_INPUTS)
    def detect_as_built(self, images: tf.Tensor, sizes: tf.Tensor) -> DetectionBatch:
        """Return the same as `detect_batch`, with batch norms as layers of their own."""
        return self.detect_outputs(self(images, training=False), spatial_shape(images), sizes)

    # Python's code is rewritten for graphs by default, which takes most of the time of tracing.
    @tf.function(input_signature=_INPUTS, autograph=False)
    def _detect_folded(self, images: tf.Tensor, sizes: tf.Tensor) -> DetectionBatch:
        return self.detect_outputs(self._folded(images), spatial_shape(images), sizes)

    def _is_folded_here(self) -> bool:
        """Return whether batch norms can be folded: not in a graph, nor on other devices."""
        if not tf.executing_eagerly() or self.distribute_strategy.num_replicas_in_sync > 1:
            return False
        kind = type(self)
        is_ours = (kind.call, kind.detect_outputs) == (RetinaNet.call, RetinaNet.detect_outputs)
        return bool(self._folded) and is_ours and not tf.config.list_logical_devices("GPU")

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

    def detect(self, images: Images, *, batch_size: int = 8) -> list[Detections]:
        """Detect objects in images of any sizes, in tiles if `config.tiles` has a side.

        Args:
            images: one uint8 RGB array (H, W, 3), path or image of Pillow, or several of them.
            batch_size: how many of equal canvas go through the network at once.

        Returns:
            One `Detections` per image, boxes in pixels of that image.

        Raises:
            ValueError: an array is not uint8 (H, W, 3) or is empty, or a file is no image.
            OSError: a file cannot be read.
        """
        return detect(self, images, batch_size=batch_size)

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
        config = {
            "format": FORMAT,
            "model": config_to_dict(self.config),
            "class_names": self.class_names,
            "class_ids": self.class_ids,
            "metadata": self.metadata,
            "name": self.name,
        }
        frozen = frozen_layers(self)
        # Only what the configuration does not say, so that older versions read the other files.
        return config if frozen == self._frozen_as_built else config | {"frozen": frozen}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "RetinaNet":
        config = dict(config)
        config.pop("format")
        frozen = config.pop("frozen", None)
        model_config = model_config_from_dict(config.pop("model"))
        model = cls(model_config, config.pop("class_names"), load_weights=False, **config)
        if frozen is not None:
            freeze_layers(model, frozen)
        return model


# ---------------------------------------------------------------------------------- builders


def require_channels_last() -> None:
    """Raise a `UserError` if Keras is set to another backend or layout of images."""
    backend, layout = keras.config.backend(), keras.config.image_data_format()
    if (backend, layout) != ("tensorflow", "channels_last"):
        raise UserError(
            "Expected Keras with the TensorFlow backend and images as (height, width, channels). "
            f"Received: backend {backend}, image_data_format {layout}. Call "
            'keras.config.set_image_data_format("channels_last"), or change ~/.keras/keras.json.'
        )


def resolve(config: ModelConfig) -> ModelConfig:
    """Return `config` with what its backbone's weights demand: colors, and options of the graph."""
    demands = backbone_preprocessing(config.backbone.name, config.backbone.weights)
    if not demands:
        return config
    graph = {k: demands.pop(k) for k in vars(config.backbone) if k in demands}
    return dataclasses.replace(
        config,
        backbone=dataclasses.replace(config.backbone, **graph),
        preprocessing=dataclasses.replace(config.preprocessing, **demands),
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
        weights: of the backbone: None for random, "imagenet", "imagenet_v2", or a file.
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
