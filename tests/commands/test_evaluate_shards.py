"""`evaluate --shard I/N` and `--merge`: what the shards hold together is what one run gives."""

import json
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_command import TINY, tiny

from keras_retinanet import cli
from keras_retinanet.commands.sharding import WHOLE, Shard, shard, written_shards
from keras_retinanet.config.files import load_config, save_config
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation import runner
from keras_retinanet.files.targets import is_free
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.training.cluster import of_this_machine

IMAGES = 7
OVERRIDES = {
    "model.backbone.name": TINY,
    "model.fpn.channels": 16,
    "model.head.channels": 16,
    "model.head.depth": 1,
    "model.head.prior": 0.3,
    "model.detections.max_detections": 20,
    "model.preprocessing.short_side": 64,
    "model.preprocessing.long_side": 64,
    "data.shapes_train": 4,
    "data.shapes_val": IMAGES,
    "data.shapes_size": 96,
    "evaluate.batch_size": 4,
}


def evaluate(*words) -> int:
    """Run the command in this process; return the exit code."""
    return cli.run(cli.build_parser().parse_args(["evaluate", *map(str, words)]))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Iterator[Path]:
    from keras_retinanet.data.loading import load_dataset
    from keras_retinanet.modeling.retinanet import RetinaNet
    from keras_retinanet.modeling.saving import save_model

    folder = tmp_path_factory.mktemp("run")
    BACKBONES[TINY] = tiny
    config = load_config("shapes", OVERRIDES)
    names = load_dataset(config.data, "val").class_names
    save_model(RetinaNet(config.model, names), folder / "best.keras")
    save_config(config, folder / "config.yaml")
    yield folder
    BACKBONES.pop(TINY)


@pytest.mark.long
def test_merged_shards_are_one_evaluation(run_folder, tmp_path, capsys, monkeypatch):
    """Of 7 images in batches of 4, though shards have 3, 2 and 2."""
    whole, out = tmp_path / "whole", tmp_path / "shards" / "found.json"
    words = ["--model", run_folder]
    files = ["--out", whole / "found.json", "--json", whole / "e.json", "--csv", whole / "e.csv"]
    assert evaluate(*words, *files) == 0

    for number in (3, 1):
        assert evaluate(*words, "--out", out, "--shard", f"{number}/3") == 0
    assert "Wrote" in capsys.readouterr().out
    assert evaluate(*words, "--out", out, "--merge") == 2
    assert "Received: none of 2/3." in capsys.readouterr().err
    assert evaluate(*words, "--out", out, "--shard", "2/3") == 0

    # What is done is not done again, and merging detects nothing.
    monkeypatch.setattr(runner, "run_detector", None)
    capsys.readouterr()
    assert evaluate(*words, "--out", out, "--shard", "2/3") == 0
    assert capsys.readouterr().out == (
        f"Shard 2/3 (2 of {IMAGES} images) is done: {out.parent / 'found-2-of-3.jsonl'}\n"
    )
    files = ["--json", out.parent / "e.json", "--csv", out.parent / "e.csv"]
    assert evaluate(*words, "--out", out, "--merge", *files) == 0
    assert len(json.loads(out.read_text())) > 50
    assert out.read_text() == (whole / "found.json").read_text()
    assert (out.parent / "e.csv").read_text() == (whole / "e.csv").read_text()
    alone, together = (json.loads((each / "e.json").read_text()) for each in (whole, out.parent))
    del alone["facts"]["time"]
    assert together == alone
    assert sorted(file.name for file in out.parent.iterdir()) == [
        *("e.csv", "e.json", "found-1-of-3.jsonl", "found-2-of-3.jsonl", "found-3-of-3.jsonl"),
        "found.json",
    ]


@pytest.mark.long
def test_shards_that_do_not_belong_are_refused(run_folder, tmp_path, capsys):
    out = tmp_path / "found.json"
    words = ["--model", run_folder, "--out", out, "--limit", 3]
    for number in (1, 2):
        assert evaluate(*words, "--shard", f"{number}/2") == 0
    assert evaluate(*words, "--merge", "--tile", 64) == 2
    assert "made with another model, other data or other options" in capsys.readouterr().err

    second = tmp_path / "found-2-of-2.jsonl"
    header, line = second.read_text().splitlines(keepends=True)
    second.write_text(header + line[:-20])
    assert evaluate(*words, "--merge") == 2
    assert f"Received: {second}, which lacks 1 image. Run it again" in capsys.readouterr().err
    assert evaluate(*words, "--shard", "2/2") == 0  # a damaged one is done again
    assert second.read_text() == header + line
    assert evaluate(*words, "--shard", "1/3") == 0
    capsys.readouterr()
    assert evaluate(*words, "--merge") == 2
    assert "Received: shards of 2 and of 3." in capsys.readouterr().err


@pytest.mark.long
def test_more_shards_than_images(run_folder, tmp_path):
    words = ["--model", run_folder, "--out", tmp_path / "found.json", "--limit", 1]
    for number in (1, 2):
        assert evaluate(*words, "--shard", f"{number}/2") == 0
    assert evaluate(*words, "--merge") == 0
    assert {row["image_id"] for row in json.loads((tmp_path / "found.json").read_text())} == {0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard", "1/2"], "Expected --out FILE with --shard 1/2"),
        (["--merge"], "Expected --out FILE with --merge"),
        (["--out", "f.json", "--shard", "1/2", "--json", "e.json"], "--json, which needs all"),
    ],
)
def test_flags_that_mean_nothing_together(run_folder, words, message, capsys):
    assert evaluate("--model", run_folder, *words) == 2
    assert message in capsys.readouterr().err


def test_a_foreign_file_is_not_replaced(run_folder, tmp_path, capsys):
    (tmp_path / "found-1-of-2.jsonl").write_text("notes\n")
    words = ["--model", run_folder, "--out", tmp_path / "found.json", "--shard", "1/2"]
    assert evaluate(*words) == 2
    assert "holds something else" in capsys.readouterr().err
    assert not is_free(tmp_path / "found-1-of-2.jsonl", "shard")


def test_each_item_is_in_one_shard():
    places = [place for number in (1, 2, 3) for place in Shard(number, 3).places(8)]
    assert sorted(places) == [*range(8)]
    assert [*WHOLE.places(3)] == [0, 1, 2]
    assert Shard(2, 8).path(Path("a/b.json")) == Path("a/b-2-of-8.json")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "-1/2", "1/2/3", "a/b", "1.5/2"])
def test_words_that_are_no_shard(text):
    with pytest.raises(ArgumentTypeError, match="I from 1 to N"):
        shard(text)


def test_shards_are_found_by_their_names(tmp_path):
    with pytest.raises(UserError, match="Received: none"):
        written_shards(tmp_path / "no_folder" / "a.json")
    for name in ("a-1-of-2.json", "a-2-of-2.json", "ab-1-of-3.json", "a-1-of-4.csv"):
        (tmp_path / name).touch()
    assert written_shards(tmp_path / "a.json") == [Shard(1, 2), Shard(2, 2)]


@pytest.mark.parametrize("words", ["evaluate", "predict photos"])
def test_a_cluster_that_would_go_unused_is_refused(words, monkeypatch, capsys):
    monkeypatch.setenv("TF_CONFIG", of_this_machine([2222, 2223], 1))
    assert cli.run(cli.build_parser().parse_args(words.split())) == 2
    assert "Expected --shard 2/2, for TF_CONFIG names 2 processes" in capsys.readouterr().err
