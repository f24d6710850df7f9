"""Compute the length of a run and its learning rate at each step."""

import math

from keras_retinanet.config import ScheduleConfig, TrainConfig

# Schedules are written for batches of 16 images (section 5) and scaled to the batch size.
PAPER_BATCH = 16
WARMUP_START = 1e-3
# Maximum share of a short run that is warm-up.
WARMUP_SHARE = 0.1


def total_steps(train: TrainConfig) -> int:
    """Return the steps of the run, which sees the same number of images at any batch size."""
    return max(1, round(train.steps * train.schedule_length * PAPER_BATCH / train.batch_size))


def scaled_learning_rate(train: TrainConfig) -> float:
    """Return the peak learning rate: linear in the batch size (Goyal et al. 2017)."""
    return train.optimizer.learning_rate * train.batch_size / PAPER_BATCH


def rate_factor(schedule: ScheduleConfig, step: int, progress: float) -> float:
    """Return the learning rate as a fraction of its peak.

    Args:
        step: steps taken so far.
        progress: share of the run that is done, 0..1, by steps or, if limited in minutes, by time.
    """
    # Counted in steps, as the option is, but at most WARMUP_SHARE of the run.
    warm = min(1.0, step / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    warm = max(warm, min(1.0, progress / WARMUP_SHARE))
    factor = WARMUP_START + (1 - WARMUP_START) * warm
    if schedule.name == "cosine":
        return factor * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return factor * 0.1 ** sum(progress >= drop for drop in schedule.drops)
