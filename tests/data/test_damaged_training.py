"""Training over data of which one file in ten is damaged: it ends, with exact counts."""

import json

import numpy as np
import pytest
from faults.small_sets import voc_text, write
from faults.table import promising
from PIL import Image

from keras_retinanet.config.files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.training.run import train

PICTURES, SIDE, BATCH = 60, 64, 4
OVERRIDES = {
    "model.fpn.channels": 16,
    "model.head.channels": 16,
    "model.head.depth": 1,
    "model.preprocessing.short_side": 64,
    "model.preprocessing.long_side": 64,
    "data.source": "voc",
    "data.val_split": "none",
    "train.batch_size": BATCH,
    "train.minutes": 0,
    "train.checkpoint_every": 500,
}


def overwritten(content):
    """Return a JPEG of which some bytes in the middle are others."""
    middle = len(content) // 2
    return content[:middle] + 24 * bytes([7]) + content[middle + 24 :]


# Number of the picture -> what is written in its place. The second four show when decoded only.
DAMAGE = {
    5: ("p05.xml", lambda content: content[:60], "unreadable annotation"),
    15: ("p15.jpg", lambda content: b"<html>", "unreadable picture"),
    25: ("p25.png", lambda content: promising(30_000), "huge picture"),
    35: ("p35.jpg", lambda content: content[: len(content) // 2], "picture cut off"),
    45: ("p45.png", lambda content: content[: len(content) // 2], "unreadable picture"),
    50: ("p50.jpg", overwritten, "picture damaged"),
    55: (
        "p55.xml",
        lambda content: voc_text((60, 50, 10, 10)).encode(),
        "box with swapped corners",
    ),
}


def write_set(folder, rng, damaged=DAMAGE):
    for number in range(PICTURES):
        noise = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        name = f"p{number:02}.{'jpg' if number in (15, 35, 50, 55) else 'png'}"
        (folder / "JPEGImages").mkdir(parents=True, exist_ok=True)
        noise.save(folder / "JPEGImages" / name)
        write(folder / f"Annotations/p{number:02}.xml", voc_text((10, 10, 50, 50)))
    for number, (name, change, _) in damaged.items():
        kind = "Annotations" if name.endswith(".xml") else "JPEGImages"
        (path,) = (folder / kind).glob(f"p{number:02}.*")
        assert path.name == name
        path.write_bytes(change(path.read_bytes()))


def config(folder, steps, **options):
    # A recipe counts its steps in batches of 16.
    overrides = OVERRIDES | {"data.data_dir": str(folder), "train.steps": steps * BATCH // 16}
    return load_config("bccd", overrides | {"train.eval_every": steps} | options)


@pytest.mark.long
@pytest.mark.parametrize("steps", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_training_ends_and_counts_exactly(steps, tmp_path, rng, capfd):
    write_set(tmp_path / "set", rng)
    result = train(config(tmp_path / "set", steps), tmp_path / "run")
    assert result["steps"] == steps
    report = json.loads((tmp_path / "run/data.json").read_text())["train"]
    # The three that could not be read at the start are out; the others stay in the order.
    assert len(report["pictures"]) == PICTURES - 3
    problems = {kind: sorted(what) for kind, what in report["problems"].items()}
    assert problems.pop("unreadable annotation")[0].startswith("p05.xml (")
    assert problems == {
        "unreadable picture": ["p15.jpg", "p45.png"],
        "picture cut off": ["p35.jpg"],
        "picture damaged": ["p50.jpg"],
        "huge picture": ["p25.png"],
        "box with swapped corners": ["p55.jpg [60.0, 50.0, 10.0, 10.0]"],
    }
    printed, errors = capfd.readouterr()
    assert "huge picture, skipped (dataset tile cuts a large TIFF" in printed
    assert "reads it): 1 (p25.png)" in printed
    assert "Corrupt JPEG" not in printed + errors


# Of those that are found while training, one is enough for each day.
@pytest.mark.long
@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=[pytest.mark.slow] * (n == 45)) for n in DAMAGE]
)
def test_strict_training_stops_at_the_first_and_says_where(number, tmp_path, rng):
    name, _, kind = DAMAGE[number]
    write_set(tmp_path / "set", rng, damaged={number: DAMAGE[number]})
    with pytest.raises(UserError, match=rf"{kind}: {name.split('.')[0]}\..*--strict"):
        train(config(tmp_path / "set", 20, **{"data.strict": True}), tmp_path / "run")
