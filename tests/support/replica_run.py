"""Trains 3 steps on 8 pictures with N replicas and stores the result; for test_distribution.

A process of its own, because logical devices can only be set before TensorFlow starts.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.config import BackboneConfig, FPNConfig, HeadConfig, ModelConfig
from keras_retinanet.modeling.losses import RetinaNetLoss
from keras_retinanet.modeling.optimizers import CoupledSGD
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.training.distribution import strategy

STEPS, BATCH, SIDE = 3, 8, 96


def batches():
    """Pictures with 0 to 7 boxes, so that the replicas' counts of positives differ."""
    rng = np.random.default_rng(3)
    images = rng.uniform(0, 255, (STEPS * BATCH, SIDE, SIDE, 3)).astype("float32")
    corners = rng.uniform(0, SIDE - 40, (STEPS * BATCH, BATCH, 2)).astype("float32")
    boxes = np.concatenate([corners, corners + rng.uniform(20, 40, corners.shape)], -1)
    classes = rng.integers(0, 3, (STEPS * BATCH, BATCH)).astype("int32")
    classes[np.arange(BATCH)[None, :] >= np.arange(STEPS * BATCH)[:, None] % BATCH] = -1
    labels = {"boxes": boxes.astype("float32"), "classes": classes, "ignore": classes < -1}
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH, drop_remainder=True)


class Recorder(keras.callbacks.Callback):
    """Keeps the losses of each step, and the gradients of the first through SGD's momentum."""

    def __init__(self):
        super().__init__()
        self.losses, self.momentum = [], None

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append([float(logs[key]) for key in ("loss", "class_loss", "box_loss")])
        self.model.reset_metrics()
        if self.momentum is None:
            self.momentum = np.concatenate(
                [m.numpy().ravel() for m in self.model.optimizer.momentums]
            )


def main(replicas: int, norm: str, clip: float, path: str, micro_batch: int) -> None:
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        device, [tf.config.LogicalDeviceConfiguration()] * replicas
    )
    keras.utils.set_random_seed(0)
    config = ModelConfig(
        # Weights "given" elsewhere: batch norms are frozen, nothing is read. "sync": they train.
        backbone=BackboneConfig(
            "resnet18",
            weights="given",
            frozen_stages=0,
            freeze_bn=norm != "sync",
            sync_bn=norm == "sync",
        ),
        fpn=FPNConfig(channels=32),
        head=HeadConfig(channels=32, depth=1, norm="none" if norm == "sync" else norm),
    )
    scope = strategy()
    if scope.num_replicas_in_sync != replicas:
        raise RuntimeError(f"asked for {replicas} replicas, got {scope.num_replicas_in_sync}")
    recorder = Recorder()
    with scope.scope():
        model = RetinaNet(config, ["a", "b", "c"], load_weights=False)
        model.compile(
            CoupledSGD(0.01, clip_norm=clip),
            RetinaNetLoss(normalizer_momentum=0.5 if clip else 0),
            micro_batch=micro_batch,
        )
    model.fit(batches(), epochs=1, callbacks=[recorder], verbose=0, shuffle=False)
    weights = np.concatenate([w.ravel() for w in model.get_weights()])
    np.savez(path, losses=recorder.losses, momentum=recorder.momentum, weights=weights)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
