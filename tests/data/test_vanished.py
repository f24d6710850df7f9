"""A data set that goes away: an error before anything is learned from, or scored on, blanks."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from faults.small_sets import voc_text, write
from PIL import Image

from keras_retinanet.config import AugmentConfig, DataConfig
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.cache import cached
from keras_retinanet.data.pipeline.fetching import strict_errors
from keras_retinanet.data.pipeline.vanished import TRIED, require_readable
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.preprocessing import Preprocessing

SIDE, PICTURES = 64, 20
GONE = "Expected images that can be read. Received: "
DEADLINE = 240  # seconds; only an end


def write_set(folder, rng, count=PICTURES):
    (folder / "JPEGImages").mkdir(parents=True)
    for number in range(count):
        noise = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        noise.save(folder / f"JPEGImages/p{number:03}.png")
        write(folder / f"Annotations/p{number:03}.xml", voc_text((10, 10, 50, 50)))
    ids = [f"p{number:03}" for number in range(count)]
    write(folder / "ImageSets/Main/train.txt", "\n".join(ids[4:]))
    write(folder / "ImageSets/Main/val.txt", "\n".join(ids[:4]))
    return folder


def read(folder, split="train"):
    return load_dataset(DataConfig(source="voc", data_dir=str(folder)), split)


def break_picture(path):
    path.write_bytes(path.read_bytes()[:500])


# ------------------------------------------------------------------------------------- the check


def test_one_readable_image_among_many_broken_ones_is_enough(tmp_path, rng):
    dataset = read(write_set(tmp_path / "set", rng))
    paths = [record.image.path for record in dataset.records]
    for path in paths[1:]:
        os.truncate(path, 500)
    for index in range(1, len(paths)):
        require_readable(dataset, index)
    os.truncate(paths[0], 500)
    with pytest.raises(UserError, match=rf"{GONE}p004.png and 15 others of 16 in voc, split train"):
        require_readable(dataset, 0)


def test_others_are_spread_over_the_data_set(tmp_path, rng):
    """A whole subfolder that is damaged is no vanished data set."""
    dataset = read(write_set(tmp_path / "set", rng))
    record = dataset.records[0]
    tried = []
    many = replace(
        dataset,
        records=[replace(record, file_name=str(number)) for number in range(1000)],
        reader=lambda image: b"",
    )
    many = replace(many, records=Recorded(many.records, tried))
    with pytest.raises(UserError, match=f"{TRIED} others of 1000"):
        require_readable(many, 500)
    tried = sorted(set(tried) - {500})
    assert len(tried) == TRIED
    assert max(np.diff([0, *tried, 1000])) < 60


class Recorded(list):
    """A list that keeps the indices it is asked for."""

    def __init__(self, items, asked):
        super().__init__(items)
        self.asked = asked

    def __getitem__(self, index):
        self.asked.append(index)
        return super().__getitem__(index)


# --------------------------------------------------------------------------------- the pipelines


def batches(dataset, start_step=0):
    config = DataConfig(source="voc")
    sides = Preprocessing(short_side=SIDE, long_side=SIDE)
    return iter(
        training_batches(
            dataset, sides, data_config=config, batch_size=4, seed=0, start_step=start_step
        )
    )


def test_no_batch_of_blanks_is_given(tmp_path, rng):
    folder = write_set(tmp_path / "set", rng)
    dataset = read(folder)
    given = batches(dataset)
    next(given)
    (folder / "JPEGImages").rename(folder / "gone")
    blank = []

    def drain():
        with strict_errors(dataset.problems):
            for _ in range(200):  # what was read before is given still
                _, labels = next(given)
                blank.append(labels["ignore"].numpy()[:, 0].any())

    with pytest.raises(UserError, match=GONE):
        drain()
    assert not any(blank)


def test_some_broken_images_stop_nothing(tmp_path, rng):
    folder = write_set(tmp_path / "set", rng)
    dataset = read(folder)
    for number in range(4, PICTURES, 2):
        break_picture(folder / f"JPEGImages/p{number:03}.png")
    given = batches(dataset)
    for _ in range(20):
        next(given)
    assert len(dataset.problems["unreadable picture"]) == 8


def test_no_cache_is_kept_of_what_vanished(tmp_path, rng):
    folder = write_set(tmp_path / "set", rng)
    dataset = read(folder)
    (folder / "JPEGImages").rename(folder / "gone")
    sides = Preprocessing(short_side=SIDE, long_side=SIDE)
    with pytest.raises(UserError, match=GONE):
        cached(dataset, sides, AugmentConfig(), str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())


# ---------------------------------------------------------------------------- the command itself


def command(*words):
    return [sys.executable, "-m", "keras_retinanet", *map(str, words)]


def train_words(folder, out):
    options = {
        "model.backbone.name": "resnet18",
        "model.fpn.channels": 16,
        "model.head.channels": 16,
        "model.head.depth": 1,
        "model.preprocessing.short_side": SIDE,
        "model.preprocessing.long_side": SIDE,
        "train.batch_size": 4,
        "train.steps": 10,  # counted in batches of 16: 40
        "train.minutes": 0,
        "train.eval_every": 100_000,
        "train.checkpoint_every": 1,
    }
    words = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    return ["train", "voc", "--data_dir", folder, "--out", out, *words]


def wait_for(process, condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert process.poll() is None, "it ended before its data went"
        assert time.monotonic() < end, "no step in all this time"
        time.sleep(0.05)


@pytest.mark.slow
def test_train_stops_with_the_last_good_state_kept(tmp_path, rng):
    folder, run = write_set(tmp_path / "set", rng), tmp_path / "run"
    log = tmp_path / "log"
    with open(log, "w") as stream:
        process = subprocess.Popen(
            command(*train_words(folder, run)), stdout=stream, stderr=stream, cwd=tmp_path
        )
    try:
        metrics = run / "metrics.csv"
        wait_for(process, lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 2)
        (folder / "JPEGImages").rename(folder / "gone")
        assert process.wait(DEADLINE) == 2
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
    text = log.read_text()
    assert f"error: {GONE}" in text and "Traceback" not in text
    losses = [float(row.split(",")[1]) for row in metrics.read_text().splitlines()[1:]]
    assert min(losses) > 0
    # The state is that of a step on images that were there: with them it goes on.
    gone = subprocess.run(command("train", "--resume", run), capture_output=True, text=True)
    assert gone.returncode == 2 and "Traceback" not in gone.stderr
    assert len([line for line in gone.stderr.splitlines() if "error:" in line]) == 1
    (folder / "gone").rename(folder / "JPEGImages")
    again = subprocess.run(command("train", "--resume", run), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"resuming at step {len(losses)}" in again.stdout
    for number in range(4):
        break_picture(folder / f"JPEGImages/p{number:03}.png")
    words = ["evaluate", "--model", run, "--json", tmp_path / "b.json"]
    none = subprocess.run(command(*words), capture_output=True, text=True, cwd=tmp_path)
    assert none.returncode == 2 and GONE in none.stderr and "AP" not in none.stdout
    assert not (tmp_path / "b.json").exists()
