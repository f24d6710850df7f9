"""Options that other systems' weights ask of preprocessing, graph, coder and detections."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from test_post_processing import logit, rows, still

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.anchors import Anchors
from keras_retinanet.modeling.backbones import build_backbone
from keras_retinanet.modeling.boxes import MAX_LOG_SCALE, BoxCoder
from keras_retinanet.modeling.fpn import build_fpn, norm_layer
from keras_retinanet.modeling.heads import build_head
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.modeling.resizing import pillow_resize

# ------------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize(
    ("picture", "even", "floor", "half_up"),
    [
        # 800 / 427 = 1.87353...: 1199.06 px wide.
        ((427, 640), (800, 1199), (800, 1199), (800, 1199)),
        # 2.66666... * 449 = 1197.33; 800 * (300 / 300) may be a hair below 800, and is cut.
        ((300, 449), (800, 1197), (800, 1197), (800, 1197)),
        # The long side binds: .4443333 * 1000 = 444.33 and 1333.
        ((1000, 3000), (444, 1333), (444, 1333), (444, 1333)),
        # 66.65: cut by torchvision alone.
        ((100, 2000), (67, 1333), (66, 1333), (67, 1333)),
    ],
)
def test_whole_sides(picture, even, floor, half_up):
    found = [
        Preprocessing(rounding=name).resized_size(*picture) for name in ("even", "floor", "half_up")
    ]
    assert found == [even, floor, half_up]


def test_half_a_pixel():
    # 5 * .5 = 2.5 and 3 * .5 = 1.5.
    sides = {"short_side": 2, "long_side": 2}
    assert Preprocessing(**sides, rounding="even").resized_size(4, 3) == (2, 2)
    assert Preprocessing(short_side=3, long_side=99).resized_size(6, 5) == (4, 3)
    up = Preprocessing(short_side=2, long_side=99, rounding="half_up")
    assert up.resized_size(4, 5) == (2, 3)  # 2.5
    assert Preprocessing(short_side=2, long_side=99).resized_size(4, 5) == (2, 2)


def test_a_sliver_keeps_a_pixel():
    for rounding in ("even", "floor", "half_up"):
        found = Preprocessing(rounding=rounding).resized_size(1, 5000)
        assert found == (1, 1333)


@pytest.mark.parametrize(
    ("canvas", "multiple", "resized", "expected"),
    [
        ("exact", 32, (608, 641), (608, 672)),
        ("exact_beyond", 32, (608, 641), (640, 672)),
        ("square", 128, (300, 640), (640, 640)),
        ("square", 128, (640, 200), (640, 640)),
        ("exact", 1, (301, 401), (301, 401)),
    ],
)
def test_canvases(canvas, multiple, resized, expected):
    preprocessing = Preprocessing(short_side=640, long_side=640, canvas=canvas, multiple=multiple)
    assert preprocessing.canvas_size(*resized) == expected


# ----------------------------------------------------------------------------------------- pixels


@pytest.mark.long
@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((48, 64), (13, 17)),
        ((48, 64), (80, 107)),
        ((37, 5), (37, 9)),
        ((37, 5), (12, 5)),
        ((1, 500), (1, 133)),
        ((9, 12), (6, 8)),
        ((20, 20), (10, 10)),
        ((1, 1), (5, 7)),
    ],
)
def test_pillow_resize_is_pillows(rng, source, size):
    picture = rng.integers(0, 256, (*source, 3), dtype=np.uint8)
    theirs = Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pillow_resize(picture, size), np.asarray(theirs))
    # In a graph, where no size is known, too.
    signature = [tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((2,), tf.int32)]
    traced = tf.function(pillow_resize, input_signature=signature)
    np.testing.assert_array_equal(traced(picture, size), np.asarray(theirs))


def test_rounded_resize_gives_whole_grey_levels():
    picture = np.array([[[0, 10, 20], [1, 13, 255]]], np.uint8)
    options = {"short_side": 1, "long_side": 4}
    smooth = Preprocessing(**options).resize(picture, (1, 4))
    np.testing.assert_allclose(smooth[0, :, 1], [10, 10.75, 12.25, 13], rtol=1e-6)
    whole = Preprocessing(**options, resize_method="rounded").resize(picture, (1, 4))
    np.testing.assert_array_equal(whole[0, :, 1], [10, 11, 12, 13])


def test_exact_scale_samples_and_goes_back_by_the_unrounded_scale():
    # Scale 4 / 3 gives 6.67 px, rounded to 7: the ratio of the sides is 1.4.
    sides = {"short_side": 4, "long_side": 100}
    exact = Preprocessing(**sides, exact_scale="both")
    assert exact.resized_size(3, 5) == (4, 7)
    ramp = np.repeat(np.arange(5, dtype="f4")[None, :, None] * 10, 3, axis=0).repeat(3, axis=2)
    centres = np.clip((np.arange(7) + 0.5) * 3 / 4 - 0.5, 0, 4)
    np.testing.assert_allclose(exact.resize(ramp, (4, 7))[0, :, 0], 10 * centres, atol=1e-4)
    box = np.array([[4.0, 2.0, 6.0, 4.0]], "f4")
    back = [[3.0, 1.5, 4.5, 3.0]]
    np.testing.assert_allclose(exact.boxes_to_picture(box, (4, 7), (3, 5)), back, rtol=1e-6)
    only_boxes = Preprocessing(**sides, exact_scale="boxes")
    np.testing.assert_allclose(only_boxes.boxes_to_picture(box, (4, 7), (3, 5)), back, rtol=1e-6)
    by_ratio = Preprocessing(**sides)
    np.testing.assert_array_equal(only_boxes.resize(ramp, (4, 7)), by_ratio.resize(ramp, (4, 7)))
    np.testing.assert_allclose(
        by_ratio.boxes_to_picture(box, (4, 7), (3, 5)), [[4 / 1.4, 1.5, 6 / 1.4, 3]], rtol=1e-6
    )


def test_padding_before_the_resize():
    preprocessing = Preprocessing(short_side=8, long_side=8, canvas="square", pad_first=True)
    picture = np.full((2, 4, 3), 200, np.uint8)
    canvas, size = preprocessing.letterbox(picture)
    assert size == canvas.shape[:2] == (8, 8)  # whatever the canvas's multiple
    np.testing.assert_array_equal(canvas[0], 0)  # a black row above and one below
    np.testing.assert_array_equal(canvas[-1], 0)
    np.testing.assert_array_equal(canvas[4], 200)
    box = np.array([[0.0, 2.0, 8.0, 6.0]], "f4")
    np.testing.assert_allclose(preprocessing.boxes_to_picture(box, (8, 8), (2, 4)), [[0, 0, 4, 2]])
    # Half a row cannot be added on each side: 3 x 4 is stretched.
    np.testing.assert_allclose(
        preprocessing.boxes_to_picture(box, (8, 8), (3, 4)), [[0, 0.75, 4, 2.25]]
    )
    with pytest.raises(UserError, match="short_side = long_side"):
        Preprocessing(short_side=8, long_side=9, pad_first=True)


# ------------------------------------------------------------------------------ anchors and coder


def test_rounded_base_anchors():
    # odtk until March 2020, P3: 6 x 12 and 11 x 6 at stride 8, times 4.
    cell = Anchors(rounded_base=True, scales=(1.0,), offset=0.0).cell(32.0)
    np.testing.assert_array_equal(
        cell, [[-22, -12, 22, 12], [-16, -16, 16, 16], [-12, -24, 12, 24]]
    )
    # In float the wide one is 45.25 x 22.63.
    assert Anchors(scales=(1.0,)).cell(32.0)[0, 2] == pytest.approx(22.627, abs=1e-3)


def test_inclusive_anchors_end_a_pixel_later():
    plain, inclusive = Anchors()(64, 64), Anchors(inclusive=True)(64, 64)
    np.testing.assert_allclose(
        inclusive - plain, np.tile([0, 0, 1, 1], (len(plain), 1)), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(
    ("log_clip", "expected"),
    [("upper", (62.5, np.exp(-6))), ("both", (62.5, 1 / 62.5)), ("none", (np.exp(6), np.exp(-6)))],
)
def test_log_clip(log_clip, expected):
    assert np.exp(MAX_LOG_SCALE) == pytest.approx(62.5)
    anchors = tf.constant([[0.0, 0.0, 1.0, 1.0]])
    deltas = tf.constant([[0.0, 0.0, 6.0, -6.0]])
    x1, y1, x2, y2 = BoxCoder(log_clip=log_clip).decode(deltas, anchors)[0].numpy()
    assert (x2 - x1, y2 - y1) == pytest.approx(expected, rel=1e-4)


# ------------------------------------------------------------------------------------- detections

BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], "f4")


def test_no_cut_before_the_suppression():
    scores = [[0.9, 0.8], [0.7, 0.6], [0.5, 0.4]]
    apart = BOXES + np.array([[0], [100], [200]])
    assert len(rows(still(scores, apart, pre_nms_top_k=2, score_threshold=0.1))) == 2
    found = rows(still(scores, apart, pre_nms_top_k=None, score_threshold=0.1))
    assert [(c, round(float(s), 4)) for c, s, _ in found] == [
        (0, 0.9), (1, 0.8), (0, 0.7), (1, 0.6), (0, 0.5), (1, 0.4),
    ]  # fmt: skip


def test_top_k_of_each_class_over_the_levels():
    scores = [[0.9, 0.2], [0.7, 0.3], [0.5, 0.4]]
    apart = BOXES + np.array([[0], [100], [200]])
    options = {"pre_nms_top_k": 1, "top_k_per": "class", "score_threshold": 0.1}
    found = rows(still(scores, apart, cells=[2, 1], **options))
    assert [(c, round(float(s), 4)) for c, s, _ in found] == [(0, 0.9), (1, 0.4)]


def test_best_class_suppresses_all_classes():
    # The second box overlaps the first by 9/10 and is of another class.
    scores = [[0.9, 0.8, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]]
    options = {"suppress": "best_class", "score_threshold": 0.05}
    for top_k in (None, 1000):
        found = rows(still(scores, BOXES, pre_nms_top_k=top_k, **options))
        assert [(c, round(float(s), 4)) for c, s, _ in found] == [(0, 0.9), (2, 0.6)]
        np.testing.assert_array_equal(found[1][2], BOXES[2])
    per_class = rows(still(scores, BOXES, score_threshold=0.65))
    assert [c for c, _, _ in per_class] == [0, 1]


def test_background_is_no_detection():
    scores = [[0.99, 0.3, 0.2], [0.99, 0.1, 0.9], [0.9, 0.01, 0.02]]
    for suppress in ("per_class", "best_class"):
        found = rows(still(scores, BOXES, background_output=True, suppress=suppress))
        assert (found[0][0], round(float(found[0][1]), 4)) == (2, 0.9)
        assert all(c > 0 for c, _, _ in found)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 0, 8, 6]),
        ({"clip_margin": 1.0}, [0, 0, 7, 5]),
        ({"clip_to": "canvas"}, [0, 0, 16, 12]),
        ({"clip_to": "none"}, [-5, -5, 50, 50]),
    ],
)
def test_where_boxes_are_cut(options, expected):
    from keras_retinanet.modeling.post_processing import PostProcessing

    outputs = {
        "class_logits": tf.constant(logit(np.array([[[0.9]]])), tf.float32),
        "box_deltas": tf.zeros((1, 1, 4)),
    }
    anchors = tf.constant([[-5.0, -5.0, 50.0, 50.0]])
    sizes = tf.constant([[6, 8]])
    found = PostProcessing(**options)(outputs, anchors, [1], sizes, BoxCoder(), (12, 16))
    np.testing.assert_array_equal(found.boxes[0, 0], expected)


@pytest.mark.parametrize("clip_before_nms", [True, False])
def test_empty_boxes_are_dropped(clip_before_nms):
    boxes = np.array([[90, 0, 99, 9], [0, 0, 9, 9], [0, 90, 9, 99]], "f4")  # a picture of 50 x 50
    options = {"sizes": np.array([[50, 50]], "i4"), "clip_before_nms": clip_before_nms}
    scores = [[0.9], [0.8], [0.7]]
    assert len(rows(still(scores, boxes, **options))) == 3
    found = still(scores, boxes, drop_empty=True, **options)
    assert [(c, round(float(s), 4)) for c, s, _ in rows(found)] == [(0, 0.8)]
    np.testing.assert_array_equal(rows(found)[0][2], boxes[1])
    # Cut before the suppression, they take no place among the best either.
    best = still(scores, boxes, drop_empty=True, max_detections=1, **options)
    assert int(best.num[0]) == (1 if clip_before_nms else 0)


# ------------------------------------------------------------------------------------------ graph


def test_norms_at_the_sums_of_the_pyramid():
    """KerasHub's: what is normalised goes up, to the outputs and to P7."""
    fpn = build_fpn((4, 4, 4), channels=4, norm="batch_norm", norm_at="merged", p6_from="c5")
    names = [layer.name for layer in fpn.layers if "norm" in layer.name]
    assert sorted(names) == ["norm_c3", "norm_c4", "norm_c5", "norm_p6", "norm_p7"]
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(1, side, side, 4)).astype("f4") for side in (8, 4, 2)]
    before = [level.numpy() for level in fpn(features)]
    fpn.get_layer("norm_c5").gamma.assign(np.full(4, 2.0))
    after = [level.numpy() for level in fpn(features)]
    for index in range(3):  # the top goes down to all three
        assert np.abs(after[index] - before[index]).max() > 1e-3
    np.testing.assert_array_equal(after[3], before[3])
    fpn.get_layer("norm_p6").gamma.assign(np.full(4, 3.0))
    tripled = [level.numpy() for level in fpn(features)]
    np.testing.assert_allclose(tripled[3], 3 * after[3], rtol=1e-5)
    np.testing.assert_allclose(tripled[4], 3 * after[4], rtol=1e-5)  # ReLU and convolution keep it


def test_norm_epsilon():
    x = np.array([[[[0.5]]]], "f4")
    for epsilon, scale in ((None, (1 + 1e-3) ** -0.5), (0.5, 1.5**-0.5)):
        norm = norm_layer("batch_norm", 1, "norm", epsilon)
        assert norm(x).numpy().item() == pytest.approx(0.5 * scale, rel=1e-6)
    assert norm_layer("group_norm", 4, "norm").epsilon == 1e-5
    assert norm_layer("group_norm", 4, "norm", 1e-3).epsilon == 1e-3


def test_a_bias_before_the_norm():
    common = {
        "in_channels": 4,
        "num_anchors": 1,
        "outputs_per_anchor": 2,
        "channels": 4,
        "depth": 1,
    }
    for wanted in (False, True):
        head = build_head("h", norm="batch_norm", bias_before_norm=wanted, **common)
        assert head.get_layer("conv1").use_bias == wanted
        assert head.get_layer("norm1_p5").epsilon == 1e-3


def test_a_stem_padded_in_its_own_way():
    """The window's middle row: on the picture's first row, or with "same" on its second."""
    picture = np.zeros((1, 32, 32, 3), "f4")
    picture[0, 0] = 1.0
    responses = []
    for stem_padding in (None, "same"):
        trunk = build_backbone("resnet18", stem_padding=stem_padding)
        kernel = np.zeros((7, 7, 3, 64), "f4")
        kernel[3] = 1.0
        trunk.get_layer("stem_conv").kernel.assign(kernel)
        stem = type(trunk)(trunk.input, trunk.get_layer("stem_conv").output)
        responses.append(stem(picture)[0, :, 8, 0].numpy())
    assert responses[0][0] == 21.0  # seven columns of three channels: row 3 of the kernel on row 0
    assert responses[1][0] == 0.0  # "same" pads two rows above: its row 3 is the picture's row 1
