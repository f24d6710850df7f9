"""`benchmarks/growth.py`: curves of a few points, the table and the plot on a page; no times."""

import sys
from pathlib import Path

import pytest

from keras_retinanet.speed import Times, timing

ROOT = Path(__file__).parents[1]


@pytest.fixture
def growth(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import growth

    monkeypatch.setattr(timing, "SHORTEST", 0.0)
    monkeypatch.setattr(timing, "processor_seconds", lambda: (0.0, 0.0))
    small = {"SIDE": 64, "NUM_CLASSES": 3, "OBJECTS": (1, 5), "ANNOTATIONS": (1, 7, 20)}
    for name, value in small.items():
        monkeypatch.setattr(growth, name, value)
    return growth


def test_the_exponent_is_the_slope_at_the_end(growth):
    def curve(power: float) -> dict[int, Times]:
        return {x: Times((x**power,)) for x in (1, 10, 30)}

    assert growth.exponent(curve(2)) == pytest.approx(2)
    assert growth.exponent(curve(0)) == 0
    line = growth.table({"classes": {"model.detect": curve(1)}}).splitlines()[2]
    assert line == ("| model.detect | classes | 1: 1,000, 10: 10,000, 30: 30,000 | 1.00 | 1 |")


@pytest.mark.long
def test_curves_are_written_to_the_page(growth, monkeypatch, tmp_path):
    page = tmp_path / "benchmark.md"
    page.write_text("before\n<!-- growth -->\n\nNot run yet.\n\n<!-- end of growth -->\nafter\n")
    (tmp_path / "images").mkdir()
    words = "growth.py --backbone resnet18 --only objects annotations --repeat 1 --docs"
    monkeypatch.setattr(sys, "argv", [*words.split(), str(tmp_path)])
    growth.main()
    text = page.read_text()
    for row in ("| labeling | boxes in", "| loss | boxes in", "| read for training | annotations"):
        assert row in text
    assert text.startswith("before\n") and text.endswith("after\n") and "Not run" not in text
    assert (tmp_path / "images" / "growth.png").read_bytes().startswith(b"\x89PNG")
