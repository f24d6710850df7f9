"""The driver of the experiment with teachers: its rows, and its table of complete runs."""

import importlib
import sys
from pathlib import Path

import pytest

from keras_retinanet.config import load_config

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def driver():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("distillation")
    for name in ("distillation", "recipe_study", "marked_section"):
        del sys.modules[name]


def complete(folder, *, ap, steps):
    folder.mkdir(parents=True)
    (folder / "last.keras").touch()
    text = f"step,loss,AP,AP50,AP75\n10,1.0,0.1,0.2,0.1\n{steps},,{ap},{ap + 0.1},{ap - 0.1}\n"
    (folder / "metrics.csv").write_text(text)


def test_rows_differ_in_their_teacher_alone(driver):
    options = {"teacher": "blood_cells", "minutes": 7, "every": 50}
    rows = {name: driver.changes(name, **options) for name in driver.ROWS}
    configs = {name: load_config("bccd", words).train for name, words in rows.items()}
    assert {(train.minutes, train.eval_every) for train in configs.values()} == {(7, 50)}
    assert configs["no teacher"].teacher is None
    for name, weights in (("features", (10, 0)), ("outputs", (0, 1))):
        found = configs[name]
        own = found.distillation
        assert found.teacher == "blood_cells"
        assert (own.feature_weight, own.output_weight) == weights


def test_the_table_compares_runs_of_one_seed(driver, tmp_path):
    for seed, alone, taught in ((0, 0.4, 0.45), (1, 0.5, 0.51)):
        complete(driver.folder_of(tmp_path, "no teacher", seed), ap=alone, steps=100)
        complete(driver.folder_of(tmp_path, "features", seed), ap=taught, steps=60 + 20 * seed)
    assert driver.table(tmp_path, [0, 1, 2]).splitlines()[2:] == [
        "| no teacher | 0.400 | 0.500 |  | 0.450 | +0.000 | 0.550 | 0.350 | 100 |",
        "| features | 0.450 | 0.510 |  | 0.480 | +0.030 | 0.580 | 0.380 | 70 |",
    ]


def test_the_page_has_the_section(driver):
    page = (ROOT / "docs" / "distillation.md").read_text()
    assert f"<!-- {driver.SECTION} -->" in page and f"<!-- end of {driver.SECTION} -->" in page
