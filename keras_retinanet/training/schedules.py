"""How long a run is and how its learning rate moves; plain arithmetic on steps."""

import math

from keras_retinanet.config.schema import ScheduleConfig, TrainConfig

# Schedules are written for batches of 16 pictures (section 5) and scaled to the batch in use.
PAPER_BATCH = 16
WARMUP_START = 1e-3
# Warm-up takes at most this share of a short run.
WARMUP_SHARE = 0.1


def total_steps(train: TrainConfig) -> int:
    """Return the steps of the run: the same number of pictures whatever the batch."""
    return max(1, round(train.steps * train.schedule_length * PAPER_BATCH / train.batch_size))


def scaled_learning_rate(train: TrainConfig) -> float:
    """Return the peak rate: linear in the batch (Goyal et al. 2017)."""
    return train.optimizer.learning_rate * train.batch_size / PAPER_BATCH


def rate_factor(schedule: ScheduleConfig, step: int, progress: float) -> float:
    """Return the rate as a fraction of its peak.

    Args:
        step: steps taken so far.
        progress: share of the run done, 0..1, in steps or, for a run limited in minutes, in time.
    """
    # In steps, as the field counts it, but never more than WARMUP_SHARE of the run so far seen.
    warm = min(1.0, step / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    warm = max(warm, min(1.0, progress / WARMUP_SHARE))
    factor = WARMUP_START + (1 - WARMUP_START) * warm
    if schedule.name == "cosine":
        return factor * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return factor * 0.1 ** sum(progress >= drop for drop in schedule.drops)
