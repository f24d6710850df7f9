"""Learning rates at named steps."""

import pytest

from keras_retinanet.config import OptimizerConfig, ScheduleConfig, TrainConfig
from keras_retinanet.training.schedules import rate_factor, scaled_learning_rate, total_steps


def test_paper_schedule_in_steps_and_pictures():
    assert total_steps(TrainConfig()) == 90_000
    assert total_steps(TrainConfig(batch_size=2, schedule_length=3)) == 2_160_000
    assert scaled_learning_rate(TrainConfig()) == 0.01
    small = TrainConfig(batch_size=2, optimizer=OptimizerConfig(learning_rate=0.01))
    assert scaled_learning_rate(small) == pytest.approx(0.00125)


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.001), (250, 0.5005), (500, 1), (59_999, 1), (60_000, 0.1), (80_000, 0.01)],
)
def test_paper_steps(step, factor):
    assert rate_factor(ScheduleConfig(), step, step / 90_000) == pytest.approx(factor)


def test_cosine_ends_at_zero():
    schedule = ScheduleConfig("cosine", warmup_steps=0)
    factors = [rate_factor(schedule, 0, progress) for progress in (0, 0.5, 1)]
    assert factors == pytest.approx([1, 0.5, 0], abs=1e-12)


def test_warm_up_is_at_most_a_tenth_of_a_short_run():
    assert rate_factor(ScheduleConfig(warmup_steps=500), 10, 0.1) == pytest.approx(1)
