"""Runs KerasHub's RetinaNet and writes tests/goldens/kerashub_{v1,v2}.npz.

In an environment of its own:
  pip install tensorflow-cpu==2.21 keras==3.15 keras-hub==0.32
  python tests/parity/kerashub_goldens.py [--keep FOLDER]
With --keep each model stays there as .weights.h5, .keras and preset folder.
"""

import argparse
import json
import tempfile
from pathlib import Path

import keras
import keras_hub
import numpy as np
from keras_files import GOLDENS, file_spec, golden_picture, seed_model

NUM_CLASSES = 3
SIDE = 192
# torchvision's, as KerasHub's own conversion script writes them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# "v1": what that script builds for torchvision v1, so P6 from P5. "v2": P6 from C5 and GroupNorm,
# here with the pyramid's batch norms, which no published preset has, and a ResNet of basic blocks.
VARIANTS = {
    "v1": {
        "blocks": ([3, 4, 6, 3], "bottleneck_block"),
        "backbone": {"use_p5": False},
        "detector": {},
        "class_gain": 0.32,
    },
    "v2": {
        "blocks": ([2, 2, 2, 2], "basic_block"),
        "backbone": {"use_p5": True, "use_fpn_batch_norm": True},
        "detector": {"use_prediction_head_norm": True},
        "class_gain": 1.7,
    },
}


def build(variant):
    blocks, kind = variant["blocks"]
    encoder = keras_hub.models.ResNetBackbone(
        [64], [7], [64, 128, 256, 512], blocks, [1, 2, 2, 2], kind
    )
    backbone = keras_hub.models.RetinaNetBackbone(
        image_encoder=encoder, min_level=3, max_level=7, **variant["backbone"]
    )
    converter = keras_hub.layers.RetinaNetImageConverter(
        image_size=(SIDE, SIDE),
        pad_to_aspect_ratio=True,
        crop_to_aspect_ratio=False,
        scale=[1 / 255 / std for std in STD],
        offset=[-mean / std for mean, std in zip(MEAN, STD, strict=True)],
    )
    return keras_hub.models.RetinaNetObjectDetector(
        backbone=backbone,
        num_classes=NUM_CLASSES,
        bounding_box_format="xyxy",
        preprocessor=keras_hub.models.RetinaNetObjectDetectorPreprocessor(
            image_converter=converter
        ),
        **variant["detector"],
    )


def parts_of(model):
    fpn = model.backbone.feature_pyramid
    laterals = [*fpn.lateral_conv_layers.values(), *fpn.lateral_batch_norm_layers.values()]
    outputs = [*fpn.output_conv_layers.values(), *fpn.output_batch_norms.values()]
    heads = {"box_head": model.box_head, "class_head": model.classification_head}
    towers = {
        part: [*head.conv_layers, *head.group_norm_layers, head.prediction_layer]
        for part, head in heads.items()
    }
    layers = {"backbone": model.backbone.image_encoder.layers, "fpn": laterals + outputs, **towers}
    return {part: {layer.name: layer for layer in found} for part, found in layers.items()}


def run(name, variant, folder):
    keras.utils.set_random_seed(0)
    model = build(variant)
    names = seed_model(parts_of(model), variant["class_gain"])
    path = folder / f"kerashub_{name}.weights.h5"
    model.save_weights(path)
    model.save(folder / f"kerashub_{name}.keras")
    model.save_to_preset(str(folder / f"kerashub_{name}_preset"))
    # float32: its padding fails on uint8.
    network_input = np.asarray(model.preprocessor(golden_picture()[None].astype(np.float32)))
    outputs = {key: np.asarray(value) for key, value in model(network_input).items()}
    found = {
        key: np.asarray(value)[0]
        for key, value in model.decode_predictions(outputs, network_input).items()
    }
    kept = slice(0, int(found["num_detections"]))
    anchors = np.concatenate(
        [np.asarray(a) for a in model.anchor_generator(network_input).values()]
    )
    grey = network_input[0] * np.float32(STD) + np.float32(MEAN)
    np.savez_compressed(
        GOLDENS / f"kerashub_{name}.npz",
        spec=json.dumps(file_spec(path, names)),
        # As config.json of the .keras file has it.
        config=model.to_json(),
        num_classes=NUM_CLASSES,
        class_gain=variant["class_gain"],
        side=SIDE,
        # 0..255; a 16th of a grey level is 16 times finer than what the test asks.
        network_input=(grey * 255).astype(np.float16),
        class_logits=outputs["cls_logits"][0],
        box_deltas=outputs["bbox_regression"][0],
        anchors=anchors,
        # xyxy in pixels of the network input, as KerasHub gives them.
        detection_boxes=found["boxes"][kept],
        detection_scores=found["confidence"][kept],
        detection_labels=found["labels"][kept],
    )
    logits = outputs["cls_logits"][0]
    print(
        f"{name}: {len(logits)} anchors, logits {logits.mean():.2f} +- {logits.std():.2f}, deltas "
        f"+- {outputs['bbox_regression'].std():.2f}, {(logits.max(1) > 0).sum()} above .5, "
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
