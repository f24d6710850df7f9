"""Runs KerasCV's RetinaNet and writes tests/goldens/kerascv_{r50,r18}.npz.

In an environment of its own:
  pip install tensorflow-cpu==2.21 keras==3.15 keras-cv==0.9.0
  python tests/parity/kerascv_goldens.py [--keep FOLDER]
With --keep each model stays there as .weights.h5, .keras and .h5.
"""

import argparse
import json
import tempfile
from pathlib import Path

import keras
import keras_cv
import numpy as np
from keras_files import GOLDENS, file_spec, golden_picture, seed_model

NUM_CLASSES = 3
SIDE = 192
VARIANTS = {
    "r50": {"blocks": ([3, 4, 6, 3], "block"), "class_gain": 0.58},
    "r18": {"blocks": ([2, 2, 2, 2], "basic_block"), "class_gain": 0.42},
}


def build(variant):
    blocks, kind = variant["blocks"]
    backbone = keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=blocks,
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=True,
        block_type=kind,
    )
    return keras_cv.models.RetinaNet(
        backbone=backbone, num_classes=NUM_CLASSES, bounding_box_format="xyxy"
    )


def parts_of(model):
    fpn = model.feature_pyramid
    convs = [f"conv_c{level}_{size}" for level in (3, 4, 5) for size in ("1x1", "3x3")]
    convs += ["conv_c6_3x3", "conv_c7_3x3"]
    parts = {
        "backbone": {layer.name: layer for layer in model.backbone.layers},
        "fpn": {name: getattr(fpn, name) for name in convs},
    }
    for part, head in (("box_head", model.box_head), ("class_head", model.classification_head)):
        tower = {f"conv{i}": conv for i, conv in enumerate(head.conv_layers, start=1)}
        parts[part] = tower | {"prediction_layer": head.prediction_layer}
    return parts


def run(name, variant, folder):
    keras.utils.set_random_seed(0)
    model = build(variant)
    names = seed_model(parts_of(model), variant["class_gain"])
    path = folder / f"kerascv_{name}.weights.h5"
    model.save_weights(path)
    model.save(folder / f"kerascv_{name}.keras")
    model.save(folder / f"kerascv_{name}.h5")
    # What KerasCV's guides and training script do with a picture, at 640 there.
    resizing = keras_cv.layers.Resizing(SIDE, SIDE, pad_to_aspect_ratio=True)
    network_input = np.asarray(resizing(golden_picture()[None]), np.float32)
    outputs = {key: np.asarray(value) for key, value in model({"images": network_input}).items()}
    found = {
        key: np.asarray(value)[0]
        for key, value in model.decode_predictions(outputs, network_input).items()
    }
    kept = slice(0, int(found["num_detections"]))
    anchors = model.anchor_generator(image_shape=network_input.shape[1:]).values()
    logits = outputs["classification"][0]
    np.savez_compressed(
        GOLDENS / f"kerascv_{name}.npz",
        spec=json.dumps(file_spec(path, names)),
        # As config.json of the .keras file has it.
        config=model.to_json(),
        # The names that model.save gives in the older .h5, of the same weights.
        spec_h5=json.dumps(file_spec(folder / f"kerascv_{name}.h5", names)),
        num_classes=NUM_CLASSES,
        class_gain=variant["class_gain"],
        side=SIDE,
        # 0..255; a 16th of a grey level is 16 times finer than what the test asks.
        network_input=network_input[0].astype(np.float16),
        class_logits=logits,
        box_deltas=outputs["box"][0],
        anchors=np.concatenate([np.asarray(level) for level in anchors]),
        # xyxy in pixels of the network input, as KerasCV gives them.
        detection_boxes=found["boxes"][kept],
        detection_scores=found["confidence"][kept],
        detection_labels=found["classes"][kept],
    )
    print(
        f"{name}: {len(logits)} anchors, logits {logits.mean():.2f} +- {logits.std():.2f}, deltas "
        f"+- {outputs['box'].std():.2f}, {(logits.max(1) > 0).sum()} above .5, "
        f"{kept.stop} detections"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, default=None)
    folder = parser.parse_args().keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    for name, variant in VARIANTS.items():
        run(name, variant, folder)


if __name__ == "__main__":
    main()
