"""Rebuild tests/goldens/detectron2_r50.npz by running detectron2's own RetinaNet.

    python tests/parity/detectron2_goldens.py --detectron2 CHECKOUT [--out DIR]

In an environment of its own:
  pip install torch==2.13.0 fvcore iopath omegaconf hydra-core pycocotools cloudpickle termcolor
      yacs tabulate matplotlib tqdm pillow
  pip install --no-deps torchvision==0.28.0
and a checkout of github.com/facebookresearch/detectron2 at 02b5c4e2. It needs no build: RetinaNet
uses none of its compiled operators. Picture, boxes and sizes are those of the stored golden.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torchvision_goldens import (
    CHANNEL_STEP,
    COPIED,
    GOLDENS,
    PIXEL_STEP,
    define_operators,
    fill,
    spec_text,
    tell_differences,
)

CONFIG = "COCO-Detection/retinanet_R_50_FPN_1x.yaml"
NAME = "detectron2_r50.npz"


def build(checkout: Path) -> torch.nn.Module:
    """The model of CONFIG with random weights, on the CPU."""
    sys.path.insert(0, str(checkout))
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    config = get_cfg()
    config.merge_from_file(str(checkout / "configs" / CONFIG))
    config.MODEL.DEVICE, config.MODEL.WEIGHTS = "cpu", ""
    return build_model(config)


def golden(model: torch.nn.Module, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All that the file holds, for the picture and sizes of `stored`."""
    from detectron2.data.transforms import AugInput, ResizeShortestEdge
    from detectron2.structures import Boxes, Instances, pairwise_iou
    from detectron2.utils.events import EventStorage

    spec = fill(model, float(stored["class_gain"]))
    height, width = stored["image"].shape[:2]
    side = int(stored["min_size"])
    view = AugInput(stored["image"][:, :, ::-1], boxes=stored["gt_boxes"].astype("float32"))
    ResizeShortestEdge([side, side], int(stored["max_size"]))(view)
    target = Instances(view.image.shape[:2])
    target.gt_boxes = Boxes(torch.from_numpy(np.asarray(view.boxes, np.float32)))
    target.gt_classes = torch.from_numpy(stored["gt_labels"])
    image = torch.from_numpy(np.ascontiguousarray(view.image.transpose(2, 0, 1)))
    inputs = [{"image": image, "height": height, "width": width, "instances": target}]
    with torch.no_grad():
        pixels = model.preprocess_image(inputs).tensor
        maps = model.backbone(pixels)
        levels = [maps[name] for name in model.head_in_features]
        logits, deltas = model._transpose_dense_predictions(
            model.head(levels), [model.num_classes, 4]
        )
        anchors = Boxes.cat(model.anchor_generator(levels))
        matches, labels = model.anchor_matcher(pairwise_iou(target.gt_boxes, anchors))
        matches = matches.masked_fill(labels == 0, -1).masked_fill(labels == -1, -2)
        model.train()
        with EventStorage():
            losses = model(inputs)
        model.eval()
        found = model(inputs)[0]["instances"]
    sample = {
        f"p{level}_sample": features[0, ::CHANNEL_STEP].permute(1, 2, 0)
        for level, features in enumerate(levels, 3)
    }
    arrays = {
        "network_input_sample": pixels[0, :, ::PIXEL_STEP, ::PIXEL_STEP].permute(1, 2, 0),
        "class_logits": torch.cat(logits, 1)[0],
        "box_deltas": torch.cat(deltas, 1)[0],
        "anchors": anchors.tensor,
        **sample,
        "detection_boxes": found.pred_boxes.tensor,
        "detection_scores": found.scores,
        "detection_labels": found.pred_classes,
        "match_index": matches,
        "gt_boxes_network": target.gt_boxes.tensor,
    }
    return {
        **{name: stored[name] for name in COPIED},
        **{name: array.numpy() for name, array in arrays.items()},
        "resized_bgr": view.image,
        "spec": spec_text(spec),
        "network_input_shape": np.array(pixels.shape),
        "anchor_index": np.arange(len(anchors)),
        "num_anchors": np.array(len(anchors)),
        "loss_classification": np.array(float(losses["loss_cls"])),
        "loss_box": np.array(float(losses["loss_box_reg"])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--detectron2", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--out", type=Path, default=GOLDENS)
    args = parser.parse_args()
    library = define_operators()  # registered for as long as it is held
    with np.load(GOLDENS / NAME) as file:
        stored = {key: file[key] for key in file.files}
    rebuilt = golden(build(args.detectron2), stored)
    tell_differences(NAME, stored, rebuilt)
    np.savez_compressed(args.out / NAME, **{key: rebuilt[key] for key in stored})
    del library


if __name__ == "__main__":
    main()
