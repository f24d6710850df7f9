"""The driver of the paper's ablations: its rows, tables, figures, and two steps of one run."""

import numpy as np
import pytest
from drivers import ROOT, complete, driver
from PIL import Image

from keras_retinanet.config import load_config


@pytest.fixture(scope="module")
def modules():
    with driver("ablation", "ablation_plots") as modules:
        yield modules


@pytest.fixture(scope="module")
def ablation(modules):
    return modules[0]


@pytest.fixture(scope="module")
def plots(modules):
    return modules[1]


@pytest.fixture
def runs(ablation, tmp_path):
    return ablation.Runs(tmp_path, read=ablation.result)


def test_each_row_is_a_configuration_and_each_run_has_one(ablation):
    base, configs = load_config(ablation.BASE), {}
    for row in (row for group in ablation.GROUPS.values() for row in group):
        config = load_config(ablation.BASE, list(row.changes))
        assert configs.setdefault(row.run, config) == config
        assert (config.train.steps, config.train.minutes) == (base.train.steps, 0)
        assert (config == base) == (row.run == "focal")
    assert len(configs) == len({repr(config) for config in configs.values()}) == 32
    assert "." not in "".join(configs)  # a folder's name


def test_the_rows_are_those_of_the_paper(ablation):
    def configs(group):
        return [load_config(ablation.BASE, list(row.changes)) for row in ablation.GROUPS[group]]

    found = [(c.train.loss.gamma, c.train.loss.alpha) for c in configs("gamma")]
    alphas = [0.75, 0.75, 0.75, 0.5, 0.25, 0.25, 0.25]
    assert found == list(zip([0, 0.1, 0.2, 0.5, 1, 2, 5], alphas, strict=True))
    assert [c.model.head.prior for c in configs("prior")] == [0.5, 0.01, 0.5, 0.01]
    parts = [c.model.anchors for c in configs("anchors")]
    shapes = [(len(part.scales), len(part.ratios)) for part in parts]
    assert shapes == [(1, 1), (2, 1), (3, 1), (1, 3), (2, 3), (3, 3), (4, 3)]
    four = parts[-1].scales
    np.testing.assert_allclose(four, 2 ** (np.arange(4) / 4), rtol=1e-6)
    mined = [c.train.loss for c in configs("ohem")[:-1]]
    found = [(loss.ohem_batch, loss.ohem_nms_iou, loss.ohem_negatives) for loss in mined]
    assert found[:2] == [(128, 0.7, 0), (256, 0.7, 0)] and found[-1] == (256, 0.5, 3)


def test_a_table_has_means_gaps_and_what_diverged(ablation, runs, tmp_path):
    complete(tmp_path / "ce-seed0", ap=0.3, step=400)
    complete(tmp_path / "ce-seed1", ap=0.4, step=400)
    message = "error: Expected a finite loss. Received: nan at step 20."
    (tmp_path / "ce-no-prior-seed1.log").write_text(message)
    lines = ablation.table(runs, "prior", [0, 1]).splitlines()
    assert lines[4] == "| pi .5 |  |  | diverged | 0.000 | 0.000 | 0.000 |  |"
    assert lines[5] == "| pi .01 | 0.302 | 0.300 | 0.400 | 0.350 | 0.450 | 0.250 | 4.5 |"
    assert lines[6].count("not run yet") == 3
    assert {line.count("|") for line in lines[2:]} == {9}


def test_the_page_keeps_what_stands_around_the_tables(ablation, runs, tmp_path, capsys):
    page = (ROOT / "docs" / "ablation.md").read_text(encoding="utf-8")
    assert all(f"### {caption}" in page for caption in ablation.CAPTIONS.values())
    (tmp_path / "ablation.md").write_text(page)
    complete(tmp_path / "ce-alpha10-seed0", ap=0.123, step=400)
    ablation.write(runs, tmp_path, [0])
    written = (tmp_path / "ablation.md").read_text()
    assert "| alpha .1 | 0.000 | 0.123 |" in written
    start, end = f"<!-- {ablation.SECTION} -->", f"<!-- end of {ablation.SECTION} -->"
    for text in (page, written):
        assert text.count(start) == text.count(end) == 1
    assert written.split(start)[0] == page.split(start)[0]
    assert written.split(end)[1] == page.split(end)[1]


def test_ap_over_gamma_is_drawn_once_all_of_it_is_known(ablation, runs, tmp_path, capsys):
    *rows, last = ablation.GROUPS["gamma"]
    for row in rows:
        complete(tmp_path / f"{row.run}-seed0", ap=0.3, step=400)
    ablation.write(runs, None, [0])
    picture = tmp_path / "ablation_gamma.png"
    assert (tmp_path / "table.md").exists() and not picture.exists()
    complete(tmp_path / f"{last.run}-seed0", ap=0.2, step=400)
    ablation.write(runs, None, [0])
    assert "(ablation_gamma.png)" in (tmp_path / "table.md").read_text()
    with Image.open(picture) as image:
        assert image.size == (700, 360)
    assert picture.stat().st_size < 100_000


def test_a_row_is_trained_with_its_changes_and_then_the_callers(ablation):
    row = ablation.GROUPS["prior"][0]
    words = ablation.words_of(row, 3, ["train.steps=1"])
    assert words[:4] == ["--config", str(ablation.BASE), "--seed", "3"]
    assert "model.head.prior=0.5" in words and words[-2:] == ["--set", "train.steps=1"]


def test_a_run_that_diverged_is_not_run_again(ablation, runs, tmp_path):
    message = "Expected a finite loss. Received: inf at step 4."
    (tmp_path / "ce-no-prior-seed3.log").write_text(message)
    runs.train("ce-no-prior-seed3", ["--config", "no such recipe"])
    assert runs.figures("ce-no-prior-seed3") == {}


# ------------------------------------------------------------------------------------- figure 4


def test_cumulative_shares_by_hand(plots):
    shares = plots.cumulative_shares(np.array([3.0, 1.0, 0.0, 4.0], "f4"))
    np.testing.assert_allclose(shares, [0, 1 / 8, 4 / 8, 1])


def test_losses_of_positive_and_negative_anchors_by_hand(plots):
    import tensorflow as tf

    class Model:
        """Three anchors, two classes of probability 3/4 and 1/4 everywhere."""

        def __call__(self, images, training):
            logits = np.tile([np.log(3), -np.log(3)], (1, 3, 1))
            return {"class_logits": tf.constant(logits, tf.float32)}

        def anchors(self, height, width):
            assert (height, width) == (20, 40)
            # The box itself; an IoU of .45 with it, which is ignored; background.
            return tf.constant([[0.0, 0, 10, 10], [0, 0, 4.5, 10], [20, 0, 30, 10]])

    labels = {
        "boxes": tf.constant([[[0.0, 0, 10, 10]]]),
        "classes": tf.constant([[0]]),
        "ignore": tf.constant([[False]]),
    }
    positive, negative = plots.anchor_losses(Model(), tf.zeros((1, 20, 40, 3)), labels)
    easy = np.array([0.5 * 0.25**g * np.log(4 / 3) for g in plots.GAMMAS])
    hard = np.array([0.5 * 0.75**g * np.log(4) for g in plots.GAMMAS])
    # The positive anchor is right of both classes, the background one wrong of the first.
    np.testing.assert_allclose(positive, 2 * easy[:, None], rtol=1e-5)
    np.testing.assert_allclose(negative, (hard + easy)[:, None], rtol=1e-5)


# -------------------------------------------------------------------------------------- a real run

TOY = {
    "model.backbone.name": "resnet18",
    "model.backbone.weights": "null",
    "model.fpn.channels": 8,
    "model.head.channels": 8,
    "model.preprocessing.short_side": 64,
    "model.preprocessing.long_side": 64,
    "data.shapes_train": 8,
    "data.shapes_val": 4,
    "data.shapes_size": 64,
    "train.steps": 1,  # of 16 images
}


@pytest.mark.slow
def test_two_steps_of_a_run(ablation, tmp_path, monkeypatch, capsys):
    settings = [word for key, value in TOY.items() for word in ("--set", f"{key}={value}")]
    ratio = next(row for row in ablation.GROUPS["ohem"] if row.run == "ohem128-ratio")
    monkeypatch.setattr(ablation, "GROUPS", {"ohem": [ratio]} | {"gamma": []})
    words = ["--out", str(tmp_path / "runs"), "--groups", "ohem", *settings]
    ablation.main(words)
    table = (tmp_path / "runs" / "table.md").read_text()
    folder = tmp_path / "runs" / "ohem128-ratio-seed0"
    written = (folder / "last.keras").stat().st_mtime_ns
    assert "not run yet" not in table
    assert load_config(folder / "config.yaml").train.loss.ohem_negatives == 3
    ablation.main(words)
    assert (folder / "last.keras").stat().st_mtime_ns == written
    ablation.main(["--figure4", str(folder), *words])
    picture = tmp_path / "runs" / "ablation_losses.png"
    with Image.open(picture) as image:
        assert image.size == (900, 360)
    assert picture.stat().st_size < 100_000
