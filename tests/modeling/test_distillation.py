"""A student that imitates a teacher: the losses, and the step that adds them."""

import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_command import TINY, tiny

from keras_retinanet.config import (
    AnchorConfig,
    BackboneConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
    PreprocessingConfig,
)
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.distillation import FEATURES, Distiller
from keras_retinanet.modeling.distillation_losses import feature_loss, output_loss
from keras_retinanet.modeling.optimizers import CoupledSGD
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import save_model

BATCH, SIDE, NAMES = 4, 64, ["cat", "dog"]
# Sums of float32 in another order.
RTOL = 1e-5


@pytest.fixture(scope="module", autouse=True)
def _backbone():
    BACKBONES[TINY] = tiny
    yield
    del BACKBONES[TINY]


def model(channels=8, *, seed=0, names=NAMES, norm="none", **options):
    keras.utils.set_random_seed(seed)
    fpn, head = FPNConfig(channels=channels), HeadConfig(channels, depth=1, norm=norm)
    return RetinaNet(ModelConfig(BackboneConfig(TINY), fpn=fpn, head=head, **options), names)


def batch(seed=3):
    """Images with 0 to 3 boxes, one of them ignored."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 255, (BATCH, SIDE, SIDE, 3)).astype("float32")
    corners = rng.uniform(0, SIDE - 40, (BATCH, 3, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(24, 40, corners.shape)], -1)
    classes = rng.integers(0, 2, (BATCH, 3)).astype("int32")
    classes[np.arange(3)[None, :] >= np.arange(BATCH)[:, None]] = -1
    ignore = np.zeros((BATCH, 3), bool)
    ignore[3, 2] = True
    return images, {"boxes": boxes.astype("float32"), "classes": classes, "ignore": ignore}


# ---------------------------------------------------------------------------------------- losses


def test_imitation_of_features_equals_numpys_correlation(rng):
    student, teacher = rng.normal(size=(2, BATCH, 6, 8, 5)).astype("float32")
    student += teacher * np.arange(5, dtype="float32")  # from no correlation to a high one
    pairs = (
        np.corrcoef(student[image, :, :, channel].ravel(), teacher[image, :, :, channel].ravel())
        for image in range(BATCH)
        for channel in range(5)
    )
    expected = sum(1 - pair[0, 1] for pair in pairs) / 5
    assert 1 < expected < BATCH
    np.testing.assert_allclose(feature_loss(student, teacher), expected, rtol=1e-5)


def test_imitation_of_features_knows_no_scale_and_no_offset(rng):
    student, teacher = rng.normal(size=(2, BATCH, 6, 8, 5)).astype("float32")
    scaled = 30 * teacher * np.arange(1, 6, dtype="float32") + 200
    expected = feature_loss(student, teacher)
    np.testing.assert_allclose(feature_loss(student, scaled), expected, rtol=1e-4)
    np.testing.assert_allclose(feature_loss(scaled, scaled), 0, atol=1e-7)


def test_a_channel_without_variance_teaches_nothing(rng):
    """As all channels are at levels of one cell: no loss there, and a slope without NaN."""
    for cells in ((1, 1), (4, 4)):
        student = tf.fill((1, *cells, 2), 3.0)
        teacher = tf.constant(rng.normal(size=(1, *cells, 2)), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(student)
            loss = feature_loss(student, teacher)
        np.testing.assert_allclose(loss, 0 if cells == (1, 1) else 0.5, atol=1e-5)
        assert np.isfinite(tape.gradient(loss, student)).all()


def test_imitation_of_outputs_by_hand():
    """Logits 0 against log 3: p = 1/2, q = 3/4, cross-entropy log 2. Deltas 1 and .055 apart."""
    student = {"class_logits": tf.zeros((1, 2, 1)), "box_deltas": tf.zeros((1, 2, 4))}
    deltas = tf.constant([[[1, 0, 0.055, 0], [9, 9, 9, 9]]], tf.float32)
    teacher = {"class_logits": tf.fill((1, 2, 1), np.log(3).astype("f4")), "box_deltas": deltas}
    loss = output_loss(student, teacher, tf.constant([[True, False]]))
    boxes = (1 - 0.11 / 2) + 0.5 * 0.055**2 / 0.11
    np.testing.assert_allclose(loss, 2 * 0.25**2 * np.log(2) + boxes, rtol=1e-6)


def imitation(distiller, images, labels, student):
    """Return the loss of a batch as its step computes it, and its slopes by the weights."""
    anchors, targets, _ = student._targets(images, labels, None)
    del anchors
    taught = distiller.teach(images)
    variables = [*student.trainable_weights, *distiller.variables]
    with tf.GradientTape() as tape:
        outputs = student(images, training=True)
        divisors = {"images": tf.constant(4.0), "normalizer": tf.constant(10.0)}
        loss = distiller.loss(outputs, taught, targets, **divisors)
    return float(loss), tape.gradient(loss, variables)


@pytest.mark.long
def test_a_student_that_equals_its_teacher_has_nothing_to_learn():
    student, teacher = model(), model()
    teacher.set_weights(student.get_weights())
    distiller = Distiller(student, teacher)
    student.compile(distiller=distiller)
    loss, slopes = imitation(distiller, *batch(), student)
    assert loss == pytest.approx(0, abs=1e-7)
    assert max(np.abs(slope).max() for slope in slopes) < 1e-6
    different = Distiller(student, model(seed=1))
    student.compile(distiller=different)
    loss, slopes = imitation(different, *batch(), student)
    assert loss > 1e-3 and min(np.abs(slope).max() for slope in slopes) > 0


@pytest.mark.long
def test_the_weights_of_both_parts():
    student, teacher = model(), model(seed=1)
    losses = []
    for weights in ((1, 0), (0, 1), (2, 3)):
        distiller = Distiller(student, teacher, feature_weight=weights[0], output_weight=weights[1])
        student.compile(distiller=distiller)
        losses.append(imitation(distiller, *batch(), student)[0])
    features, outputs, both = losses
    assert min(features, outputs) > 1e-4
    assert both == pytest.approx(2 * features + 3 * outputs, rel=RTOL)


# --------------------------------------------------------------------------------- two models


def test_classes_are_those_of_the_same_name():
    student, teacher = model(), model(seed=1, names=["dog", "bird", "cat"])
    images, _ = batch()
    taught = Distiller(student, teacher).teach(images)
    expected = teacher(images, training=False)["class_logits"].numpy()[..., [2, 0]]
    np.testing.assert_array_equal(taught["class_logits"], expected)


def test_each_normalizes_the_pixels_its_own_way():
    bgr = PreprocessingConfig(color_order="bgr", mean=(103.0, 116.0, 123.0), std=(1.0, 1.0, 1.0))
    teacher = model(seed=1, preprocessing=bgr)
    images, _ = batch()
    taught = Distiller(model(), teacher).teach(images)
    expected = teacher(images, training=False)
    np.testing.assert_array_equal(taught["box_deltas"], expected["box_deltas"])


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["cat", "bird"]}, "no dog among its classes, cat, bird"),
        ({"anchors": AnchorConfig(ratios=(1.0,))}, "model.anchors.ratios of"),
    ],
)
def test_outputs_that_mean_something_else_are_refused(options, message):
    student, teacher = model(), model(seed=1, **options)
    with pytest.raises(UserError, match=message):
        Distiller(student, teacher)
    features = Distiller(student, teacher, output_weight=0)
    student.compile(distiller=features)
    assert imitation(features, *batch(), student)[0] > 0


@pytest.mark.long
def test_adapters_where_channels_differ():
    assert Distiller(model(), model(seed=1)).variables == []
    student, teacher = model(), model(16, seed=1)
    assert Distiller(student, teacher, feature_weight=0).variables == []
    distiller = Distiller(student, teacher)
    assert [v.shape for v in distiller.variables] == [(1, 1, 8, 16)] * 5
    student.compile(CoupledSGD(0.1), distiller=distiller)
    before = [np.array(v) for v in distiller.variables]
    student.train_on_batch(*batch())
    changed = [np.abs(v - old).max() for v, old in zip(distiller.variables, before, strict=True)]
    # P6 and P7 of 64 px have one cell, of which nothing can be learned: weight decay alone.
    assert min(changed[:3]) > 0.01 and max(changed[3:]) < 1e-5


# --------------------------------------------------------------------------------------- steps


def trained(teacher, *, distillation=None, **options):
    """Return a student after two steps, and its logs after each, means so far."""
    student = model()
    student.compile(
        CoupledSGD(0.05, clip_norm=1.0, use_ema=True),
        distiller=Distiller(student, teacher, **distillation or {}) if teacher else None,
        **options,
    )
    logs = [student.train_on_batch(*batch(step), return_dict=True) for step in range(2)]
    return student, logs


@pytest.fixture(scope="module")
def alone(_backbone):
    return trained(None)


@pytest.fixture(scope="module")
def teacher(_backbone):
    return model(16, seed=1, norm="batch_norm")


@pytest.fixture(scope="module")
def taught(teacher):
    return trained(teacher)


def test_a_step_adds_the_imitation_and_leaves_the_teacher_as_it_is(alone, teacher, taught):
    (alone, (plain, _)), (student, (logs, _)) = alone, taught
    before = model(16, seed=1, norm="batch_norm").get_weights()  # with their moving averages
    assert set(logs) - set(plain) == {"distillation_loss"} and logs["distillation_loss"] > 1e-3
    sums = logs["class_loss"] + logs["box_loss"] + logs["distillation_loss"]
    assert logs["loss"] == pytest.approx(sums, rel=RTOL)
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    pairs = zip(alone.get_weights(), student.get_weights(), strict=True)
    assert max(np.abs(one - other).max() for one, other in pairs) > 1e-4


@pytest.mark.long
def test_a_step_without_weight_is_that_without_a_teacher(alone, teacher):
    other, _ = trained(teacher, distillation={"feature_weight": 0, "output_weight": 0})
    for one, two in zip(alone[0].get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-7)


@pytest.mark.long
@pytest.mark.parametrize("options", [{"micro_batch": 3}, {"recompute": True}])
def test_pieces_and_recomputation_give_the_same_step(teacher, taught, options):
    (expected, logs), (found, others) = taught, trained(teacher, **options)
    assert others[1] == pytest.approx(logs[1], rel=RTOL)
    for one, other in zip(expected.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-6)


@pytest.mark.long
def test_mixed_precision_trains_on_float32_losses(taught):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        student, teacher = model(), model(16, seed=1)
    finally:
        keras.config.set_dtype_policy("float32")
    student.compile(CoupledSGD(0.05), distiller=Distiller(student, teacher))
    logs = student.train_on_batch(*batch(), return_dict=True)
    expected = taught[1][0]["distillation_loss"]
    assert logs["distillation_loss"] == pytest.approx(expected, rel=0.05)


def test_outputs_and_file_are_those_without_a_teacher(alone, taught, tmp_path):
    files = []
    for number, (student, _) in enumerate((alone, taught)):
        files.append(tmp_path / f"{number}.keras")
        save_model(student, files[-1])
        assert FEATURES not in student(batch()[0], training=False)
    structures = []
    for path in files:
        with zipfile.ZipFile(path) as archive:
            texts = archive.namelist(), archive.read("config.json")
            archive.extract("model.weights.h5", path.with_suffix(""))
        names = {}
        with h5py.File(path.with_suffix("") / "model.weights.h5") as stored:
            stored.visititems(lambda name, part: names.update({name: getattr(part, "shape", 0)}))  # noqa: B023
        structures.append((texts, names))
    assert structures[0] == structures[1] and len(structures[0][1]) > 20
