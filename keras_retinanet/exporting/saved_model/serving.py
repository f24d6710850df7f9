"""What a SavedModel holds: images in, detections out, nothing left to do outside."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_retinanet.config.post_processing import MOST_DETECTIONS
from keras_retinanet.exporting.folding import folded
from keras_retinanet.exporting.plain_detections import PlainPostProcessing
from keras_retinanet.exporting.saved_model.graph_decoding import read_picture
from keras_retinanet.exporting.saved_model.grouping import detect_groups, prepare, responses
from keras_retinanet.modeling.anchors import spatial_shape
from keras_retinanet.modeling.post_processing import DetectionBatch, PostProcessing
from keras_retinanet.modeling.retinanet import RetinaNet

EXAMPLE_FEATURE = "image/encoded"
# The TF Object Detection API's names, and one more.
OUTPUTS = {
    "detection_boxes": "[B,N,4] ymin,xmin,ymax,xmax, 0..1 of the original image",
    "detection_scores": "[B,N] best first",
    "detection_classes": "[B,N] the data set's own ids",
    "num_detections": "[B] rows from there on are zero",
    "detection_boxes_xyxy": "[B,N,4] x1,y1,x2,y2 in pixels of the original image",
}
_CANVASES = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
_SIZES = tf.TensorSpec([None, 2], tf.int32, name="sizes")
_IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")


class Serving(tf.Module):
    """A detector as `tf.saved_model.save` takes it: each weight once, and no Keras object.

    Args:
        model: what to export.
        facts: JSON that the loaded object's `facts()` gives back.
        precision: see `folding.folded`.
        keep_going: an image that cannot be read has no detections; else it fails its batch, and
            the message names its index.
        xla: add the signatures that XLA compiles.
    """

    def __init__(
        self,
        model: RetinaNet,
        facts: str,
        *,
        precision: str = "float32",
        keep_going: bool = False,
        xla: bool = False,
    ):
        super().__init__(name="retinanet")
        network = folded(model, precision)
        self.weights = [variable.value for variable in network.variables]
        self.facts = _function(lambda: tf.constant(facts), input_signature=[])
        names = list(model.class_names)
        self.class_names = _function(lambda: tf.constant(names), input_signature=[])
        endpoints = _Endpoints(model, network, keep_going)
        self.raw = endpoints.raw(compiled=False)
        self.serving_default = endpoints.images(self.raw, compiled=False)
        self.serve_bytes, self.serve_example = endpoints.encoded(self.raw)
        self.serve_thresholds = endpoints.thresholds(self.raw)
        if xla:
            self.raw_xla = endpoints.raw(compiled=True)
            self.serve_xla = endpoints.images(self.raw_xla, compiled=True)

    def signatures(self) -> dict[str, Any]:
        """Return signature name -> function."""
        names = "serving_default serve_bytes serve_example serve_thresholds raw raw_xla serve_xla"
        return {name: getattr(self, name) for name in names.split() if hasattr(self, name)}


class _Endpoints:
    """The functions of `Serving`."""

    def __init__(self, model: RetinaNet, network: Any, keep_going: bool):
        self._model, self._network, self._keep_going = model, network, keep_going

    def raw(self, *, compiled: bool) -> Any:
        """Return canvases -> logits and deltas."""

        def raw(images):
            return self._network(images, training=False)

        return _function(raw, input_signature=[_CANVASES], jit_compile=compiled or None)

    def images(self, raw: Any, *, compiled: bool) -> Any:
        """Return images of one size -> detections."""
        post_processing = self._model.post_processing
        if compiled:
            post_processing = PlainPostProcessing(**dataclasses.asdict(post_processing))
        detect = self._detection(raw, post_processing, compiled=compiled)

        def serve(images):
            return self._detect_images(images, detect, post_processing.max_detections)

        return _function(serve, input_signature=[_IMAGES])

    def encoded(self, raw: Any) -> tuple[Any, Any]:
        """Return image files -> detections, and the same of serialized `tf.train.Example`s."""
        detect = self._detection(raw, self._model.post_processing)

        def serve_bytes(image_bytes):
            pictures = prepare(
                self._model.preprocessing,
                lambda index: read_picture(image_bytes[index]),
                tf.size(image_bytes),
            )
            if not self._keep_going:
                pictures = pictures._replace(is_read=_all_read(pictures.is_read))
            return self._respond(pictures, detect, self._model.post_processing.max_detections)

        def serve_example(examples):
            feature = tf.io.FixedLenFeature([], tf.string, default_value="")
            parsed = tf.io.parse_example(examples, {EXAMPLE_FEATURE: feature})
            return serve_bytes(parsed[EXAMPLE_FEATURE])

        return tuple(
            _function(serve, input_signature=[tf.TensorSpec([None], tf.string, name=name)])
            for serve, name in ((serve_bytes, "image_bytes"), (serve_example, "examples"))
        )

    def thresholds(self, raw: Any) -> Any:
        """Return images of one size -> detections, by thresholds that a request may set."""
        own = self._model.post_processing
        # A tensor as Python's default becomes the signature's.
        defaults = [
            tf.constant(value) for value in (own.score_threshold, own.nms_iou, own.max_detections)
        ]

        def serve(
            images, score_threshold=defaults[0], nms_iou=defaults[1], max_detections=defaults[2]
        ):
            in_range = (max_detections > 0) & (max_detections <= MOST_DETECTIONS)
            message = f"Expected max_detections of 1 to {MOST_DETECTIONS}. Received:"
            images = _checked(images, in_range, [message, max_detections])
            post_processing = dataclasses.replace(
                own, score_threshold=score_threshold, nms_iou=nms_iou, max_detections=max_detections
            )
            detect = self._detection(raw, post_processing, shared=False)
            return self._detect_images(images, detect, max_detections)

        names = ("score_threshold", "nms_iou", "max_detections")
        scalars = [
            tf.TensorSpec([], default.dtype, name=name)
            for default, name in zip(defaults, names, strict=True)
        ]
        return _function(serve, input_signature=[_IMAGES, *scalars])

    def _detection(
        self,
        raw: Any,
        post_processing: PostProcessing,
        *,
        compiled: bool = False,
        shared: bool = True,
    ) -> Callable[[Any, Any], DetectionBatch]:
        """Return canvases, sizes -> detections; `shared`: a function that signatures share."""

        def detect(images, sizes):
            return self._model.detect_outputs(
                raw(images), spatial_shape(images), sizes, post_processing
            )

        if not shared:
            return detect
        signature = [_CANVASES, _SIZES]
        return _function(detect, input_signature=signature, jit_compile=compiled or None)

    def _detect_images(self, images: Any, detect: Any, max_detections: Any) -> dict[str, Any]:
        shape = tf.shape(images)
        message = "Expected images of at least one pixel. Received shape:"
        images = _checked(images, tf.reduce_all(shape[1:3] > 0), [message, shape])
        pictures = prepare(self._model.preprocessing, lambda index: (images[index], True), shape[0])
        return self._respond(pictures, detect, max_detections)

    def _respond(self, pictures: Any, detect: Any, max_detections: Any) -> dict[str, Any]:
        found = detect_groups(pictures, detect, max_detections)
        return responses(found, pictures, tf.constant(self._model.class_ids, tf.float32))


def _function(function, **options):
    """Return a `tf.function` of what is spelt in operators, with nothing to convert."""
    return tf.function(function, autograph=False, **options)


def _all_read(is_read):
    """Return `is_read` (B,), or an error that names the images that could not be read."""
    bad = tf.where(~is_read)[:, 0]
    message = (
        "Expected whole JPEG, PNG, WebP, BMP or GIF images. "
        "Received something else at these indices of the batch:"
    )
    return _checked(is_read, tf.size(bad) == 0, [message, bad])


def _checked(value, condition, message):
    """Return `value`, or raise with `message` where `condition` does not hold."""
    with tf.control_dependencies([tf.debugging.Assert(condition, message, summarize=100)]):
        return tf.identity(value)
