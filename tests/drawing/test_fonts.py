"""Labels in every script: a font that has the letters, else numbers and one legend."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.ttLib import TTFont

from keras_retinanet.drawing.fonts import Fonts
from keras_retinanet.drawing.marks import Mark, draw_marks
from keras_retinanet.drawing.pages import chart_figure, chart_style, chart_svg

PACKAGED = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
BEETLE = "\u7532\u866b"
GRAY = np.full((120, 200, 3), 128, np.uint8)


@pytest.fixture
def chinese(tmp_path):
    """Make a font that has the two letters, as A and B, and digits."""
    font = TTFont(PACKAGED)
    tables = [table for table in font["cmap"].tables if table.format in (4, 12)]
    font["cmap"].tables = tables
    for table in tables:
        latin = {ord(letter): table.cmap[ord(letter)] for letter in " .0123456789"}
        table.cmap = latin | dict(zip(map(ord, BEETLE), "AB", strict=True))
    font.save(path := tmp_path / "chinese.ttf")
    return str(path)


def draw(text, fonts):
    mark = Mark((20, 60, 150, 110), text, (255, 255, 0))
    return draw_marks(GRAY, [mark], fonts=fonts)


def test_first_font_with_all_letters_is_taken(chinese, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    files = [str(tmp_path / "broken.ttf"), str(PACKAGED), chinese]
    fonts = Fonts(lambda: files)
    assert fonts.font(f"{BEETLE} 0.92", 20).path == chinese
    for text in ("K\u00e4fer \u20ac 0.9", "\u0416\u0443\u043a", "E\u0301"):
        assert fonts.font(text, 20).path == str(PACKAGED)
    # The label shows the font's glyphs: those that it has for A and B.
    latin = Fonts(lambda: [str(PACKAGED)])
    wanted = latin.font("\u00e4", 20).getmask("AB")
    assert bytes(fonts.font(BEETLE, 20).getmask(BEETLE)) == bytes(wanted)
    assert fonts.drawn_names(["cat", BEETLE]) == ["cat", BEETLE]
    assert not np.array_equal(draw(BEETLE, fonts), draw(BEETLE, latin))


def test_charts_leave_the_letters_to_the_page():
    with chart_style():
        figure, axes = chart_figure()
        axes.set_title(BEETLE)
        assert BEETLE in chart_svg(figure)  # any warning is an error here


def test_english_looks_for_no_font():
    def files():
        raise AssertionError("looked for fonts")

    fonts = Fonts(files)
    assert fonts.drawn_names(["cat", "a_b-c 12"]) == ["cat", "a_b-c 12"]
    draw("cat 0.92", fonts)


def test_without_a_font_classes_are_numbers_with_one_legend(capsys):
    fonts = Fonts(lambda: [str(PACKAGED)])
    names = ["cat", BEETLE, "\u0416\u0443\u043a", "\u8718"]
    for _ in range(3):
        assert fonts.drawn_names(names) == ["cat", "class 2", "\u0416\u0443\u043a", "class 4"]
    legend = capsys.readouterr().out
    assert legend.count("\n") == 1 and f"2 = {BEETLE}, 4 = \u8718." in legend
    assert fonts.drawn_names(["cat"]) == ["cat"] and not capsys.readouterr().out
