"""A process whose training is broken off ends, although images are still being read."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

# Batches of images that take a while to read, in a frame that a cycle or the traceback keeps.
SCRIPT = """
import sys
import keras_retinanet

def train():
    batches = iter(keras_retinanet.data.load(sys.argv[1], "train", batch_size=1))
    next(batches)
    itself = [batches]
    itself.append(itself)
    if sys.argv[2] == "error":
        raise RuntimeError("broken off")

train()
"""


@pytest.fixture(scope="module")
def large_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    noise = np.random.default_rng(0).integers(0, 255, (2000, 3000, 3), np.uint8)
    lines = ["image,xmin,ymin,xmax,ymax,label"]
    for name in ("a.png", "b.png", "c.png", "d.png"):
        Image.fromarray(noise).save(folder / name, compress_level=1)
        lines.append(f"{name},100,100,900,900,cup")
    (folder / "train.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.long
@pytest.mark.parametrize(("end", "code"), [("error", 1), ("end", 0)])
def test_a_process_ends_while_images_are_being_read(large_images, end, code):
    words = [sys.executable, "-c", SCRIPT, str(large_images), end]
    process = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == code, process.stderr
    assert ("broken off" in process.stderr) == (end == "error")
