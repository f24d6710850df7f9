"""Trains a toy detector, and kills itself (SIGKILL) after a step. Run by test_run.

A process of its own: what survives a SIGKILL can only be what lies in files.
"""

import os
import signal
import sys
from functools import partial

from keras_retinanet.config.files import load_config
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.backbones.resnet import ResNetSpec, resnet
from keras_retinanet.training import callbacks
from keras_retinanet.training.run import train

# Nothing is found in so few steps, so AP stays 0: patience ends the run at its third evaluation. In
# step 8 a process dies whose state of step 7 holds that the second one was no better.
STEPS, EVALUATE_EVERY, CHECKPOINT_EVERY, PATIENCE = 12, 3, 7, 2
LAST_STEP, KILLED_IN = 9, 8
# How a run goes does not depend on its trunk: this one is the soonest traced and saved.
TRUNK = "resnet10"
OVERRIDES = {
    "model.backbone.name": TRUNK,
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
    "train.eval_every": EVALUATE_EVERY,
    "train.patience": PATIENCE,
    "train.checkpoint_every": CHECKPOINT_EVERY,
    "train.optimizer.ema": 0.9,
    "train.loss.normalizer_momentum": 0.9,
}


def add_trunk():
    """Make the trunk known, which the package does not have."""
    BACKBONES[TRUNK] = partial(resnet, ResNetSpec((1, 1, 1, 1), bottleneck=False))


class Kill(callbacks.Pace):
    """Dies right after a step's callbacks of pace, before anything is saved for it."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.clock.step == KILLED_IN:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    add_trunk()
    callbacks.Pace = Kill
    train(load_config("shapes", OVERRIDES), sys.argv[1])
