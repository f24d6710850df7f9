"""Single steps by hand, and two devices against one (in a process of its own: see the end)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.modeling.optimizers import CoupledSGD, DetectorAdamW


def variables():
    """The kernel and the bias of a trunk and of a head."""
    made = []
    for part in ("trunk", "head"):
        with keras.name_scope(part):
            made.append(keras.Variable([1.0, -2.0], name="kernel"))
            made.append(keras.Variable([4.0], name="bias"))
    return made


GRADIENTS = ([0.5, 1.0], [2.0], [-1.0, 0.5], [-3.0])
SLOW = ("trunk/kernel", "trunk/bias")


def step(optimizer, weights, gradients=GRADIENTS):
    optimizer.apply([tf.constant(gradient) for gradient in gradients], weights)
    return [weight.numpy().tolist() for weight in weights]


def assert_weights(found, expected, rtol=1e-6):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol)


# --------------------------------------------------------------------------------------- SGD


def test_two_steps_of_coupled_sgd_by_hand():
    optimizer, weights = CoupledSGD(0.1, 0.9, coupled_decay=0.01), variables()
    # Decay enters the gradient of kernels: .5 + .01 * 1 = .51 and 1 - .01 * 2 = .98.
    first = step(optimizer, weights)
    assert_weights(first, [[0.949, -2.098], [3.8], [1.099, -2.048], [4.3]])
    # Then v = .9 v - .1 g with the gradient at the new weights, w = w + v.
    second = step(optimizer, weights)
    expected = []
    for before, after, gradient in zip(([1.0, -2.0], [4.0]) * 2, first, GRADIENTS, strict=True):
        before, after = np.array(before), np.array(after)
        decayed = np.array(gradient) + (0.01 * after if len(after) == 2 else 0)
        expected.append(after + 0.9 * (after - before) - 0.1 * decayed)
    assert_weights(second, expected)
    assert second[0][0] == pytest.approx(0.949 + 0.9 * -0.051 - 0.1 * 0.50949, rel=1e-6)


def test_defaults_are_the_papers():
    optimizer = CoupledSGD()
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    assert (optimizer.momentum, optimizer.coupled_decay) == (0.9, 1e-4)
    assert optimizer.weight_decay is None
    assert not optimizer.nesterov


def test_decay_alone_shrinks_kernels_alone():
    optimizer, weights = CoupledSGD(0.1, 0.0, coupled_decay=0.5), variables()
    found = step(optimizer, weights, [[0.0, 0.0], [0.0]] * 2)
    assert_weights(found, [[0.95, -1.9], [4.0]] * 2)


def test_decay_reaches_the_kernels_of_every_layer_and_nothing_else():
    model = keras.Sequential([
        keras.Input((8, 8, 3)),
        keras.layers.SeparableConv2D(4, 3, name="separable"),
        keras.layers.DepthwiseConv2D(3, name="depthwise"),
        keras.layers.BatchNormalization(name="bn"),
        keras.layers.GroupNormalization(2, name="gn"),
        keras.layers.Conv2D(2, 1, name="conv"),
    ])  # fmt: skip
    weights = model.trainable_variables
    for weight in weights:
        weight.assign(tf.ones_like(weight))
    optimizer = CoupledSGD(0.1, 0.0, coupled_decay=0.5)
    optimizer.apply([tf.zeros(weight.shape) for weight in weights], weights)
    names = {weight.path.split("/", 1)[1]: weight for weight in weights}  # without the model's
    shrunk = {name for name, weight in names.items() if np.allclose(weight, 0.95)}
    kept = {name for name, weight in names.items() if np.allclose(weight, 1.0)}
    assert shrunk == {
        "separable/depthwise_kernel",
        "separable/pointwise_kernel",
        "depthwise/kernel",
        "conv/kernel",
    }
    assert kept == set(names) - shrunk


# ------------------------------------------------------------------------------------- AdamW


def test_one_step_of_adamw_by_hand():
    optimizer, weights = DetectorAdamW(0.1, weight_decay=0.5), variables()
    # The first step of Adam is lr * sign(g); decay takes lr * .5 of a kernel, apart from it.
    found = step(optimizer, weights)
    expected = [[0.95 - 0.1, -1.9 - 0.1], [3.9], [0.95 + 0.1, -1.9 - 0.1], [4.1]]
    assert_weights(found, expected, rtol=1e-5)


def test_adamw_of_kernels_alone():
    optimizer = DetectorAdamW(0.1, weight_decay=0.5)
    with keras.name_scope("only"):
        kernel = keras.Variable([2.0], name="kernel")
    assert_weights(step(optimizer, [kernel], [[0.0]]), [[1.9]])


# --------------------------------------------------------------------------- slow trunk, clip


@pytest.mark.parametrize("make", [CoupledSGD, DetectorAdamW])
def test_the_trunk_moves_at_its_own_rate(make):
    decay = {"coupled_decay": 0.0} if make is CoupledSGD else {"weight_decay": 0.0}
    optimizer = make(0.1, slow_variables=SLOW, slow_multiplier=0.1, **decay)
    weights, plain = variables(), variables()
    slow = step(optimizer, weights)
    fast = step(make(0.1, **decay), plain)
    for part, (start, ours, theirs) in enumerate(
        zip(([1.0, -2.0], [4.0]) * 2, slow, fast, strict=True)
    ):
        factor = 0.1 if part < 2 else 1.0
        moved = factor * (np.array(theirs) - start)
        np.testing.assert_allclose(np.array(ours) - start, moved, rtol=1e-4)


def test_clipping_is_by_the_norm_over_all_variables():
    norm = np.sqrt(0.5**2 + 1 + 2**2 + 1 + 0.5**2 + 3**2)
    optimizer, weights = CoupledSGD(0.1, 0.0, coupled_decay=0.0, clip_norm=1.0), variables()
    found = step(optimizer, weights)
    expected = [
        np.array(start) - 0.1 * np.array(gradient) / norm
        for start, gradient in zip(([1.0, -2.0], [4.0]) * 2, GRADIENTS, strict=True)
    ]
    assert_weights(found, expected)


def test_a_gradient_below_the_bound_is_not_changed():
    clipped = step(CoupledSGD(0.1, clip_norm=100.0), variables())
    assert_weights(clipped, step(CoupledSGD(0.1), variables()), rtol=1e-7)


def test_decay_is_added_after_clipping():
    # A clipped gradient of norm 1, plus decay: as clip_grad_norm_ before a PyTorch step.
    optimizer = CoupledSGD(1.0, 0.0, coupled_decay=0.5, clip_norm=1.0)
    with keras.name_scope("only"):
        kernel = keras.Variable([2.0], name="kernel")
    assert_weights(step(optimizer, [kernel], [[100.0]]), [[2 - 1 - 1]])


# ------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: CoupledSGD(
            0.2, 0.8, coupled_decay=0.3, slow_variables=SLOW, slow_multiplier=0.5, clip_norm=2.0
        ),
        lambda: DetectorAdamW(
            0.2, weight_decay=0.3, slow_variables=SLOW, slow_multiplier=0.5, clip_norm=2.0
        ),
    ],
)
def test_config_round_trip(optimizer, built):
    optimizer = optimizer()
    if built:
        step(optimizer, variables())
    stored = json.loads(json.dumps(keras.optimizers.serialize(optimizer)))
    copy = keras.optimizers.deserialize(stored)
    assert type(copy) is type(optimizer)
    assert copy.get_config() == optimizer.get_config()
    fresh = keras.optimizers.deserialize(stored)
    assert_weights(step(copy, variables()), step(fresh, variables()), rtol=0)
    assert copy.clip_norm == 2.0
    assert list(copy.slow_variables) == list(SLOW)


@pytest.mark.parametrize("make", [CoupledSGD, DetectorAdamW])
def test_state_restored_from_a_checkpoint_goes_on_exactly(make, tmp_path):
    optimizer, weights = make(0.1), variables()
    step(optimizer, weights)
    state = [variable.numpy() for variable in (*weights, *optimizer.variables)]
    expected = step(optimizer, weights)
    resumed, restored = make(0.1), variables()
    resumed.build(restored)
    for variable, value in zip((*restored, *resumed.variables), state, strict=True):
        variable.assign(value)
    assert_weights(step(resumed, restored), expected, rtol=0)


# --------------------------------------------------------------------- two devices against one

# Logical devices must be set before TensorFlow starts, so this file runs itself as a script.
CASES = {
    "sgd": lambda: CoupledSGD(0.1, slow_variables=SLOW, slow_multiplier=0.5),
    "sgd clipped": lambda: CoupledSGD(0.1, clip_norm=1.0),
    "adamw": lambda: DetectorAdamW(0.1, weight_decay=0.1, slow_variables=SLOW, slow_multiplier=0.5),
    "adamw clipped": lambda: DetectorAdamW(0.1, weight_decay=0.1, clip_norm=1.0),
    "sgd averaged": lambda: CoupledSGD(0.1, use_ema=True, ema_momentum=0.9),
}


def train_three_steps(strategy, make):
    """Weights, then averages if there are, after three steps with gradients of each replica."""
    with strategy.scope():
        weights, optimizer = variables(), make()
        optimizer.build(weights)
    count = strategy.num_replicas_in_sync
    # The shares of two pictures: each replica holds one, or the only one holds their sum.
    shares = [[np.array(g) * (3 - 2 * i) for g in GRADIENTS] for i in range(2)]
    if count == 1:
        shares = [[a + b for a, b in zip(*shares, strict=True)]]

    @tf.function
    def train_step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        gradients = [
            tf.gather(tf.constant(np.stack(share), tf.float32), replica)
            for share in zip(*shares, strict=True)
        ]
        optimizer.apply(gradients, weights)

    for _ in range(3):
        strategy.run(train_step)
    averages = optimizer._model_variables_moving_average if optimizer.use_ema else []
    return [v.numpy().tolist() for v in (*weights, *averages)]


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategies = {
        "one": tf.distribute.get_strategy(),
        "two": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    }
    found = {}
    for case, make in CASES.items():
        for devices, strategy in strategies.items():
            try:
                found[f"{case}, {devices}"] = train_three_steps(strategy, make)
            except Exception as error:  # reported by the test of that case
                found[f"{case}, {devices}"] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))


@pytest.fixture(scope="module")
def on_two_devices():
    # A script's import path starts at its own folder, tests/.
    root = str(Path(__file__).resolve().parents[2])
    own = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": root}
    environment = {**os.environ, **own}
    run = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env=environment, timeout=300
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", sorted(CASES))
def test_two_devices_equal_one(on_two_devices, case):
    one, two = on_two_devices[f"{case}, one"], on_two_devices[f"{case}, two"]
    assert not isinstance(one, str), one
    assert not isinstance(two, str), two
    assert len(one) == (8 if case == "sgd averaged" else 4)  # averages stand behind the weights
    assert_weights(two, one)


if __name__ == "__main__":
    main()
