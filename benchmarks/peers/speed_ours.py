"""Time this package's RetinaNet with ResNet-50: 91 classes, the backbone weights that all share.

"saved_model" and "saved_model_bfloat16" are exported folders as applications call them, from a
uint8 image to detections; "network" is the first without post-processing, "detect" is
`model.detect` in Python. "train" and "train_all" are steps
of `fit`'s own function with SGD, with the stem, the first stage and all batch norms frozen or
everything trained; "_bfloat16" the same in mixed precision.

Where nothing trains, TensorFlow is told that weights never change, as `predict` tells it and the
documentation advises applications.
"""

import os

import keras
import numpy as np
import tensorflow as tf
from turns import CLASSES, arguments, image, scale_and_bias, serve, truths

import keras_retinanet
from keras_retinanet import load_config, retinanet
from keras_retinanet.exporting import export_saved_model
from keras_retinanet.modeling import RetinaNet

BACKBONE = "resnet50.pth"


def build(args, *, frozen: bool) -> RetinaNet:
    """Return the detector, with so many candidates as asked for."""
    changes = {
        "model.backbone.freeze_bn": frozen,
        "model.backbone.frozen_stages": 2 if frozen else 0,
        "model.preprocessing.short_side": args.size,
        "model.preprocessing.long_side": args.size,
    }
    config = load_config("retinanet_r50_coco_800", changes).model
    model = retinanet("resnet50", CLASSES, weights=str(args.files / BACKBONE), config=config)
    last = class_layer(model)
    kernel, bias = last.get_weights()
    last.set_weights([kernel, np.zeros_like(bias)])
    network = tf.function(lambda images: model(images, training=False)["class_logits"])
    logits = network(batch(args)).numpy()
    scale, shift = scale_and_bias(logits.astype(np.float32), args.candidates)
    last.set_weights([kernel * scale, np.full_like(bias, shift)])
    return model


def class_layer(model: RetinaNet) -> keras.layers.Layer:
    """Return the last convolution of the class head."""
    return next(layer for layer in model.class_head.layers if layer.name == "final")


def batch(args) -> np.ndarray:
    return np.tile(image(args.size)[None].astype(np.float32), (args.batch_size, 1, 1, 1))


def training_data(args) -> tf.data.Dataset:
    boxes, classes = truths(args.size, args.batch_size)
    labels = {"boxes": boxes, "classes": classes.astype(np.int32)}
    return tf.data.Dataset.from_tensors((batch(args), labels)).repeat()


def training_step(args, model: RetinaNet):
    """Return a function that takes a step, built as `fit` builds its own."""
    model.compile(optimizer=keras.optimizers.SGD(1e-4, momentum=0.9))
    iterator = iter(training_data(args))
    model.make_train_function()
    return lambda: float(model.train_function(iterator)["loss"])


def exported(args, model: RetinaNet):
    """Return a function that calls a signature of an exported folder."""
    precision = "bfloat16" if args.job.endswith("bfloat16") else "float32"
    folder = args.files / f"ours-{args.job}-{args.candidates}"
    export_saved_model(model, folder, precision=precision, say=lambda _: None)
    loaded = tf.saved_model.load(str(folder))
    is_network = args.job.startswith("network")
    call = loaded.signatures["raw" if is_network else "serving_default"]
    images = batch(args) if is_network else batch(args).astype(np.uint8)

    def step(loaded=loaded) -> dict[str, np.ndarray]:  # its weights live as long as it does
        return {name: part.numpy() for name, part in call(tf.constant(images)).items()}

    return step


def main() -> None:
    training = ["train", "train_all", "train_bfloat16", "train_all_bfloat16"]
    inference = ["saved_model", "saved_model_bfloat16", "network", "network_bfloat16", "detect"]
    args = arguments(__doc__.splitlines()[0], inference + training).parse_args()
    if args.job not in training:
        os.environ["TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"] = "1"  # read at the first convolution
    keras.utils.set_random_seed(0)
    if args.job in training and args.job.endswith("bfloat16"):
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = build(args, frozen="all" not in args.job)
    version = f"keras_retinanet {keras_retinanet.__version__}, TensorFlow {tf.__version__}"
    if args.job in training:
        step = training_step(args, model)
    elif args.job == "detect":
        pictures = [image(args.size)] * args.batch_size
        step = lambda: model.detect(pictures, batch_size=args.batch_size)  # noqa: E731
    else:
        step = exported(args, model)
    found = len(model.detect(image(args.size))[0].boxes) if args.job not in training else 0
    serve(step, version=version, detections=found)


if __name__ == "__main__":
    main()
