"""How times are taken: in turn, after a warm-up, disturbed repeats again."""

import pytest

from keras_retinanet.speed import Times, measure, timing


@pytest.fixture
def quiet(monkeypatch):
    """No other process does anything."""
    monkeypatch.setattr(timing, "processor_seconds", lambda: (0.0, 0.0))


def test_calls_are_made_in_turn_after_a_warm_up(quiet):
    made = []
    calls = {name: lambda name=name: made.append(name) for name in "ab"}
    found = measure(calls, repeat=3, shortest=0.0)
    assert made == ["a", "b", *"ab" * 3]
    assert [len(times.seconds) for times in found.values()] == [3, 3]


def test_a_short_call_is_made_often_enough_to_last(quiet, monkeypatch):
    clock = iter(range(1000))  # a second between two readings
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    made = []
    (times,) = measure({"a": lambda: made.append(1)}, repeat=2, shortest=4.0).values()
    assert len(made) == 2 + 2 * 4
    assert times == Times((0.25, 0.25))


def test_a_call_may_measure_itself():
    assert measure({"a": lambda: 7.0}, repeat=2)["a"].median == 7.0


@pytest.mark.parametrize(
    ("others", "count", "disturbed"),
    [
        ([0, 0, 9, 9], 2, False),  # enough quiet ones: the later are not made
        ([9, 0, 9, 0], 2, False),
        ([9, 0, 9, 9], 1, False),  # the only quiet one is what counts
        ([9, 9, 9, 9], 4, True),
    ],
)
def test_a_repeat_that_others_disturbed_is_made_again(monkeypatch, others, count, disturbed):
    busy = iter([value for other in others for value in (0.0, float(other))])
    monkeypatch.setattr(timing, "processor_seconds", lambda: (next(busy), 0.0))
    (times,) = measure({"a": lambda: None}, repeat=2, shortest=0.0).values()
    assert (len(times.seconds), times.disturbed) == (count, disturbed)


def test_the_own_time_of_the_processor_is_not_that_of_others():
    busy, own = timing.processor_seconds()
    sum(range(3_000_000))
    busy_after, own_after = timing.processor_seconds()
    assert own_after > own > 0
    assert busy_after >= busy > 0


def test_the_median_and_the_quartiles():
    times = Times((4.0, 1.0, 2.0, 3.0, 100.0))
    assert times.median == 3.0
    assert times.quartiles == (2.0, 4.0)
