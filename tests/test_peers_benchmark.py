"""The driver of the comparison with other RetinaNets, without the peers: files, table, curves."""

import json
from pathlib import Path

import numpy as np
import pytest
from drivers import driver
from PIL import Image


@pytest.fixture(scope="module")
def modules():
    with driver("peers_bccd", "shared") as modules:
        yield modules


@pytest.fixture
def data(tmp_path):
    """Two images whose categories have ids that are not their places."""
    content = {
        "categories": [{"id": 7, "name": "RBC"}, {"id": 9, "name": "WBC"}],
        "images": [
            {"id": 3, "file_name": "a.png", "height": 48, "width": 64},
            {"id": 5, "file_name": "b.png", "height": 48, "width": 64},
        ],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 9, "bbox": [10, 20, 30, 25], "area": 750},
            {"id": 2, "image_id": 5, "category_id": 7, "bbox": [1, 2, 8, 9], "area": 72},
        ],
    }
    folder = tmp_path / "data"
    (folder / "annotations").mkdir(parents=True)
    (folder / "val").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 48)).save(folder / "val" / name)
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(content))
    (folder / "complete").touch()
    return folder


def test_detections_are_written_as_the_ground_truth_is_read(modules, data, tmp_path):
    _, shared = modules
    split = shared.read_split(data, "val")
    empty, labeled = split.images
    assert empty.boxes.shape == (0, 4) and labeled.pixels().shape == (48, 64, 3)
    np.testing.assert_array_equal(labeled.boxes, [[10, 20, 40, 45], [1, 2, 9, 11]])
    np.testing.assert_array_equal(labeled.classes, [1, 0])
    path = tmp_path / "found.json"
    found = [(labeled.id, labeled.boxes, [0.5, 0.25], labeled.classes)]
    shared.write_detections(path, found, split.category_ids)
    assert json.loads(path.read_text()) == [
        {"image_id": 5, "category_id": 9, "bbox": [10, 20, 30, 25], "score": 0.5},
        {"image_id": 5, "category_id": 7, "bbox": [1, 2, 8, 9], "score": 0.25},
    ]


def test_a_snapshot_is_due_once_in_each_interval_and_at_the_end(modules, monkeypatch):
    _, shared = modules
    seconds = 0.0
    monkeypatch.setattr(shared.time, "monotonic", lambda: seconds)
    clock = shared.TrainingClock(minutes=1, started=0.0)
    due = {}
    for seconds in (5.0, 12.0, 13.0, 30.0, 59.0, 61.0):
        due[seconds] = clock.due()
    assert due == {5.0: None, 12.0: 1, 13.0: None, 30.0: 2, 59.0: 4, 61.0: 5}
    assert clock.snapshots == {1: 12.0, 2: 30.0, 4: 59.0, 5: 61.0}
    assert clock.done and clock.cosine() == pytest.approx(0) and clock.due(is_last=True) is None


def test_a_loss_that_is_not_finite_ends_the_training(modules):
    clock = modules[1].TrainingClock(minutes=1)
    with pytest.raises(SystemExit, match="loss nan at step 1"):
        clock.step(float("nan"))


def peer(folder: Path, *, ap: float) -> None:
    """Write what a peer and its scores leave behind."""
    folder.mkdir(parents=True)
    facts = {"version": "peer 1.2", "start": "random", "images": 1600, "peak_bytes": 3 * 2**30}
    facts |= {"minutes": 15.0, "batch_size": 8, "input": [320, 416]}
    facts |= {"snapshots": {"1": 180.0, "5": 900.0}}
    (folder / "facts.json").write_text(json.dumps(facts))
    (folder / "test.json").write_text("[]")
    for name, value in (("val-1", ap / 2), ("val-5", ap), ("test", ap - 0.1)):
        figures = {"AP": value, "AP50": value + 0.2, "AP75": -1.0}
        (folder / f"{name}.metrics.json").write_text(json.dumps({"coco": figures}))


def test_the_table_shows_the_last_snapshot_and_test(modules, data, tmp_path):
    driver, _ = modules
    peer(tmp_path / "ours", ap=0.6)
    peer(tmp_path / "keras_hub", ap=0.3)
    driver.main(["--data_dir", "bccd", "--out", str(tmp_path), "--peers", "ours", "keras_hub"])
    text = (tmp_path / "table.md").read_text()
    row = "| KerasHub | peer 1.2 | random | 1,600 | 0.300 | 0.500 | 0.000 | 0.200 | 0.400 | 0.000"
    assert f"{row} | 3.0 |" in text
    assert "15 minutes of training each, batch 8, 320x416 px" in text
    with Image.open(tmp_path / "curves.png") as image:
        assert np.asarray(image.convert("RGB")).std() > 10


def test_a_complete_peer_is_not_mixed_with_one_of_other_minutes(modules, data, tmp_path):
    peer(tmp_path / "ours", ap=0.6)
    with pytest.raises(SystemExit, match="other --minutes"):
        modules[0].main(
            ["--data_dir", "bccd", "--out", str(tmp_path), "--peers", "ours", "--minutes", "5"]
        )


def test_a_wrong_conversion_of_a_peer_is_refused(modules, data, tmp_path):
    peer(tmp_path / "ours", ap=0.6)
    (tmp_path / "ours" / "check.json").write_text("[]")
    wrong = {"coco": {"AP": 0.97}}
    (tmp_path / "ours" / "check.metrics.json").write_text(json.dumps(wrong))
    with pytest.raises(SystemExit, match=r"AP of 0\.970"):
        modules[0].main(["--data_dir", "bccd", "--out", str(tmp_path), "--peers", "ours"])
    assert not (tmp_path / "table.md").exists() and not (tmp_path / "ours" / "test.json").exists()
