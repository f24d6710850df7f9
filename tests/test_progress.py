"""Progress in a file or a pipe: whole lines, with total and time left from the first step on."""

import io
import sys

import pytest
from tqdm import tqdm

from keras_retinanet.terminal import Lines, progress


@pytest.fixture
def clock():
    """A clock that a test sets: `clock[0]` is the time."""
    return [0.0]


def lines_of(clock, **options):
    return Lines(clock=lambda: clock[0], **options)


def test_first_step_then_at_a_pace_then_the_end(clock, capsys):
    with lines_of(clock, total=1000, desc="train", unit="step") as bar:
        clock[0] = 4.0
        bar.update()
        bar.set_postfix({"loss": "1.500"})
        for _ in range(99):  # a tenth of a second each
            clock[0] += 0.1
            bar.update()
        bar.write("step 100: AP 0.1")
        clock[0] += 5.0
        bar.update(100)
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "train: 1 of 1,000 steps, 00:04 so far, 1:06:36 left",
        "train: 200 of 1,000 steps, 00:18 so far, 01:15 left, loss 1.500",
    ]
    assert printed.out == "step 100: AP 0.1\n" and "\r" not in printed.err


def test_a_day_prints_no_more_than_a_line_a_minute(clock, capsys):
    with lines_of(clock, total=86_400, desc="train", unit="step") as bar:
        for _ in range(86_400):
            clock[0] += 1.0
            bar.update()
    count = capsys.readouterr().err.count("\n")
    assert 24 * 60 - 100 < count < 24 * 60 + 600


def test_resumed_and_downloaded(clock, capsys):
    bar = lines_of(clock, initial=50, total=100, desc="train", unit="step")
    clock[0] = 10.0
    bar.update(10)
    bar.close()
    bar = lines_of(clock, desc="a.keras", unit="B", unit_scale=True)
    bar.total, bar.n = 4_000_000, 1_000_000
    bar.update(1_000_000)
    bar.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 60 of 100 steps, 00:10 so far, 00:40 left"
    assert lines[1].startswith("a.keras: 2.00MB of 4.00MB, ")
    assert len(lines) == 2


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(total=3, desc="detect", unit="image") as bar:
        assert isinstance(bar, tqdm)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(progress(total=3), Lines)
    with progress(total=3, disable=True) as bar:
        bar.update()
    assert not sys.stderr.getvalue()
