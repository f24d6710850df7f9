"""A step in pieces is the step of the whole batch: same weights, metrics, clipping and average."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_command import TINY, tiny

from keras_retinanet.config import BackboneConfig, FPNConfig, HeadConfig, ModelConfig, load_config
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.accumulation import sum_over_pieces
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.losses import RetinaNetLoss
from keras_retinanet.modeling.optimizers import CoupledSGD
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.training import compile_model
from keras_retinanet.training.distribution import require_equal_parts
from keras_retinanet.training.resources import check_memory, estimate_step

STEPS, BATCH, SIDE = 3, 6, 64
# Of the 6 images: the second piece of 2 has none at all, others have up to 4.
BOXES = (1, 4, 0, 0, 2, 3)
CLIP = 0.5


@pytest.fixture(scope="module", autouse=True)
def _backbone():
    BACKBONES[TINY] = tiny
    yield
    del BACKBONES[TINY]


def batches():
    rng = np.random.default_rng(3)
    count = STEPS * BATCH
    images = rng.uniform(0, 255, (count, SIDE, SIDE, 3)).astype("float32")
    corners = rng.uniform(0, SIDE - 40, (count, 4, 2)).astype("float32")
    boxes = np.concatenate([corners, corners + rng.uniform(24, 40, corners.shape)], -1)
    classes = rng.integers(0, 2, (count, 4)).astype("int32")
    classes[np.arange(4)[None, :] >= np.tile(BOXES, STEPS)[:, None]] = -1
    labels = {"boxes": boxes.astype("float32"), "classes": classes, "ignore": classes < -1}
    weights = rng.uniform(0.5, 2, count).astype("float32")
    return images, labels, weights


def model():
    keras.utils.set_random_seed(0)
    config = ModelConfig(
        backbone=BackboneConfig(TINY), fpn=FPNConfig(channels=8), head=HeadConfig(8, depth=1)
    )
    return RetinaNet(config, ["a", "b"])


class Steps(keras.callbacks.Callback):
    """Keep the losses of each step."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append([logs[key] for key in ("loss", "class_loss", "box_loss")])
        self.model.reset_metrics()


def trained(micro_batch, *, weighted=False, clip=CLIP):
    """Return weights, losses by step, normalizer and moving average after the steps."""
    detector, steps = model(), Steps()
    optimizer = CoupledSGD(0.05, clip_norm=clip, use_ema=True, ema_momentum=0.5)
    loss = RetinaNetLoss(normalizer_momentum=0.5)
    detector.compile(optimizer, loss, micro_batch=micro_batch)
    images, labels, weights = batches()
    detector.fit(
        images,
        labels,
        sample_weight=weights if weighted else None,
        batch_size=BATCH,
        shuffle=False,
        callbacks=[steps],
        verbose=0,
    )
    values = np.concatenate([weight.ravel() for weight in detector.get_weights()])
    optimizer.finalize_variable_values(detector.trainable_variables)
    averaged = np.concatenate([weight.ravel() for weight in detector.get_weights()])
    assert int(optimizer.iterations) == STEPS
    return values, np.array(steps.losses), float(detector.loss_normalizer.value), averaged


@pytest.fixture(scope="module")
def whole():
    return trained(0)


@pytest.mark.long
@pytest.mark.parametrize("micro_batch", [2, 4])
def test_pieces_give_the_weights_of_the_whole_batch(whole, micro_batch):
    """Pieces of 4 leave one of 2."""
    found = trained(micro_batch)
    for ours, expected in zip(found, whole, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    assert found[1].shape == (STEPS, 3) and (found[1] > 0).all()


@pytest.mark.long
def test_the_clipping_of_that_comparison_engages(whole):
    free = trained(0, clip=0.0)[0]
    assert np.abs(free - whole[0]).max() > 1e-3


@pytest.mark.long
def test_weights_of_images_go_with_their_pieces(whole):
    expected, pieces = trained(0, weighted=True), trained(2, weighted=True)
    np.testing.assert_allclose(pieces[0], expected[0], atol=1e-6)
    assert np.abs(expected[1] - whole[1]).max() > 1e-3


@pytest.mark.long
def test_a_piece_is_computed_after_the_one_before():
    """A loop, in which the largest tensors have the images of one piece."""
    detector = model()
    detector.compile(CoupledSGD(), micro_batch=2)
    images, labels, _ = batches()
    step = tf.function(lambda x, y: detector.train_step((x, y)))
    first = {key: tf.constant(value[:BATCH]) for key, value in labels.items()}
    graph = step.get_concrete_function(tf.constant(images[:BATCH]), first).graph.as_graph_def()
    assert "Conv2D" not in {node.op for node in graph.node}
    bodies = {entry.signature.name: entry.node_def for entry in graph.library.function}
    loops = [node for node in graph.node if node.op in ("While", "StatelessWhile")]
    training = [
        node.attr["parallel_iterations"].i
        for node in loops
        if "Conv2D" in {inner.op for inner in bodies[node.attr["body"].func.name]}
    ]
    assert training == [1]


def test_sum_over_pieces_of_a_batch_that_they_do_not_divide():
    seen = []

    def compute(values):
        seen.append(values.shape)
        return tf.reduce_sum(values, axis=0), tf.reduce_max(values)

    rows = tf.reshape(tf.range(10.0), (5, 2))
    total, largest = sum_over_pieces(compute, (rows,), size=2, zeros=(tf.zeros(2), tf.zeros(())))
    np.testing.assert_array_equal(total, [20, 25])
    assert float(largest) == 3 + 7 + 9


@pytest.mark.parametrize(
    "options", [{"jit_compile": True}, {"metrics": ["mae"]}, {"weighted_metrics": ["mae"]}]
)
def test_what_needs_the_whole_batch_is_refused(options):
    with pytest.raises(ValueError, match="Expected micro_batch without jit_compile and metrics"):
        model().compile(CoupledSGD(), micro_batch=2, **options)
    with pytest.raises(ValueError, match=r"a number of images\. Received: -1"):
        model().compile(CoupledSGD(), micro_batch=-1)


def test_the_option_reaches_the_model_but_not_its_file():
    detector = model()
    compile_model(detector, load_config(None, ["train.micro_batch=4"]).train)
    assert detector._objective.micro_batch == 4
    assert "micro_batch" not in str(detector.get_compile_config())


def test_pieces_must_divide_the_images_of_a_device():
    def train(batch, piece):
        return load_config(None, [f"train.batch_size={batch}", f"train.micro_batch={piece}"]).train

    for batch, piece, replicas in [(8, 0, 2), (8, 4, 2), (8, 1, 1), (6, 6, 1)]:
        require_equal_parts(train(batch, piece), replicas)
    with pytest.raises(UserError, match=r"the 6 images .*Received: 4\. Choose one of 1, 2, 3, 6"):
        require_equal_parts(train(12, 4), 2)
    with pytest.raises(UserError, match="divide by the 3 devices"):
        require_equal_parts(train(8, 0), 3)


def test_the_estimate_is_of_a_piece_and_its_time_of_the_whole_batch(monkeypatch):
    detector = model()
    whole, piece = (estimate_step(detector, count, (64, 96)) for count in (8, 2))
    pieces = estimate_step(detector, 8, (64, 96), micro_batch=2)
    weights = 4 * sum(np.prod(weight.shape) for weight in detector.weights)
    # Besides, the sum of the gradients and the six images that wait.
    assert pieces.bytes == piece.bytes + weights + 6 * 64 * 96 * 3 * 4
    assert pieces.flops == whole.flops == 4 * piece.flops
    assert pieces.bytes < whole.bytes

    monkeypatch.setattr(
        "keras_retinanet.training.resources.available_memory", lambda: whole.bytes // 2
    )
    with pytest.raises(UserError, match=r"--batch_size 4, or --set train\.micro_batch=4"):
        check_memory(whole, 8)
    with pytest.raises(UserError, match=r"Use --set train\.micro_batch=2, which"):
        check_memory(whole, 8, micro_batch=4)
