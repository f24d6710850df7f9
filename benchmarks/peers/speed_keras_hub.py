"""Time KerasHub's RetinaNet: its ResNet-50 preset's architecture, pyramid P3 to P7, 91 classes.

"detect" is `predict` of the whole task, as a user calls it; "train" and "train_all" are steps
of `fit`'s own function, with the stem, the first stage and all batch norms frozen or everything
trained; "_bfloat16" the same with Keras's mixed precision. Weights are random, the statistics of
the batch norms their initial values.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from turns import CLASSES, THRESHOLD, arguments, image, scale_and_bias, serve, truths


def build(args) -> keras_hub.models.RetinaNetObjectDetector:
    """Return the detector, with so many candidates as asked for."""
    shape = (args.size, args.size, 3)
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=shape,
    )
    backbone = keras_hub.models.RetinaNetBackbone(
        image_encoder=encoder, min_level=3, max_level=7, use_p5=False, image_shape=shape
    )
    model = keras_hub.models.RetinaNetObjectDetector(
        backbone=backbone,
        num_classes=CLASSES,
        bounding_box_format="yxyx",
        preprocessor=None,
    )
    model.prediction_decoder.confidence_threshold = THRESHOLD
    last = class_layer(model)
    kernel, _ = last.get_weights()
    last.set_weights([kernel, np.zeros(last.bias.shape, np.float32)])
    logits = network(model, batch(args))
    scale, bias = scale_and_bias(logits, args.candidates)
    last.set_weights([kernel * scale, np.full(last.bias.shape, bias, np.float32)])
    return model


def class_layer(model) -> keras.layers.Layer:
    """Return the last convolution of the class head."""
    heads = [part for part in model._flatten_layers() if part.name == "classification_head"]
    return next(layer for layer in heads[0]._layers if layer.name == "logits_layer")


def network(model, images: np.ndarray) -> np.ndarray:
    """Return the class logits."""
    return np.asarray(model(images, training=False)["cls_logits"], np.float32)


def batch(args) -> np.ndarray:
    pixels = (image(args.size) / 255 - 0.45) / 0.225
    return np.tile(pixels[None].astype(np.float32), (args.batch_size, 1, 1, 1))


def freeze(model) -> None:
    """Freeze all batch norms, and the stem and the first stage."""
    for layer in model.backbone._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
        if layer.name.startswith(("conv1", "stack0")):
            layer.trainable = False


def training_step(args, model):
    """Return a function that takes a step, built as `fit` builds its own."""
    model.compile(optimizer=keras.optimizers.SGD(1e-4, momentum=0.9), box_loss="mae")
    boxes, classes = truths(args.size, args.batch_size)
    labels = {"boxes": boxes[..., [1, 0, 3, 2]], "labels": classes.astype(np.float32)}
    data = tf.data.Dataset.from_tensors((batch(args), labels)).repeat()
    iterator = iter(data)
    model.make_train_function()
    return lambda: float(model.train_function(iterator)["loss"])


def main() -> None:
    jobs = ["detect", "train", "train_all", "train_bfloat16", "train_all_bfloat16"]
    args = arguments(__doc__.splitlines()[0], jobs).parse_args()
    keras.utils.set_random_seed(0)
    if args.job.endswith("bfloat16"):
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = build(args)
    facts = {"version": f"KerasHub {keras_hub.__version__}, TensorFlow {tf.__version__}"}
    if args.job == "detect":
        images = batch(args)
        found = model.predict(images, verbose=0)
        facts["detections"] = int(found["num_detections"][0])
        serve(lambda: model.predict(images, verbose=0), **facts)
        return
    if "all" not in args.job:
        freeze(model)
    serve(training_step(args, model), **facts)


if __name__ == "__main__":
    main()
