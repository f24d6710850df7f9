"""Problems: only known kinds, what a summary says, and strictness."""

import threading

import pytest

from keras_retinanet.data.problems import KINDS, Problems
from keras_retinanet.errors import UserError


def test_summary_names_the_first_three():
    problems = Problems()
    for number in range(5):
        problems.note("missing picture", f"{number}.jpg")
    problems.note("box without area", "a.jpg")
    assert problems.lines() == [
        "missing picture, skipped: 5 (0.jpg, 1.jpg, 2.jpg and 2 more)",
        "box without area, dropped: 1 (a.jpg)",
    ]
    assert problems == {
        "missing picture": ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"],
        "box without area": ["a.jpg"],
    }


def test_unknown_kind_is_an_error_of_ours():
    with pytest.raises(KeyError, match="odd box"):
        Problems().note("odd box", "a.jpg")


@pytest.mark.parametrize("kind", KINDS)
def test_strict_stops_at_the_first_and_keeps_it(kind):
    problems = Problems(strict=True)
    with pytest.raises(UserError, match=rf"{kind}: a\.jpg.*--strict") as caught:
        problems.note(kind, "a.jpg")
    with pytest.raises(UserError):
        problems.note(kind, "b.jpg")
    assert problems.error is caught.value and not problems


def test_threads_lose_no_count():
    problems = Problems()
    notes = [
        threading.Thread(target=lambda: [problems.note("missing picture", "a") for _ in range(500)])
        for _ in range(8)
    ]
    for thread in notes:
        thread.start()
    for thread in notes:
        thread.join()
    assert len(problems["missing picture"]) == 4000


def test_text_that_a_terminal_would_obey_is_shown_as_text():
    problems = Problems()
    problems.note("missing picture", "a\x1b[2J\n\ud800\u732b.jpg")
    (line,) = problems.lines()
    assert line == r"missing picture, skipped: 1 (a\x1b[2J\n\ud800" + "\u732b.jpg)"
