"""Trains a toy detector; with a step number, kills itself (SIGKILL) after it. Run by test_training.

A process of its own: what survives a SIGKILL can only be what lies in files.
"""

import os
import signal
import sys

from keras_retinanet import callbacks
from keras_retinanet.config_files import load_config
from keras_retinanet.training import train

STEPS, CHECKPOINT_EVERY = 12, 4
OVERRIDES = {
    "model.fpn.channels": 16,
    "model.head.channels": 16,
    "model.head.depth": 1,
    "model.preprocessing.short_side": 64,
    "model.preprocessing.long_side": 64,
    "data.shapes_train": 10,
    "data.shapes_val": 2,
    "data.shapes_size": 96,
    "data.augment.scale": [0.8, 1.2],
    "data.augment.color": 0.2,
    "train.batch_size": 4,
    "train.steps": STEPS * 4 // 16,  # counted in batches of 16
    "train.minutes": 0,
    "train.eval_every": 5,
    "train.checkpoint_every": CHECKPOINT_EVERY,
    "train.optimizer.ema": 0.9,
    "train.loss.normalizer_momentum": 0.9,
}


class Kill(callbacks.Pace):
    """Dies right after a step's callbacks of pace, before anything is saved for it."""

    at = 0

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.clock.step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def main(out: str, kill_at: int, resume: bool) -> None:
    Kill.at = kill_at
    callbacks.Pace = Kill
    train(load_config("shapes", OVERRIDES), out, resume=resume)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "resume")
