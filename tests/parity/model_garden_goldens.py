"""Runs TensorFlow Model Garden 2.20 and writes tests/goldens/model_garden_r50.npz.

In an environment of its own (Python 3.11):
  pip install "tensorflow-cpu==2.20.*" "tf-keras==2.20.*" opencv-python-headless pyyaml \
      gin-config tensorflow-hub pillow pycocotools six tensorflow_datasets matplotlib scipy
  pip install --no-deps "tensorflow-text==2.20.*" "tf-models-official==2.20.*"
  python tests/parity/model_garden_goldens.py [--checkpoint PREFIX]
Also writes tests/goldens/layouts/model_garden_resnet50fpn.txt: name and shape of every number
in a checkpoint of `retinanet_resnetfpn_coco` as its trainer writes it. With --checkpoint
the small golden model's checkpoint is kept too.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

from official.core import base_trainer, exp_factory  # noqa: E402
from official.vision.ops import preprocess_ops  # noqa: E402
from official.vision.tasks.retinanet import RetinaNetTask  # noqa: E402
from seeded_keras import seeded  # noqa: E402

NUM_CLASSES = 21  # background and 20
CLASS_GAIN = 0.4
SIDE = 128  # of the square input; 640 in the published configuration


def trained(num_classes, side):
    """Return (model, checkpoint object) of the published configuration, slots created."""
    experiment = exp_factory.get_exp_config("retinanet_resnetfpn_coco")
    experiment.task.model.num_classes = num_classes
    experiment.task.model.input_size = [side, side, 3]
    task = RetinaNetTask(experiment.task)
    model = task.build_model()
    model(tf.zeros((1, side, side, 3)), tf.constant([[side, side]], tf.float32), training=False)
    optimizer = task.create_optimizer(experiment.trainer.optimizer_config)
    optimizer._create_all_weights(model.trainable_variables)
    trainer = base_trainer.Trainer(
        experiment, task, model=model, optimizer=optimizer, train=True, evaluate=False,
        train_dataset=tf.data.Dataset.range(1),
    )  # fmt: skip
    return model, trainer.checkpoint


def tensors_of(prefix):
    """Return {name: (shape, type)} of a checkpoint, in the order of the names."""
    reader = tf.train.load_checkpoint(prefix)
    types = reader.get_variable_to_dtype_map()
    shapes = reader.get_variable_to_shape_map()
    return {name: (list(shapes[name]), types[name].name) for name in sorted(shapes)}


def is_weight(name):
    return name.startswith(("backbone/", "decoder/", "head/")) and "OPTIMIZER_SLOT" not in name


def write_seeded(prefix, template):
    """Write a checkpoint like `template` at `prefix`, with seeded weights."""
    reader = tf.train.load_checkpoint(template)
    names = list(tensors_of(template))
    values = [
        tf.constant(
            seeded(name, tuple(reader.get_tensor(name).shape), CLASS_GAIN)
            if is_weight(name)
            else reader.get_tensor(name)
        )
        for name in names
    ]
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names),
                      tensors=values)  # fmt: skip


def network_input(image):
    """Return what Model Garden's evaluation feeds, (1, SIDE, SIDE, 3), and its image_info."""
    image = preprocess_ops.normalize_image(tf.constant(image))
    padded = preprocess_ops.compute_padded_size([SIDE, SIDE], 2**7)
    image, info = preprocess_ops.resize_and_crop_image(image, [SIDE, SIDE], padded_size=padded)
    return image[None], info[None]


def flat(levels, last):
    """Return {"3": (1, h, w, A * last), ...} as (R, last)."""
    return np.concatenate([levels[str(i)].numpy().reshape(-1, last) for i in range(3, 8)])


def write_layout(folder):
    prefix = str(folder / "published")
    _, checkpoint = trained(91, 640)
    lines = [
        " ".join(map(str, [name, *shape]))
        for name, (shape, kind) in tensors_of(checkpoint.write(prefix)).items()
        if kind != "string"
    ]
    layout = GOLDENS / "layouts" / "model_garden_resnet50fpn.txt"
    layout.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path)
    folder = Path(tempfile.mkdtemp())
    prefix = str(parser.parse_args().checkpoint or folder / "seeded")
    write_layout(folder)
    model, checkpoint = trained(NUM_CLASSES, SIDE)
    write_seeded(prefix, checkpoint.write(str(folder / "untrained")))
    checkpoint.read(prefix).assert_consumed()
    with np.load(GOLDENS / "torchvision_v1.npz") as stored:
        images, info = network_input(stored["image"])
    # Boxes are cut at the square canvas, and moved back by image_info alone.
    outputs = model(images, image_shape=info[:, 1, :], training=False)
    count = int(outputs["num_detections"][0])
    boxes = outputs["detection_boxes"].numpy()[0, :count] / np.tile(info[0, 2], 2)
    np.savez_compressed(
        GOLDENS / "model_garden_r50.npz",
        spec=json.dumps([[k, s] for k, (s, _) in tensors_of(prefix).items() if is_weight(k)]),
        num_classes=NUM_CLASSES,
        class_gain=CLASS_GAIN,
        side=SIDE,
        # 0..255 RGB, padding included.
        network_input=(
            (images[0].numpy() * preprocess_ops.STDDEV_RGB) + preprocess_ops.MEAN_RGB
        ).astype(np.float16),
        class_logits=flat(outputs["cls_outputs"], NUM_CLASSES),
        box_deltas=flat(outputs["box_outputs"], 4),
        detection_boxes=boxes[:, [1, 0, 3, 2]].astype(np.float32),
        detection_scores=outputs["detection_scores"].numpy()[0, :count],
        detection_labels=outputs["detection_classes"].numpy()[0, :count],
    )
    scores = outputs["detection_scores"].numpy()[0, :count]
    print(f"{count} detections, scores {scores.min():.3f}..{scores.max():.3f}")


if __name__ == "__main__":
    main()
