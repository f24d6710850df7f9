"""A run on tiles: it trains on windows, validates in tiles, and its model remembers them."""

import json

import pytest
import tiny_command as tiny

from keras_retinanet.modeling.saving import read_config

pytestmark = pytest.mark.slow


def test_what_a_run_on_tiles_reports_is_what_evaluate_finds(tmp_path):
    settings = {
        "data__shapes_size": 160,
        "model__tiles__side": 64,
        "model__tiles__overlap": 0.3,
        "model__detections__score_threshold": 0.0,
        "data__augment__mosaic": 0.5,
    }
    out = tmp_path / "run"
    code, printed = tiny.run(*tiny.train_words(out, **settings))
    assert code == 0, printed
    # 160 * 160 / 64**2 is 6 windows of each of 16 images.
    assert "a pass over the data draws 96 windows of 64 px on average" in printed
    for name in ("best.keras", "last.keras"):
        stored = read_config(out / name)["model"]["tiles"]
        assert stored == {"side": 64, "overlap": 0.3, "whole": False}
    figures = tmp_path / "figures.json"
    code, by_itself = tiny.run("evaluate", "--model", out / "best.keras", "--json", figures)
    assert code == 0, by_itself
    summary = json.loads(figures.read_text())
    assert f"; best AP {summary['coco']['AP']:.3f}, AP50" in printed
