"""The detector: one graph that trains, detects and is saved as one file.

Its training step is in `trained_model.py`.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.config.files import metadata_from_dict, model_config_from_dict, to_plain
from keras_retinanet.config.schema import BackboneConfig, ModelConfig
from keras_retinanet.modeling.anchors import Anchors, feature_sizes, spatial_shape
from keras_retinanet.modeling.backbones import backbone_preprocessing, build_backbone
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.detections import DetectionBatch, Detections, Detector
from keras_retinanet.modeling.fpn import build_fpn
from keras_retinanet.modeling.heads import build_head
from keras_retinanet.modeling.preprocessing import PixelNormalization, Preprocessing
from keras_retinanet.modeling.trained_model import TrainedModel

# Of the `.keras` file. A reader refuses a newer one; raise it when an older reader would be wrong.
FORMAT = 1


@keras.saving.register_keras_serializable(package="keras_retinanet")
class RetinaNet(TrainedModel):
    """RetinaNet (Lin et al. 2017): backbone, FPN P3..P7, class and box subnets over anchors.

    Calling it on RGB float32 pictures 0..255, (B, H, W, 3) of any height and width, gives
    `{"class_logits": (B, R, K), "box_deltas": (B, R, 4)}`, float32, P3..P7 concatenated.

    Args:
        config: every choice of the graph, its preprocessing and its detections.
        class_names: K names; background has none.
        class_ids: the data set's own K ids (default 1..K).
        metadata: origin, license and the like, plain strings that travel with the file.
        load_weights: read `config.backbone.weights`; False when a saved file brings its own.
    """

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
        self.detector = Detector(**vars(config.detections))
        self.class_names = list(class_names)
        self.class_ids = list(class_ids or range(1, len(class_names) + 1))
        self.metadata = metadata_from_dict(metadata or {})
        self.backbone, self.fpn = trunk, fpn
        self.class_head, self.box_head = class_head, box_head
        self._class_loss = keras.metrics.Mean(name="class_loss")
        self._box_loss = keras.metrics.Mean(name="box_loss")

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
            sizes: (B, 2) int32 height and width of each picture inside its canvas.
        """
        return self.detect_outputs(self(images, training=False), spatial_shape(images), sizes)

    def detect_outputs(
        self,
        outputs: dict[str, tf.Tensor],
        input_shape: tuple[Any, Any],
        sizes: tf.Tensor,
        detector: Detector | None = None,
    ) -> DetectionBatch:
        """Return detections of the model's raw `outputs` for an input of `input_shape` (H, W).

        Args:
            detector: instead of the model's own, such as one with other thresholds.
        """
        cells = [rows * cols * self.anchors.per_cell for rows, cols in feature_sizes(*input_shape)]
        anchors = self.anchors(*input_shape)
        detector = detector or self.detector
        return detector(outputs, anchors, cells, sizes, self.box_coder, input_shape)

    def detect(
        self, images: np.ndarray | Sequence[np.ndarray], *, batch_size: int = 8
    ) -> list[Detections]:
        """Find objects in pictures of any sizes.

        Args:
            images: one uint8 RGB array (H, W, 3), or a list of such.
            batch_size: how many of equal canvas go through the network at once.

        Returns:
            One `Detections` per picture, boxes in pixels of that picture.

        Raises:
            ValueError: if an array is not uint8 (H, W, 3), or is empty.
        """
        images = [images] if getattr(images, "ndim", 0) == 3 else list(images)  # type: ignore[list-item]
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        sizes = []
        for index, image in enumerate(images):
            check_picture(image, index)
            sizes.append(self.preprocessing.resized_size(*image.shape[:2]))
            groups[self.preprocessing.canvas_size(*sizes[-1])].append(index)
        found: list[Detections | None] = [None] * len(images)
        for group in groups.values():
            for start in range(0, len(group), batch_size):
                members = group[start : start + batch_size]
                canvases = tf.stack([self.preprocessing.letterbox(images[i])[0] for i in members])
                batch = self.detect_batch(canvases, tf.constant([sizes[i] for i in members]))
                for row, i in enumerate(members):
                    found[i] = self.to_detections(batch, row, sizes[i], images[i].shape[:2])
        return found  # type: ignore[return-value]

    def to_detections(
        self, batch: DetectionBatch, row: int, size: Sequence[int], original_size: Sequence[int]
    ) -> Detections:
        """Return picture `row` of a batch, moved from its resized `size` to its own (h, w)."""
        num = int(batch.num[row])
        boxes = batch.boxes[row, :num].numpy()
        return Detections(
            boxes=self.preprocessing.boxes_to_picture(boxes, size, original_size),
            scores=batch.scores[row, :num].numpy(),
            classes=batch.classes[row, :num].numpy(),
            class_names=self.class_names,
        )

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


def check_picture(image: Any, index: int) -> None:
    """Raise a ValueError unless `image`, the `index`-th given, is uint8 (H, W, 3) and not empty."""
    shape: tuple[int, ...] = getattr(image, "shape", ())
    dtype = getattr(image, "dtype", None)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(
            f"Expected pictures as uint8 RGB arrays (H, W, 3). Received: picture {index} with "
            f"shape={shape}, dtype={dtype}."
        )


# ---------------------------------------------------------------------------------- builders


def resolve(config: ModelConfig) -> ModelConfig:
    """Return `config` with what its trunk's weights demand: colours, and options of the graph."""
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
        weights: of the trunk: None for random, "imagenet", or a file.
        config: every other choice; its trunk's name and weights are replaced by those above.
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
