"""ONNX files, run by onnxruntime and by OpenVINO, against the model that they were written from."""

import dataclasses
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config.model import (
    AnchorConfig,
    BackboneConfig,
    BoxCoderConfig,
    DetectionConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
    PreprocessingConfig,
)
from keras_retinanet.errors import UserError
from keras_retinanet.exporting import onnx_file
from keras_retinanet.exporting.facts import FACTS_KEY, read_facts
from keras_retinanet.exporting.onnx_file import OPSET, OUTPUTS, export_onnx
from keras_retinanet.modeling.post_processing import DetectionBatch
from keras_retinanet.modeling.retinanet import RetinaNet

onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
ort = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
pytest.importorskip("tf2onnx", reason="needs the extra `onnx`")

pytestmark = pytest.mark.conversion
SMALL_FPN = FPNConfig(channels=16)
SMALL_HEAD = HeadConfig(channels=16, depth=1, prior=0.2)
# All kinds of layers that a model may have, in few models.
NETWORKS = {
    # Explicit padding, max-pool, P6 from C5.
    "resnet18": ModelConfig(
        backbone=BackboneConfig(name="resnet18"), fpn=SMALL_FPN, head=SMALL_HEAD
    ),
    # Depthwise and separable convolutions; a batch norm per level in the heads.
    "lite0": ModelConfig(
        backbone=BackboneConfig(name="efficientnet_lite0"),
        fpn=dataclasses.replace(
            SMALL_FPN, p6_from="p5", norm="batch_norm", norm_at="merged", separable=True
        ),
        head=dataclasses.replace(SMALL_HEAD, norm="batch_norm", separable=True),
        anchors=AnchorConfig(stride="true", rounded=True, clip=True),
    ),
    # Grouped convolutions; group norms; blue first.
    "resnext": ModelConfig(
        backbone=BackboneConfig(name="resnext50_32x4d", padding="same"),
        fpn=dataclasses.replace(SMALL_FPN, padding="same", norm="group_norm"),
        head=dataclasses.replace(SMALL_HEAD, norm="group_norm"),
        preprocessing=PreprocessingConfig(color_order="bgr"),
    ),
}
# All ways from logits to detections.
DETECTIONS = {
    "default": DetectionConfig(score_threshold=0.3),
    "best_class": DetectionConfig(suppress="best_class", score_threshold=0.3),
    "others": DetectionConfig(
        top_k_per="class",
        score_threshold=0.3,
        clip_before_nms=False,
        clip_to="canvas",
        clip_margin=1.0,
        drop_empty=True,
        background_output=True,
    ),
    "all_candidates": DetectionConfig(score_threshold=0.0, pre_nms_top_k=None, clip_to="none"),
    "no_candidate": DetectionConfig(score_threshold=1.0),
}
CODERS = {"others": BoxCoderConfig("corners", (0.2,) * 4), "best_class": BoxCoderConfig("yxhw")}


def build(config: ModelConfig) -> RetinaNet:
    """Return a model whose norms do something, and whose scores are spread."""
    rng = np.random.default_rng(0)
    model = RetinaNet(config, ["cat", "dog", "owl"], class_ids=[17, 3, 5])
    drawn = {"gamma": (1.0, 0.2), "beta": (0.0, 0.2), "moving_mean": (0.0, 0.2)}
    for variable in model.variables:
        if variable.name in drawn:
            variable.assign(rng.normal(*drawn[variable.name], variable.shape))
        elif variable.name == "moving_variance":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    for head, spread in ((model.class_head, 1.0), (model.box_head, 0.3)):
        x = rng.uniform(0, 255, (1, 64, 64, 3)).astype("f4")
        key = "class_logits" if head is model.class_head else "box_deltas"
        final = head.get_layer("final")
        kernel = final.weights[-2]
        kernel.assign(kernel * (spread / np.std(model(x)[key])))
    return model


def pictures(rng, count: int, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def session(path):
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(path, images) -> dict[str, np.ndarray]:
    loaded = session(path)
    names = [output.name for output in loaded.get_outputs()]
    return dict(zip(names, loaded.run(None, {"images": images}), strict=True))


def assert_detects_as(model: RetinaNet, found: dict, images: np.ndarray) -> None:
    """Compare with the model's detections of the same canvases."""
    size = images.shape[1:3]
    wanted = model.detect_batch(images.astype("f4"), np.array([size] * len(images), np.int32))
    assert_same(found, wanted, size)
    assert wanted.num.numpy().min() > 5


def assert_same(found: dict, wanted: DetectionBatch, size) -> None:
    height, width = size
    np.testing.assert_array_equal(found["num"], wanted.num)
    np.testing.assert_array_equal(found["classes"], wanted.classes)
    np.testing.assert_allclose(found["scores"], wanted.scores, atol=1e-4)
    boxes = found["boxes"][..., [1, 0, 3, 2]] * [width, height, width, height]
    np.testing.assert_allclose(boxes, wanted.boxes, atol=0.1)


@pytest.fixture(scope="module", autouse=True)
def _convert_faster():
    """Without a copy of the graph before each of tf2onnx's optimisations, in case it fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF2ONNX_CATCH_ERRORS", "FALSE")
        yield


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    """A model and its files, "nms" and "raw", of any size."""
    model = build(dataclasses.replace(NETWORKS["resnet18"], detections=DETECTIONS["default"]))
    folder = tmp_path_factory.mktemp("onnx")
    for form in OUTPUTS:
        export_onnx(model, folder / f"{form}.onnx", form=form, say=lambda line: None)
    return model, folder


# ------------------------------------------------------------------------------------------- raw


@pytest.mark.parametrize(
    "network", ["resnet18", "lite0", pytest.param("resnext", marks=pytest.mark.slow)]
)
def test_raw_is_the_network_for_any_size(network, default, tmp_path, rng):
    model, folder = default
    path = folder / "raw.onnx"
    if network != "resnet18":
        model, path = build(NETWORKS[network]), tmp_path / "raw.onnx"
        export_onnx(model, path, form="raw")
    for count, height, width in ((1, 96, 64), (3, 67, 101)):
        images = rng.uniform(0, 255, (count, height, width, 3)).astype("f4")
        found, wanted = run(path, images), model(images, training=False)
        for name in ("class_logits", "box_deltas"):
            np.testing.assert_allclose(found[name], wanted[name], atol=1e-4, err_msg=name)
        assert np.std(found["class_logits"]) > 0.2
        np.testing.assert_allclose(found["anchors"][0], model.anchors(height, width), atol=1e-4)


# ------------------------------------------------------------------------------------------- nms


@pytest.mark.parametrize("count", [1, 3, 8])
def test_nms_detects_as_the_model_in_any_size(default, rng, count):
    model, folder = default
    for height, width in ((64, 96), (75, 50)):
        images = pictures(rng, count, height, width)
        found = run(folder / "nms.onnx", images)
        assert_detects_as(model, found, images)


def given_heads(model: RetinaNet, image_size):
    """Return a network of fixed outputs, moved a little by the picture's colour."""
    rng = np.random.default_rng(1)
    count = len(model.anchors(*image_size))
    logits = rng.normal(-2, 1, (count, 3)).astype("f4")
    deltas = rng.normal(0, 0.5, (count, 4)).astype("f4")

    def network(images, training):
        colour = tf.reduce_mean(images, [1, 2]) / 255.0  # (B, 3)
        batch = tf.ones([tf.shape(images)[0], 1, 1])
        return {"class_logits": logits + colour[:, None], "box_deltas": deltas * batch}

    return network


@pytest.mark.parametrize("options", [name for name in DETECTIONS if name != "default"])
def test_nms_does_what_the_models_options_ask(options, default, tmp_path, rng, monkeypatch):
    config = dataclasses.replace(
        default[0].config,
        detections=DETECTIONS[options],
        box_coder=CODERS.get(options, BoxCoderConfig()),
    )
    model, size = RetinaNet(config, default[0].class_names), (64, 80)
    network = given_heads(model, size)
    monkeypatch.setattr(onnx_file, "folded", lambda model: network)
    onnx_file.export_onnx(model, tmp_path / "nms.onnx", image_size=size)
    # Where boxes of all classes suppress each other there is one picture at a time.
    for count in (1,) if options == "best_class" else (1, 2):
        images = pictures(rng, count, *size)
        outputs = network(images.astype("f4"), training=False)
        wanted = model.detect_outputs(outputs, size, np.array([size] * count, np.int32))
        found = run(tmp_path / "nms.onnx", images)
        assert_same(found, wanted, size)
        if options == "no_candidate":
            assert not any(part.any() for part in found.values())
        else:
            assert (found["num"] > 20).all()


# -------------------------------------------------------------------------------------- contract


def test_the_file_says_what_it_takes_and_gives(default):
    _, folder = default
    for form, dtype in (("nms", "uint8"), ("raw", "float32")):
        loaded = session(folder / f"{form}.onnx")
        (images,) = loaded.get_inputs()
        assert (images.name, images.shape) == ("images", ["batch", "height", "width", 3])
        assert images.type == {"uint8": "tensor(uint8)", "float32": "tensor(float)"}[dtype]
        assert [output.name for output in loaded.get_outputs()] == list(OUTPUTS[form])
        facts = read_facts(loaded.get_modelmeta().custom_metadata_map[FACTS_KEY], "file")
        assert (facts["kind"], facts["form"], facts["precision"]) == ("onnx", form, "float32")
        assert [output["name"] for output in facts["outputs"]] == list(OUTPUTS[form])
        assert facts["class_names"] == ["cat", "dog", "owl"]
        assert facts["class_ids"] == [17, 3, 5]
        assert facts["input"]["dtype"] == dtype
        assert facts["input"]["image_size"] is None
        assert facts["config"]["detections"]["score_threshold"] == 0.3


def test_only_onnx_operators_and_no_weight_twice(default):
    model, folder = default
    file = onnx.load(folder / "nms.onnx")
    assert {opset.domain: opset.version for opset in file.opset_import}[""] == OPSET
    assert {node.domain for node in file.graph.node} <= {"", "ai.onnx"}
    operators = [node.op_type for node in file.graph.node]
    assert operators.count("NonMaxSuppression") == 1
    assert not {"Loop", "BatchNormalization"} & set(operators)
    weights = sum(np.prod(variable.shape) for variable in model.variables)
    assert (folder / "raw.onnx").stat().st_size < 1.02 * 4 * weights


def test_what_is_wrong_is_said_and_nothing_left(default, tmp_path, monkeypatch):
    model = default[0]
    with pytest.raises(UserError, match="form='mediapipe'"):
        export_onnx(model, tmp_path / "x.onnx", form="mediapipe")
    import tf2onnx

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(onnx, "save_model", fail)
    monkeypatch.setattr(
        tf2onnx.convert, "from_function", lambda *a, **k: (onnx.load(default[1] / "nms.onnx"), None)
    )
    with pytest.raises(OSError, match="disk full"):
        export_onnx(model, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(UserError, match="pip install"):
        export_onnx(model, tmp_path / "x.onnx")


# --------------------------------------------------------------------------------------- OpenVINO


@pytest.mark.parametrize("form", OUTPUTS)
def test_openvino_gives_the_same(default, rng, form):
    openvino = pytest.importorskip("openvino", reason="reads ONNX files too")
    model, folder = default
    # Its default on CPUs that have bfloat16 is bfloat16.
    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(folder / f"{form}.onnx"), "CPU", precision)
    images = pictures(rng, 2, 64, 96)
    images = images if form == "nms" else images.astype("f4")
    results = compiled({"images": images})
    found = {name: results[name] for name in OUTPUTS[form]}
    if form == "nms":
        assert_detects_as(model, found, images)
    else:
        wanted = model(images, training=False)
        np.testing.assert_allclose(found["class_logits"], wanted["class_logits"], atol=1e-4)
        np.testing.assert_allclose(found["box_deltas"], wanted["box_deltas"], atol=1e-4)
