"""Writes tests/goldens/torch_trunks.npz: what torchvision's trunks give for seeded weights.

pip install torch==2.13.0
pip install --no-deps torchvision==0.28.0
python tests/parity/make_torch_trunks.py
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))
# torchvision's compiled operators want CUDA's libraries; the trunks need none of them.
library = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchvision  # noqa: E402
from seeded_weights import seeded  # noqa: E402

TRUNKS = ("resnet18", "resnet50", "resnext50_32x4d")
STEP = 16  # of the channels, one in so many is kept
SIZE = (75, 101)  # odd: the two kinds of padding differ


def main():
    """Run each trunk once on a seeded image and keep names, shapes and thinned maps."""
    image = np.random.default_rng(1).normal(size=(1, *SIZE, 3)).astype("float32")
    golden = {"image": image}
    for name in TRUNKS:
        model = torchvision.models.get_model(name, weights=None).eval()
        shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        dtypes = {
            key: str(value.dtype).removeprefix("torch.")
            for key, value in model.state_dict().items()
        }
        model.load_state_dict(
            {key: torch.tensor(seeded(key, shapes[key], dtypes[key])) for key in shapes}
        )
        golden[f"{name}.shapes"] = np.array(json.dumps(shapes))
        with torch.no_grad():
            x = torch.tensor(image.transpose(0, 3, 1, 2))
            x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
            for level in range(1, 5):
                x = getattr(model, f"layer{level}")(x)
                if level > 1:
                    maps = x.numpy().transpose(0, 2, 3, 1)
                    golden[f"{name}.c{level + 1}"] = maps[..., ::STEP]
    np.savez_compressed(GOLDENS / "torch_trunks.npz", **golden)


if __name__ == "__main__":
    main()
