"""Trainings of a study: made once, resumed, and their figures kept for other machines."""

import json
import shutil
from types import SimpleNamespace

import pytest
from drivers import ROOT, complete, driver

from keras_retinanet.config import load_config


@pytest.fixture(scope="module")
def studies():
    with driver("studies") as (module,):
        yield module


@pytest.fixture
def commands(studies, monkeypatch):
    """The commands that were run; each fails."""
    found = []

    def fail(command, **_):
        found.append(command)
        return SimpleNamespace(returncode=2)

    monkeypatch.setattr(studies.subprocess, "run", fail)
    return found


def test_a_run_that_was_cut_is_resumed_and_one_that_fails_ends_the_study(
    studies, commands, tmp_path
):
    runs = studies.Runs(tmp_path)
    with pytest.raises(SystemExit, match=r"base-seed3 ended with code 2; see \S+base-seed3\.log"):
        runs.train("base-seed3", ["voc", "--seed", "3"])
    folder = tmp_path / "base-seed3"
    assert commands[0][3:] == ["train", "voc", "--seed", "3", "--out", str(folder)]
    folder.mkdir()
    (folder / "config.yaml").touch()
    with pytest.raises(SystemExit):
        runs.train("base-seed3", ["voc"])
    assert commands[1][3:] == ["train", "--resume", str(folder)]


def test_what_is_complete_is_not_repeated_here_or_elsewhere(studies, commands, tmp_path):
    complete(tmp_path / "runs" / "base-seed0", ap=0.25, step=160)
    kept = tmp_path / "measured" / "study.json"
    here = studies.Runs(tmp_path / "runs", kept)
    here.train("base-seed0", ["voc"])
    expected = {"AP": 0.25, "AP50": 0.35, "AP75": 0.15, "step": 160, "seconds": 4.5}
    assert here.figures("base-seed0") == pytest.approx(expected)
    shutil.rmtree(tmp_path / "runs")
    elsewhere = studies.Runs(tmp_path / "others", kept)
    elsewhere.train("base-seed0", ["voc"])
    assert elsewhere.figures("base-seed0") == pytest.approx(expected)
    assert elsewhere.figures("base-seed1") is None and commands == []
    assert list(json.loads(kept.read_text())) == ["base-seed0"]


def test_a_run_without_held_out_images_is_complete_without_figures(studies, tmp_path):
    complete(tmp_path / "all-seed0", ap=0.25, step=160)
    (tmp_path / "all-seed0" / "metrics.csv").write_text("step,loss,AP,AP50,AP75\n160,1.0,,,\n")
    assert studies.Runs(tmp_path).figures("all-seed0") == {}


def test_the_table_compares_runs_of_one_seed(studies, tmp_path):
    for seed, base, other in ((0, 0.4, 0.45), (1, 0.5, 0.51)):
        complete(tmp_path / f"base-seed{seed}", ap=base, step=100)
        complete(tmp_path / f"L1--long-seed{seed}", ap=other, step=60 + 20 * seed)
    rows = ["base", "L1, long", "CIoU"]
    seeds = [0, 1, 2]
    found = studies.table(studies.Runs(tmp_path), rows, seeds, title="row", base="base")
    assert found.splitlines() == [
        "| row | AP, seed 0 | AP, seed 1 | AP, seed 2 | AP | against base | AP50 | AP75 | steps |",
        "|---|---|---|---|---|---|---|---|---|",
        "| base | 0.400 | 0.500 |  | 0.450 | +0.000 | 0.550 | 0.350 | 100 |",
        "| L1, long | 0.450 | 0.510 |  | 0.480 | +0.030 | 0.580 | 0.380 | 70 |",
        "| CIoU | | | | | | | | |",
    ]


# ------------------------------------------------------------------------ the studies themselves


@pytest.mark.parametrize("name", ["recipe_study", "recipe_final"])
def test_each_row_is_another_recipe(name):
    with driver(name) as (study,):
        shared = getattr(study, "BASE", ())
        configs = [load_config("bccd", [*shared, *row]) for row in study.ROWS.values()]
        assert len({repr(config) for config in configs}) == len(study.ROWS)
        images = {config.train.steps for config in configs}
        assert len(images) == 1  # all see as many: steps count batches of 16 images


def test_rows_differ_in_their_teacher_alone():
    with driver("distillation") as (study,):
        options = {"teacher": "blood_cells", "minutes": 7, "every": 50}
        rows = {name: study.changes(name, **options) for name in study.ROWS}
    configs = {name: load_config("bccd", words).train for name, words in rows.items()}
    assert {(train.minutes, train.eval_every) for train in configs.values()} == {(7, 50)}
    assert configs["no teacher"].teacher is None
    for name, weights in (("features", (10, 0)), ("outputs", (0, 1))):
        found = configs[name]
        own = found.distillation
        assert found.teacher == "blood_cells"
        assert (own.feature_weight, own.output_weight) == weights


def test_rows_differ_in_their_backbone():
    with driver("small_backbones") as (study,):
        configs = {name: load_config("bccd", changes) for name, changes in study.ROWS.items()}
    backbones = {config.model.backbone.name for config in configs.values()}
    assert backbones == {"spinenet49s", "resnet50", "efficientnet_lite2"}
    assert len({config.model.preprocessing for config in configs.values()}) == 1
    for name, config in configs.items():
        # Frozen norms of random weights would stay noise.
        is_random = name.endswith("random")
        assert (config.model.backbone.weights is None) == is_random
        assert config.model.backbone.freeze_bn != is_random
        assert (config.train.optimizer.backbone_multiplier == 1) == is_random


@pytest.mark.parametrize(
    ("page", "section"),
    [
        ("recipe_study.md", "table of the study"),
        ("recipe_study.md", "table of the full runs"),
        ("distillation.md", "table of students"),
        ("spinenet.md", "table of small runs"),
    ],
)
def test_the_page_has_the_section(page, section):
    text = (ROOT / "docs" / page).read_text()
    assert text.count(f"<!-- {section} -->") == text.count(f"<!-- end of {section} -->") == 1


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "measured").glob("*.json")), ids=str)
def test_kept_figures_are_shares(path):
    for name, figures in json.loads(path.read_text()).items():
        assert figures.keys() <= {"AP", "AP50", "AP75", "step", "seconds"}, name
        shares = [value for key, value in figures.items() if key.startswith("AP")]
        assert all(0 <= value <= 1 for value in shares), name
