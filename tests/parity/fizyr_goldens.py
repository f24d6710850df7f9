"""Runs keras-retinanet 1.0.0 and writes tests/goldens/fizyr_r50.npz.

Also writes tests/goldens/layouts/fizyr_resnet{50,101,152}.txt: name and shape of every tensor of
its training models of 80 classes, those of the published files (500 classes have a wider
pyramid_classification).

In an environment of its own (Python 3.11):
  pip install "tensorflow-cpu==2.19.*" "tf-keras==2.19.*" opencv-python-headless progressbar2 \
      pillow cython "setuptools<80" wheel
  pip install --no-deps keras-resnet==0.2.0
  pip install --no-deps --no-build-isolation keras-retinanet==1.0.0
  python tests/parity/fizyr_goldens.py [--h5 FILE]
With --h5 the training model, as keras-retinanet saves it, is kept too.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import h5py
import numpy as np
import tf_keras

sys.modules["keras"] = tf_keras
for module in ("backend", "layers", "models", "regularizers"):
    sys.modules[f"keras.{module}"] = getattr(tf_keras, module)

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

from keras_retinanet.utils.image import resize_image  # noqa: E402
from seeded_keras import seeded  # noqa: E402

from keras_retinanet import models  # noqa: E402

NUM_CLASSES = 20
CLASS_GAIN = 0.15
MIN_SIDE, MAX_SIDE = 128, 213
CAFFE_MEAN = (103.939, 116.779, 123.68)  # keras-retinanet's `preprocess_image`, BGR


def weight_shapes(path):
    """Return ([[dataset name, shape], ...], layer names) of a saved model's weights."""
    found = []
    with h5py.File(path) as file:
        weights = file["model_weights"]
        weights.visititems(
            lambda name, node: (
                found.append([name, list(node.shape)]) if isinstance(node, h5py.Dataset) else None
            )
        )
        names = [name if isinstance(name, str) else name.decode() for name in layer_names(weights)]
    return found, names


def layer_names(group):
    if "layer_names" in group.attrs:
        return list(group.attrs["layer_names"])
    chunks = [key for key in group.attrs if key.startswith("layer_names")]
    return [name for key in sorted(chunks) for name in group.attrs[key]]


def seeded_model(path):
    """Save the training model with seeded weights at `path`, as keras-retinanet does; load it."""
    backbone = models.backbone("resnet50")
    backbone.retinanet(NUM_CLASSES).save(path)
    with h5py.File(path, "r+") as file:
        for name, shape in weight_shapes(path)[0]:
            file["model_weights"][name][...] = seeded(name, tuple(shape), CLASS_GAIN)
    return backbone, models.load_model(path, backbone_name="resnet50")


def write_layouts():
    for depth in (50, 101, 152):
        model = models.backbone(f"resnet{depth}").retinanet(80)
        path = Path(tempfile.mkdtemp()) / "model.h5"
        model.save(path)
        lines = [" ".join(map(str, [name, *shape])) for name, shape in weight_shapes(path)[0]]
        layout = GOLDENS / "layouts" / f"fizyr_resnet{depth}.txt"
        layout.write_text("\n".join(lines) + "\n", encoding="utf-8")
        path.unlink()


def raw_outputs(model, network_input):
    """Return the class logits (R, K), before the sigmoid that ends keras-retinanet's head."""
    levels = [model.get_layer(name).output for name in ("P3", "P4", "P5", "P6", "P7")]
    features = tf_keras.Model(model.inputs, levels).predict(network_input, verbose=0)
    head = model.get_layer("classification_submodel")
    logits = tf_keras.Model(head.inputs, head.get_layer("pyramid_classification_reshape").output)
    return np.concatenate([logits.predict(level, verbose=0) for level in features], axis=1)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--h5", type=Path)
    path = parser.parse_args().h5 or Path(tempfile.mkdtemp()) / "fizyr_r50.h5"
    write_layouts()
    with np.load(GOLDENS / "torchvision_v1.npz") as stored:
        image = stored["image"]  # RGB
    backbone, model = seeded_model(path)
    preprocessed = backbone.preprocess_image(image[..., ::-1])
    resized, scale = resize_image(preprocessed, MIN_SIDE, MAX_SIDE)
    network_input = resized[None]
    deltas, _ = model.predict(network_input, verbose=0)
    inference = models.convert_model(model)
    boxes, scores, labels = (output[0] for output in inference.predict(network_input, verbose=0))
    spec, names = weight_shapes(path)
    kept = labels >= 0
    np.savez_compressed(
        GOLDENS / "fizyr_r50.npz",
        spec=json.dumps(spec),
        layer_names=json.dumps(names),
        num_classes=NUM_CLASSES,
        class_gain=CLASS_GAIN,
        min_size=MIN_SIDE,
        max_size=MAX_SIDE,
        # 0..255 BGR; a 16th of a grey level is 16 times finer than what the test asks.
        network_input=(resized + np.float32(CAFFE_MEAN)).astype(np.float16),
        class_logits=raw_outputs(model, network_input),
        box_deltas=deltas[0],
        detection_boxes=boxes[kept] / scale,
        detection_scores=scores[kept],
        detection_labels=labels[kept],
    )
    print(f"{kept.sum()} detections, scores {scores[kept].min():.3f}..{scores[kept].max():.3f}")


if __name__ == "__main__":
    main()
