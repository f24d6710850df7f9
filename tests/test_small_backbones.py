"""The driver of the small trainings with other backbones: its rows, and its table."""

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
        yield importlib.import_module("small_backbones")
    for name in ("small_backbones", "distillation", "recipe_study", "marked_section"):
        del sys.modules[name]


def test_rows_differ_in_their_backbone(driver):
    configs = {name: load_config("bccd", changes) for name, changes in driver.ROWS.items()}
    backbones = {config.model.backbone.name for config in configs.values()}
    assert backbones == {"spinenet49s", "resnet50", "efficientnet_lite2"}
    assert len({config.model.preprocessing for config in configs.values()}) == 1
    for name, config in configs.items():
        # Frozen norms of random weights would stay noise.
        is_random = name.endswith("random")
        assert (config.model.backbone.weights is None) == is_random
        assert config.model.backbone.freeze_bn != is_random
        assert (config.train.optimizer.backbone_multiplier == 1) == is_random


def test_table_of_complete_runs(driver, tmp_path):
    folder = driver.folder_of(tmp_path, "ResNet-50, random", 0)
    folder.mkdir()
    (folder / "last.keras").touch()
    (folder / "metrics.csv").write_text("step,loss,AP,AP50,AP75\n10,1.0,,,\n42,,0.25,0.5,0.125\n")
    assert driver.table(tmp_path, 0).splitlines()[2:] == [
        "| ResNet-50, random | 0.250 | 0.500 | 0.125 | 42 |"
    ]
