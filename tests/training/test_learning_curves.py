"""The picture of a run: which panels it has, and that its lines are there."""

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.errors import UserError
from keras_retinanet.training.learning_curves import learning_curves

HEADER = "step,loss,class_loss,box_loss,learning_rate,AP,AP50,AP75,seconds\n"
LOSSES = "10,2.0,1.2,0.8,,,,,\n20,1.5,0.9,0.6,,,,,\n"
FIGURES = "20,,,,,0.3,0.6,,4.5\n30,,,,,0.2,0.7,,4.5\n"


@pytest.fixture
def draw(tmp_path):
    def draw(content):
        (tmp_path / "metrics.csv").write_text(content)
        learning_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
        with Image.open(tmp_path / "curves.png") as picture:
            return np.asarray(picture.convert("RGB"))

    return draw


def columns_with(picture, color):
    """Returns how many columns of a picture have a pixel of about that colour."""
    rgb = [int(color[at : at + 2], 16) for at in (0, 2, 4)]
    return (np.abs(picture.astype(int) - rgb).max(axis=2) < 12).any(axis=0).sum()


def test_a_panel_for_what_is_known(draw):
    losses, figures = draw(HEADER + LOSSES), draw(HEADER + LOSSES + FIGURES)
    rates = draw(HEADER + LOSSES.replace("0.8,,", "0.8,0.01,") + FIGURES)
    assert losses.shape[1] == figures.shape[1] == rates.shape[1] >= 1000
    assert losses.shape[0] < figures.shape[0] < rates.shape[0]


def test_each_loss_is_a_line_across_the_panel(draw):
    picture = draw(HEADER + LOSSES)
    for color in ("1f5fa8", "e07b00", "2a9134"):
        assert columns_with(picture, color) > 0.7 * picture.shape[1]


def test_the_best_is_named(draw):
    # The same but for the figure that the title tells: only there do the pictures differ.
    one = draw(HEADER + LOSSES + "20,,,,,0.3,0.6,,\n30,,,,,0.2,0.6,,\n")
    other = draw(HEADER + LOSSES + "20,,,,,0.2,0.6,,\n30,,,,,0.3,0.6,,\n")
    middle = one.shape[1] // 2
    title = slice(int(0.5 * one.shape[0]), int(0.6 * one.shape[0]))
    assert (one != other)[title, middle - 150 : middle + 200].any()


def test_long_curves_are_smoothed(draw):
    rng = np.random.default_rng(0)
    rows = [f"{step},{1 + rng.uniform(-0.5, 0.5)},,,,,,,\n" for step in range(1, 2000)]
    picture = draw(HEADER + "".join(rows))
    # The moving mean alone is of the full colour: it stays close to 1, the faint line does not.
    full = (np.abs(picture.astype(int) - (0x1F, 0x5F, 0xA8)).max(axis=2) < 12).any(axis=1)
    faint = (np.ptp(picture.astype(int), axis=2) > 20).any(axis=1)
    legend = slice(picture.shape[0] // 6, None)
    assert 0 < full[legend].sum() < 0.4 * faint[legend].sum()


def test_losses_over_decades_are_logarithmic(draw):
    # On a linear axis 1 is in the bottom tenth; here it is half way between .01 and 100.
    picture = draw("step,loss\n0,100\n1,1\n2,1\n3,0.01\n")
    blue = (np.abs(picture.astype(int) - (0x1F, 0x5F, 0xA8)).max(axis=2) < 12)[:, 100:-100]
    plateau = blue.sum(axis=1).argmax() / picture.shape[0]
    assert 0.35 < plateau < 0.6


def test_nothing_yet_is_an_empty_panel(draw):
    picture = draw("step,loss\n")
    assert not (np.ptp(picture.astype(int), axis=2) > 60).any()


@pytest.mark.parametrize("content", ["loss\n1.0\n", "step,loss\n1,high\n", "step,loss\n,1.0\n"])
def test_bad_history(content, draw, tmp_path):
    with pytest.raises(UserError, match="CSV of numbers with a `step` column"):
        draw(content)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_missing_history(tmp_path):
    with pytest.raises(UserError, match="Cannot read"):
        learning_curves(tmp_path / "none.csv", tmp_path / "curves.png")
