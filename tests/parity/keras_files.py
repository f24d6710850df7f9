"""What the scripts for KerasHub and KerasCV share: seed a model, find its weights in its file."""

import hashlib
import sys
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))

from seeded_hub import seeded

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"


def golden_picture():
    """Return BCCD's BloodImage_00007.jpg, (480, 640, 3) uint8 RGB (MIT license)."""
    with np.load(GOLDENS / "torchvision_v1.npz") as stored:
        return stored["image"]


def seed_model(parts, class_gain):
    """Give every weight of a model its seeded value.

    Args:
        parts: {"backbone": layers, "fpn": {name: layer}, ...}; layers are named in their part.

    Returns:
        {digest of the value: [name, shape]}.
    """
    names = {}
    for part, layers in parts.items():
        for layer_name, layer in layers.items():
            for weight in layer.weights:
                name = f"{part}/{layer_name}/{weight.name}"
                value = seeded(name, tuple(weight.shape), class_gain)
                weight.assign(value)
                names[digest(value)] = [name, list(value.shape)]
    return names


def file_spec(path, names):
    """Return [[dataset path, seeded name, shape], ...] of a weight file: found by their values."""
    spec = []

    def visit(dataset_path, node):
        if isinstance(node, h5py.Dataset) and "optimizer" not in dataset_path:
            spec.append([dataset_path, *names[digest(node[...])]])

    with h5py.File(path) as file:
        file.visititems(visit)
    if len(spec) != len(names):
        raise SystemExit(f"{path} holds {len(spec)} of {len(names)} weights")
    return spec


def digest(value):
    return hashlib.sha1(np.ascontiguousarray(value, np.float32).tobytes()).hexdigest()
