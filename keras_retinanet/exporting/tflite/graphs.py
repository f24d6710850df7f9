"""Graphs of fixed size: the network, and what makes detections of its outputs.

They are converted apart and joined afterwards, so that no quantization reaches the second.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_retinanet.exporting.plain_detections import MIN_NORMAL, PlainPostProcessing, Squares
from keras_retinanet.modeling.anchors import feature_sizes
from keras_retinanet.modeling.post_processing import DetectionBatch
from keras_retinanet.modeling.retinanet import RetinaNet

DETECTION_OUTPUTS = ("boxes", "classes", "scores", "num")


def network_function(network, image_size: tuple[int, int], input_type: str = "float32"):
    """Return a concrete function of the network alone.

    Args:
        network: of `folded`.
        image_size: (height, width) H, W of the one image that it takes.
        input_type: "uint8" or "float32", of that image, RGB 0..255.

    Returns:
        "image" (1, H, W, 3) -> "class_logits" (1, R, K) and "box_deltas" (1, R, 4), float32.
    """

    def run(image):
        return network(tf.cast(image, tf.float32), training=False)

    spec = tf.TensorSpec((1, *image_size, 3), input_type, name="image")
    return tf.function(run, input_signature=[spec]).get_concrete_function()


def detection_function(model: RetinaNet, image_size: tuple[int, int], form: str):
    """Return a concrete function of all that follows the network.

    Args:
        model: whose anchors, coder and thresholds to use.
        image_size: (height, width) of the network's input.
        form: "nms", of TensorFlow Lite's own operators, or "mediapipe", with its custom operator
            `TFLite_Detection_PostProcess`.

    Returns:
        "class_logits" (1, R, K), "box_deltas" (1, R, 4) -> `DETECTION_OUTPUTS`, all float32:
        boxes (1, N, 4) ymin, xmin, ymax, xmax in 0..1 of the input, classes (1, N), scores
        (1, N), num (1,).
    """
    options = vars(model.config.detections)
    if form == "nms":
        post_processing = PlainPostProcessing(**options)
    else:
        post_processing = _OperatorPostProcessing(**options, num_classes=len(model.class_names))
    cells = [
        rows * columns * model.anchors.per_cell for rows, columns in feature_sizes(*image_size)
    ]
    anchors = model.anchors(*image_size).numpy()
    fixed = (anchors, cells, np.array([image_size]), model.box_coder, image_size)

    def run(class_logits, box_deltas):
        raw = {"class_logits": class_logits, "box_deltas": box_deltas}
        outputs = _outputs(post_processing(raw, *fixed), image_size)
        return dict(zip(DETECTION_OUTPUTS, outputs, strict=True))

    specs = [
        tf.TensorSpec((1, len(anchors), count), tf.float32, name=name)
        for name, count in (("class_logits", len(model.class_names)), ("box_deltas", 4))
    ]
    return tf.function(run, input_signature=specs).get_concrete_function()


def _outputs(found: DetectionBatch, image_size):
    """Return `found`, in pixels, as the four outputs."""
    height, width = image_size
    x1, y1, x2, y2 = tf.unstack(found.boxes / [width, height, width, height], axis=-1)
    return (
        tf.stack([y1, x1, y2, x2], axis=-1),
        tf.cast(found.classes, tf.float32),
        found.scores,
        tf.cast(found.num, tf.float32),
    )


@dataclass(frozen=True)
class _OperatorPostProcessing(PlainPostProcessing):
    """Detections by the operator `TFLite_Detection_PostProcess`, one image at a time.

    It decodes relative to anchors without clipping and knows no top-k, so it is given decoded
    candidates, encoded again relative to unit squares. Its suppression per class loses a class
    when it runs on several threads (tensorflow/tensorflow#56058), so it is asked for the one over
    all. Source: tensorflow/lite/kernels/detection_postprocess.cc.
    """

    num_classes: int = 1

    def _suppress(self, boxes, scores, classes, squares: Squares | None):
        compared = boxes if squares is None else boxes + squares.shift(classes)
        x1, y1, x2, y2 = tf.unstack(compared, axis=-1)
        sides = [tf.math.log(tf.maximum(side, MIN_NORMAL)) for side in (y2 - y1, x2 - x1)]
        encoded = tf.stack([(y1 + y2) / 2, (x1 + x2) / 2, *sides], axis=-1)  # (1, M, 4)
        anchors = np.tile(np.array([0, 0, 1, 1], np.float32), (encoded.shape[1], 1))
        table = scores[..., None]  # (1, M, 1): where a box is says its class
        if squares is None:
            table *= tf.one_hot(classes, self.num_classes)
        boxes, classes, scores, num = self._operator(table.shape[2])(encoded, table, anchors)
        y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
        boxes = tf.stack([x1, y1, x2, y2], axis=-1)
        classes = tf.cast(classes, tf.int32)
        if squares is not None:
            classes = squares.classes(boxes)
            boxes -= squares.shift(classes)
        return DetectionBatch(boxes, scores, classes, tf.cast(num, tf.int32))

    def _operator(self, num_classes: int):
        """Return encoded boxes, scores and anchors -> boxes, classes, scores, num."""
        # It takes scores from the threshold on, the others beyond it; and wants an overlap > 0.
        score = max(np.nextafter(np.float32(self.score_threshold), np.float32(2)), MIN_NORMAL)
        attributes = {
            "max_detections": f"i: {self.max_detections}",
            "max_classes_per_detection": "i: 1",
            "use_regular_nms": "b: false",
            "nms_score_threshold": f"f: {score}",
            "nms_iou_threshold": f"f: {max(np.float32(self.nms_iou), MIN_NORMAL)}",
            "num_classes": f"i: {num_classes}",
        } | {f"{axis}_scale": "f: 1.0" for axis in "yxhw"}
        text = "".join(
            f' attr {{ key: "{key}" value {{ {value} }} }}' for key, value in attributes.items()
        )
        shapes = (1, self.max_detections, 4), (1, self.max_detections), (1, self.max_detections)

        # The converter puts the operator in the place of this function, by its name.
        @tf.function(experimental_implements=f'name: "TFLite_Detection_PostProcess"{text}')
        def post_process(encoded, scores, anchors):
            return (*(tf.zeros(shape) for shape in shapes), tf.zeros(1))

        return post_process
