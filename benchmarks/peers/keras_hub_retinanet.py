"""Train KerasHub's RetinaNet on BCCD as its guide trains one from an image encoder.

The guide is keras.io/keras_hub/guides/object_detection_retinanet, part "Custom training object
detector": pyramid P3 to P5 with `use_p5`, GroupNorm in the heads,
`RetinaNetImageConverter(scale=1/255)`, Adam of rate .001, mean absolute error (sum) as box loss,
up to 100 boxes an image. Anchors, matcher, focal loss and NMS are the defaults of KerasHub.

What differs, and why:
- The encoder starts from random weights: KerasHub's presets need the network. The guide allows
  that ("can also be instantiated without them"). It is a ResNet-18 (the architecture of its preset
  `resnet_18_imagenet`), because a ResNet-50 takes fewer steps in the same minutes.
- The images are resized to 416x312 and padded below to 416x320, as ours.
- The rate falls as a cosine over the minutes, as ours. In the guide it is constant.
- Half of the images are flipped, as with the others. The guide has no augmentation.
- Detections count from score .05 on, as with the others. KerasHub's default is .5, for drawing;
  it would cut the curve whose area the AP is.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import math
from collections.abc import Iterator

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from shared import (
    Found,
    LabeledImage,
    Split,
    TrainingClock,
    arguments,
    evaluate_snapshots,
    read_split,
    write_detections,
    write_facts,
)

SEED = 0
CLASSES = 3
RATE = 1e-3
FORMAT = "yxyx"
MAX_BOXES = 100
MIN_SCORE = 0.05
NEVER = 10**6  # steps


def canvas_size(sides: list[int]) -> tuple[int, int]:
    """Return height and width of the input, multiples of 32; all images are landscape."""
    height, width = (32 * math.ceil(side / 32) for side in sides)
    return height, width


def scale_of(image: LabeledImage, sides: list[int]) -> float:
    """Return the factor that fits an image into the short and the long side."""
    return min(sides[0] / image.height, sides[1] / image.width)


def build(sides: list[int]) -> keras_hub.models.RetinaNetObjectDetector:
    shape = (*canvas_size(sides), 3)
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[2, 2, 2, 2],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=shape,
    )
    backbone = keras_hub.models.RetinaNetBackbone(
        image_encoder=encoder, min_level=3, max_level=5, use_p5=True, image_shape=shape
    )
    converter = keras_hub.layers.RetinaNetImageConverter(scale=1 / 255)
    model = keras_hub.models.RetinaNetObjectDetector(
        backbone=backbone,
        num_classes=CLASSES,
        bounding_box_format=FORMAT,
        use_prediction_head_norm=True,
        preprocessor=keras_hub.models.RetinaNetObjectDetectorPreprocessor(
            image_converter=converter
        ),
    )
    model.prediction_decoder.confidence_threshold = MIN_SCORE
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=RATE),
        box_loss=keras.losses.MeanAbsoluteError(reduction="sum"),
    )
    return model


def inputs(image: LabeledImage, sides: list[int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return an image on the canvas, 0..255, and its labels there."""
    scale, canvas = scale_of(image, sides), canvas_size(sides)
    height, width = round(image.height * scale), round(image.width * scale)
    small = tf.image.resize(image.pixels(), (height, width))
    full = tf.image.pad_to_bounding_box(small, 0, 0, *canvas).numpy()
    boxes = image.boxes[:, [1, 0, 3, 2]] * np.float32(scale)
    return full, {"boxes": boxes, "labels": image.classes.astype(np.float32)}


def found(image: LabeledImage, output: dict[str, np.ndarray], sides: list[int]) -> Found:
    """Return what the network gave for an image, in the image's pixels."""
    number = int(output["num_detections"])
    boxes = output["boxes"][:number, [1, 0, 3, 2]] / scale_of(image, sides)
    boxes = boxes.clip(0, [image.width, image.height] * 2)
    return image.id, boxes, output["confidence"][:number], output["labels"][:number]


def flipped(image: tf.Tensor, labels: dict[str, tf.Tensor], width: int):
    """Return an image and its labels, mirrored or not."""
    top, left, bottom, right = tf.unstack(labels["boxes"], axis=-1)
    mirrored = tf.stack([top, width - right, bottom, width - left], axis=-1)
    flips = tf.random.uniform(()) < 0.5
    image = tf.where(flips, image[:, ::-1], image)
    return image, labels | {"boxes": tf.where(flips, mirrored, labels["boxes"])}


def padded(labels: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return labels of MAX_BOXES, filled with -1 as by `keras.layers.MaxNumBoundingBoxes`."""
    missing = MAX_BOXES - tf.shape(labels["labels"])[0]
    boxes = tf.pad(labels["boxes"], [[0, missing], [0, 0]], constant_values=-1)
    classes = tf.pad(labels["labels"], [[0, missing]], constant_values=-1)
    return {
        "boxes": tf.ensure_shape(boxes, (MAX_BOXES, 4)),
        "labels": tf.ensure_shape(classes, (MAX_BOXES,)),
    }


def batches(split: Split, sides: list[int], size: int) -> tf.data.Dataset:
    """Return batches without end; each image is decoded and resized once, in the first pass."""
    canvas = canvas_size(sides)
    spec = (
        tf.TensorSpec((*canvas, 3)),
        {"boxes": tf.TensorSpec((None, 4)), "labels": tf.TensorSpec((None,))},
    )
    images = tf.data.Dataset.from_generator(
        lambda: (inputs(image, sides) for image in split.images), output_signature=spec
    )
    images = images.cache().shuffle(len(split.images)).repeat()
    images = images.map(lambda image, labels: flipped(image, labels, canvas[1]))
    images = images.map(lambda image, labels: (image, padded(labels)))
    return images.batch(size, drop_remainder=True).prefetch(2)


class Snapshots(keras.callbacks.Callback):
    """Set the learning rate, save the weights at equal intervals, and end in time."""

    def __init__(self, args):
        super().__init__()
        self.args = args

    def on_train_begin(self, logs=None):
        self.clock = TrainingClock(self.args.minutes)

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = RATE * self.clock.cosine()

    def on_train_batch_end(self, batch, logs=None):
        self.clock.step(float(logs["loss"]))
        self.model.reset_metrics()  # else the loss is the mean of all steps
        if number := self.clock.due():
            self.model.save_weights(self.args.out / f"snapshot-{number}.weights.h5")
        self.model.stop_training = self.clock.done


def truths(split: Split, sides: list[int]) -> Iterator[Found]:
    """Yield the labels that the network learns, as if it had detected them."""
    for image in split.images:
        labels = inputs(image, sides)[1]
        number = len(labels["labels"])
        output = labels | {"confidence": np.ones(number), "num_detections": number}
        yield found(image, output, sides)


def main() -> None:
    args = arguments(__doc__.splitlines()[0]).parse_args()
    keras.utils.set_random_seed(SEED)
    val = read_split(args.data_dir, "val")
    write_detections(args.out / "check.json", truths(val, args.input), val.category_ids)
    model = build(args.input)
    train = batches(read_split(args.data_dir, "train"), args.input, args.batch_size)
    snapshots = Snapshots(args)
    model.fit(train, steps_per_epoch=NEVER, callbacks=[snapshots], verbose=0)
    version = f"KerasHub {keras_hub.__version__}, TensorFlow {tf.__version__}"
    write_facts(args, snapshots.clock, version=version, start="ResNet-18, random")

    def detect(number: int, split: Split) -> Iterator[Found]:
        model.load_weights(args.out / f"snapshot-{number}.weights.h5")
        for image in split.images:
            outputs = model.predict(inputs(image, args.input)[0][None], verbose=0)
            yield found(image, {name: values[0] for name, values in outputs.items()}, args.input)

    evaluate_snapshots(args.out, args.data_dir, snapshots.clock.snapshots, detect)


if __name__ == "__main__":
    main()
