"""The detector: its initial state, its first loss, and what `detect` promises."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config import (
    BackboneConfig,
    DataConfig,
    DetectionConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
    PreprocessingConfig,
)
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.modeling.labeling import AnchorLabeler
from keras_retinanet.modeling.losses import RetinaNetLoss
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.modeling.retinanet import RetinaNet, retinanet

PRIOR = 0.01
SMALL = ModelConfig(
    backbone=BackboneConfig("resnet18"),
    fpn=FPNConfig(channels=32),
    head=HeadConfig(channels=32, depth=1),
    preprocessing=PreprocessingConfig(short_side=96, long_side=160),
)


@pytest.fixture(scope="module")
def resnet50():
    return retinanet("resnet50", num_classes=80)


@pytest.fixture(scope="module")
def coco_batch(real_coco):
    data = load_dataset(DataConfig("coco", str(real_coco)), "train")
    batches = training_batches(
        data, Preprocessing(short_side=320, long_side=533), data_config=DataConfig(),
        batch_size=2, seed=0,
    )  # fmt: skip
    return next(iter(batches))


@pytest.fixture(scope="module")
def small_model():
    """Random, but with a prior so high that it finds something everywhere."""
    config = ModelConfig(**{**vars(SMALL), "head": HeadConfig(channels=32, depth=1, prior=0.3)})
    model = RetinaNet(config, ["a", "b", "c"])
    rng = np.random.default_rng(1)
    final = model.class_head.get_layer("final")
    final.kernel.assign(rng.normal(0, 0.3, final.kernel.shape))
    return model


@pytest.mark.long
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_untrained_probability_is_the_prior_on_real_pictures(resnet50, coco_batch, training):
    probabilities = tf.sigmoid(resnet50(coco_batch[0], training=training)["class_logits"])
    assert 0.005 < float(tf.reduce_mean(probabilities)) < 0.02
    assert float(tf.reduce_max(probabilities)) < 0.1


@pytest.mark.long
def test_first_loss_is_what_the_prior_predicts(resnet50, coco_batch):
    images, labels = coco_batch
    anchors = resnet50.anchors(*images.shape[1:3])
    targets = AnchorLabeler()(anchors, labels)
    positives = int(np.sum(targets.matches >= 0))
    background = int(np.sum(targets.matches == -1))
    # Every probability is pi: alpha = .25, gamma = 2 (section 3.2), and a box head that says 0.
    per_background = 0.75 * PRIOR**2 * -np.log(1 - PRIOR)
    per_positive = 0.25 * (1 - PRIOR) ** 2 * -np.log(PRIOR)
    class_sum = positives * (per_positive + 79 * per_background) + background * 80 * per_background
    matched = np.nonzero(targets.matches >= 0)
    deltas = resnet50.box_coder.encode(
        targets.boxes.numpy()[matched], anchors.numpy()[matched[1]]
    ).numpy()
    size = np.abs(deltas)
    box_sum = np.where(size < 0.11, size**2 / 0.22, size - 0.055).sum()

    outputs = resnet50(images, training=True)
    loss = RetinaNetLoss()({"targets": targets, "anchors": anchors}, outputs)
    assert float(loss) == pytest.approx((class_sum + box_sum) / positives, rel=0.05)
    assert float(loss) < 10


@pytest.mark.long
def test_every_weight_moves_in_one_step(coco_batch):
    model = RetinaNet(SMALL, [f"c{i}" for i in range(80)])
    # A zero gamma stops the gradient of its own branch in the very first step, by design.
    for layer in model.backbone.layers:
        if hasattr(layer, "gamma"):
            layer.gamma.assign(tf.ones_like(layer.gamma))
    model.compile()
    before = [variable.numpy() for variable in model.trainable_variables]
    model.fit(tf.data.Dataset.from_tensors(coco_batch), verbose=0, shuffle=False)
    still = [
        variable.path
        for variable, old in zip(model.trainable_variables, before, strict=True)
        if np.array_equal(variable.numpy(), old)
    ]
    assert still == []


@pytest.mark.long
def test_thirty_steps_overfit_one_picture():
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 60, (1, 96, 96, 3)).astype("float32")
    image[0, 20:60, 30:80] += 150
    labels = {
        "boxes": np.array([[[30, 20, 80, 60]]], "float32"),
        "classes": np.array([[1]]),
        "ignore": np.array([[False]]),
    }
    model = RetinaNet(SMALL, ["a", "b", "c"])
    import keras

    model.compile(keras.optimizers.Adam(1e-3))
    data = tf.data.Dataset.from_tensors((image, labels)).repeat(30)
    losses = []
    for _ in range(2):
        losses.append(model.fit(data, verbose=0, shuffle=False).history["loss"][0])
    assert losses[1] < 0.3 * losses[0]


def test_outputs_are_float32_under_mixed_precision():
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = RetinaNet(SMALL, ["a"])
        outputs = model(np.zeros((1, 64, 64, 3), "float32"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.backbone.get_layer("stage2_block1_conv1").compute_dtype == "bfloat16"
    assert {name: value.dtype for name, value in outputs.items()} == {
        "class_logits": tf.float32,
        "box_deltas": tf.float32,
    }
    assert float(tf.reduce_mean(tf.sigmoid(outputs["class_logits"]))) == pytest.approx(
        0.01, rel=0.1
    )


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (33, 200)])
def test_one_row_per_anchor_for_any_size(small_model, size):
    outputs = small_model(np.zeros((1, *size, 3), "float32"))
    assert outputs["class_logits"].shape[1] == small_model.anchors(*size).shape[0]


def pictures(rng, count=5):
    sides = [(60, 100), (200, 120), (96, 160), (31, 300), (100, 100)]
    return [rng.integers(0, 255, (*sides[i % 5], 3), np.uint8) for i in range(count)]


@pytest.mark.long
def test_batch_of_one_equals_batch_of_eight(small_model, rng):
    images = pictures(rng, 15)
    together = small_model.detect(images, batch_size=8)
    alone = [small_model.detect(image)[0] for image in images]
    assert sum(len(found) for found in together) > 100
    for one, other in zip(together, alone, strict=True):
        assert len(one) == len(other)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)


def test_detect_gives_pixels_of_each_picture(small_model, rng):
    images = pictures(rng)
    for image, found in zip(images, small_model.detect(images), strict=True):
        height, width = image.shape[:2]
        assert found.boxes.dtype == np.float32 and found.boxes.shape == (len(found), 4)
        assert (found.boxes >= 0).all()
        assert (found.boxes <= np.array([width, height, width, height]) + 1e-3).all()
        assert found.boxes[:, 2].max() > 0.8 * width
        assert (np.diff(found.scores) <= 0).all() and found.scores.min() > 0.05
        assert set(found.classes) <= {0, 1, 2} and found.class_names == ["a", "b", "c"]


def test_detect_of_nothing(small_model):
    assert small_model.detect([]) == []


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8, 3), np.uint8)],
)
def test_detect_refuses_what_is_no_picture(small_model, image):
    with pytest.raises(ValueError, match=r"uint8 RGB arrays \(H, W, 3\).*image 0"):
        small_model.detect([image])


@pytest.mark.long
def test_thresholds_come_from_the_model(rng):
    config = ModelConfig(**{**vars(SMALL), "detections": DetectionConfig(max_detections=3),
                            "head": HeadConfig(channels=32, depth=1, prior=0.3)})  # fmt: skip
    found = RetinaNet(config, ["a"]).detect(pictures(rng, 1))
    assert len(found[0]) == 3


def test_names_and_number_of_classes_must_agree():
    with pytest.raises(ValueError, match="num_classes=3, 2 class_names"):
        retinanet("resnet18", num_classes=3, class_names=["a", "b"])


def test_compile_refuses_another_loss(small_model):
    with pytest.raises(ValueError, match="RetinaNetLoss"):
        small_model.compile(loss="mse")
