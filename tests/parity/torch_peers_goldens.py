"""Runs MMDetection, odtk and yhenon and writes tests/goldens/{mmdet,odtk,yhenon}_*.npz and layouts.

See `torch_peers` for what to install, then
  python tests/parity/torch_peers_goldens.py --odtk CHECKOUT --yhenon CHECKOUT
A layout is what the peer's own model has in its state dict; a golden is what that model, of five
classes and with seeded weights, gives for a picture of noise.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch_peers

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
from goldens.seeded_peers import LAYOUTS, layout_text, seeded_peer  # noqa: E402

CLASSES = 5
MMDET_LAYOUTS = {
    "r18": "retinanet_r18_fpn_1x_coco",
    "r50": "retinanet_r50_fpn_1x_coco",
    "r101": "retinanet_r101_fpn_1x_coco",
    "x101_32x4d": "retinanet_x101-32x4d_fpn_1x_coco",
    "x101_64x4d": "retinanet_x101-64x4d_fpn_1x_coco",
}
MMDET_GOLDENS = {
    "r18": ("retinanet_r18_fpn_1x_coco", 0.3),
    "r50_caffe": ("retinanet_r50-caffe_fpn_1x_coco", 0.4),
}


def picture():
    """Blocks of noise, so that resizing leaves something of it."""
    blocks = np.random.default_rng(4).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 9, 1), np.uint8))[:91, :139]


def shapes_of(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def load(model, *, class_gain, raw_pixels=False):
    tensors = seeded_peer(shapes_of(model), class_gain=class_gain, raw_pixels=raw_pixels)
    model.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    model.eval()
    return {"class_gain": class_gain, "spec": json.dumps(list(shapes_of(model).items()))}


def rows(maps, per_anchor):
    """(1, A*K, h, w) of each level -> (R, K), as each of the peers lays them out."""
    parts = [m[0].permute(1, 2, 0).reshape(-1, per_anchor) for m in maps]
    return torch.cat(parts).numpy()


def write(name, **arrays):
    path = TESTS / "goldens" / f"{name}.npz"
    np.savez_compressed(path, **arrays)
    print(path.name, path.stat().st_size, "bytes,", len(arrays["scores"]), "detections")


def mmdet_models(registry, folder, config_name, classes=80):
    from mmengine import Config

    config = Config.fromfile(f"{folder}/{config_name}.py")
    config.model.backbone.init_cfg = None
    config.model.bbox_head.num_classes = classes
    return registry.build(config.model), config


def mmdet_golden(registry, folder, name, config_name, class_gain):
    import mmcv

    model, config = mmdet_models(registry, folder, config_name, CLASSES)
    facts = load(model, class_gain=class_gain, raw_pixels="caffe" in name)
    image = picture()
    resized = mmcv.imrescale(np.ascontiguousarray(image[..., ::-1]), (96, 64))
    data = {"inputs": [torch.tensor(resized).permute(2, 0, 1)], "data_samples": None}
    inputs = model.data_preprocessor(data)["inputs"]
    scale = (resized.shape[1] / image.shape[1], resized.shape[0] / image.shape[0])
    meta = {"img_shape": resized.shape[:2], "scale_factor": scale}
    logits, deltas = model.bbox_head(model.extract_feat(inputs))
    found = model.bbox_head.predict_by_feat(
        logits, deltas, batch_img_metas=[meta], cfg=model.test_cfg, rescale=True
    )[0]
    sizes = [level.shape[2:] for level in logits]
    anchors = model.bbox_head.prior_generator.grid_priors(sizes, device="cpu")
    write(
        f"mmdet_{name}",
        image=image,
        config=config.pretty_text,
        network_input=inputs[0].permute(1, 2, 0).numpy(),
        class_logits=rows(logits, CLASSES),
        box_deltas=rows(deltas, 4),
        anchors=torch.cat(anchors).numpy(),
        boxes=found.bboxes.numpy(),
        scores=found.scores.numpy(),
        labels=found.labels.numpy(),
        **facts,
    )


def odtk_input(image):
    """odtk/data.py: CocoDataset.__getitem__ at `--resize 64 --max-size 96`, its own lines."""
    from PIL import Image

    picture = Image.fromarray(image)
    ratio = min(64 / min(picture.size), 96 / max(picture.size))
    picture = picture.resize([int(ratio * side) for side in picture.size], Image.BILINEAR)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    data = ((np.asarray(picture) / 255 - mean) / std).astype(np.float32)
    pads = [(0, -side % 128) for side in data.shape[:2]]
    return np.pad(data, (*pads, (0, 0))), ratio


def odtk_golden(module, class_gain):
    from odtk.box import generate_anchors

    model = module.Model("ResNet18FPN", classes=CLASSES)
    facts = load(model, class_gain=class_gain)
    image = picture()
    data, ratio = odtk_input(image)
    inputs = torch.tensor(data).permute(2, 0, 1)[None]
    features = model.backbones["ResNet18FPN"](inputs)
    scores, boxes, labels = model(inputs)
    kept = scores[0] > 0
    cells = [generate_anchors(s, model.ratios, model.scales).numpy() for s in (8, 16, 32, 64, 128)]
    write(
        "odtk_r18",
        image=image,
        ratios=model.ratios,
        scales=model.scales,
        network_input=data,
        class_logits=rows([model.cls_head(level) for level in features], CLASSES),
        box_deltas=rows([model.box_head(level) for level in features], 4),
        cells=np.stack(cells),
        boxes=boxes[0][kept].numpy() / ratio,
        ratio=ratio,
        scores=scores[0][kept].numpy(),
        labels=labels[0][kept].numpy(),
        **facts,
    )


def yhenon_golden(module, class_gain):
    import skimage.transform

    model = module.resnet18(CLASSES)
    facts = load(model, class_gain=class_gain)
    image = picture()
    # retinanet/dataloader.py: Normalizer, then Resizer with min_side=64 and max_side=96.
    normal = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    scale = min(64 / min(image.shape[:2]), 96 / max(image.shape[:2]))
    size = [round(side * scale) for side in image.shape[:2]]
    data = skimage.transform.resize(normal, size, anti_aliasing=False)
    data = np.pad(data, (*((0, 32 - side % 32) for side in size), (0, 0))).astype(np.float32)
    inputs = torch.tensor(data).permute(2, 0, 1)[None]
    outputs = {}
    model.classificationModel.output.register_forward_hook(
        lambda _layer, _inputs, y: outputs.setdefault("logits", []).append(y)
    )
    model.regressionModel.output.register_forward_hook(
        lambda _layer, _inputs, y: outputs.setdefault("deltas", []).append(y)
    )
    scores, labels, boxes = model(inputs)
    write(
        "yhenon_r18",
        image=image,
        network_input=data,
        class_logits=rows(outputs["logits"], CLASSES),
        box_deltas=rows(outputs["deltas"], 4),
        anchors=model.anchors(inputs)[0].numpy(),
        boxes=boxes.numpy() / scale,
        scores=scores.numpy(),
        labels=labels.numpy(),
        **facts,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--odtk", required=True)
    parser.add_argument("--yhenon", required=True)
    options = parser.parse_args()
    torch_peers.torchvision()
    registry, configs = torch_peers.mmdet()
    odtk, yhenon = torch_peers.odtk(options.odtk), torch_peers.yhenon(options.yhenon)
    with torch.device("meta"):
        models = {
            f"mmdet_{name}": mmdet_models(registry, configs, config)[0]
            for name, config in MMDET_LAYOUTS.items()
        }
        models |= {
            f"odtk_r{n}": odtk.Model(f"ResNet{n}FPN", classes=80) for n in (18, 34, 50, 101, 152)
        }
        models["yhenon_r50"] = yhenon.resnet50(80)
    for name, model in models.items():
        (LAYOUTS / f"{name}.txt").write_text(layout_text(shapes_of(model)), "utf-8")
    with torch.no_grad():
        for name, (config, gain) in MMDET_GOLDENS.items():
            mmdet_golden(registry, configs, name, config, gain)
        odtk_golden(odtk, 0.3)
        yhenon_golden(yhenon, 0.35)


if __name__ == "__main__":
    main()
