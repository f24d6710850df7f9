"""Exported files as detectors: what they find, and what a damaged, foreign or newer one is."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from exported_models import with_facts

from keras_retinanet.config.files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.checks import ExportFailed, check_export
from keras_retinanet.exporting.exported import load_detector, load_exported
from keras_retinanet.exporting.facts import export_kind
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.retinanet import RetinaNet

pytestmark = pytest.mark.conversion

SIDE = 96
# What untrained heads give is spread over the scores by these.
OVERRIDES = {
    "model.fpn.channels": 16,
    "model.head.channels": 16,
    "model.head.depth": 1,
    "model.head.prior": 0.2,
    "model.anchors.scales": [1.0],
    "model.preprocessing.short_side": SIDE,
    "model.preprocessing.long_side": SIDE,
    "model.preprocessing.canvas": "square",
    "model.detections.score_threshold": 0.25,
    "model.detections.max_detections": 20,
}


@pytest.fixture(scope="module")
def model() -> RetinaNet:
    import keras

    keras.utils.set_random_seed(1)
    config = load_config("shapes", OVERRIDES).model
    built = RetinaNet(config, ["cat", "dog"], class_ids=[17, 3], metadata={"license": "none"})
    for head in (built.class_head, built.box_head):
        for variable in head.trainable_variables:
            if variable.path.endswith("kernel"):
                variable.assign(variable * 6.0)
    return built


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Smooth pictures: the model's own size, twice it, and a wide one."""
    rng = np.random.default_rng(3)
    sizes = [(SIDE, SIDE), (SIDE, SIDE), (2 * SIDE, 2 * SIDE), (50, 90)]
    coarse = [rng.integers(0, 255, (6, 6, 3)).astype(np.float32) for _ in sizes]
    return [
        tf.cast(tf.image.resize(c, size), tf.uint8).numpy()
        for c, size in zip(coarse, sizes, strict=True)
    ]


def export(model: RetinaNet, path: Path, **options) -> Path:
    if path.suffix == ".tflite":
        from keras_retinanet.exporting.tflite.conversion import export_tflite as write
    elif path.suffix == ".onnx":
        pytest.importorskip("onnxruntime", reason="runs the .onnx file")
        pytest.importorskip("tf2onnx", reason="writes the .onnx file")
        from keras_retinanet.exporting.onnx_file import export_onnx as write
    else:
        from keras_retinanet.exporting.saved_model.folder import export_saved_model as write
    write(model, path, say=lambda step: None, **options)
    return path


FORMS = {
    "saved_model": {},
    "nms.tflite": {"form": "nms"},
    "stretched.tflite": {"form": "mediapipe"},
    "raw.onnx": {"form": "raw"},
}


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """Exports when first asked for, once a form."""
    folder = tmp_path_factory.mktemp("exported")

    def path(name: str) -> Path:
        file = folder / name
        return file if file.exists() else export(model, file, **FORMS[name])

    return path


def assert_same(found: Detections, wanted: Detections, *, pixels: float) -> None:
    assert len(found) == len(wanted) > 3
    np.testing.assert_array_equal(found.classes, wanted.classes)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=pixels)
    assert found.class_names == wanted.class_names


# ---------------------------------------------------------------------------------------- detect


@pytest.mark.parametrize("name", FORMS)
def test_a_file_finds_what_its_model_finds(model, pictures, exported, name):
    detector = load_detector(exported(name))
    found = detector.detect(pictures, batch_size=2)
    wanted = model.detect(pictures)
    # Where nothing is resized, a uint8 canvas has the very pixels of the float one.
    exact = range(4) if name == "saved_model" else range(2)
    for index in exact:
        assert_same(found[index], wanted[index], pixels=0.1)
    for index in (2, 3):
        seen = check_export(model, exported(name), [pictures[index]])
        assert seen.matched == seen.compared > 3
        height, width = pictures[index].shape[:2]
        assert len(found[index]) > 3
        assert found[index].boxes.min() >= 0
        assert (found[index].boxes <= [width, height, width, height]).all()
    assert found[2].boxes.max() > SIDE  # in pixels of the picture, not of the canvas


@pytest.mark.parametrize("name", FORMS)
def test_a_file_knows_what_its_model_knows(model, exported, name):
    detector = load_exported(exported(name))
    assert detector.class_names == ["cat", "dog"]
    assert detector.class_ids == [17, 3]
    assert detector.metadata == {"license": "none"}
    assert detector.config == model.config
    assert detector.preprocessing == model.preprocessing


def test_a_files_digest_tells_that_it_is_as_it_was_exported(exported, tmp_path):
    folder, file = tmp_path / "saved_model", tmp_path / "raw.onnx"
    shutil.copytree(exported("saved_model"), folder)
    with (folder / "variables" / "variables.index").open("ab") as stream:
        stream.write(b"\0")
    content = bytearray(exported("raw.onnx").read_bytes())
    content[len(content) // 2] ^= 1  # of a weight
    file.write_bytes(content)
    for path in (folder, file):
        with pytest.raises(UserError, match="damaged or was changed: its bytes"):
            load_exported(path)


def test_a_file_with_its_license_in_british_spelling(exported, tmp_path):
    with_facts(exported("nms.tflite"), tmp_path / "old.tflite", metadata={"licence": "MIT"})
    assert load_exported(tmp_path / "old.tflite").metadata == {"license": "MIT"}


def test_one_array_is_one_picture_and_others_are_refused(exported, pictures):
    detector = load_exported(exported("nms.tflite"))
    assert len(detector.detect(pictures[0])) == 1
    assert detector.detect([]) == []
    with pytest.raises(ValueError, match="image 0 with shape=\\(9, 9\\)"):
        detector.detect([np.zeros((9, 9), np.uint8)])


# ------------------------------------------------------------------------- what is no such file


def test_paths_that_look_exported(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    assert export_kind(tmp_path) == "saved_model"
    assert export_kind("x.TFLITE") == "tflite"
    assert export_kind(Path("x.onnx")) == "onnx"
    assert export_kind("x.keras") is None
    assert export_kind(tmp_path / "nowhere") is None


@pytest.mark.parametrize("name", ["saved_model", "nms.tflite", "raw.onnx"])
def test_a_damaged_file_is_one_line(exported, tmp_path, name):
    good = exported(name)
    bad = tmp_path / name
    if good.is_dir():
        (bad / "assets").mkdir(parents=True)
        (bad / "saved_model.pb").write_bytes((good / "saved_model.pb").read_bytes()[:999])
        facts = (good / "assets" / "model.json").read_bytes()
        (bad / "assets" / "model.json").write_bytes(facts)
    else:
        bad.write_bytes(good.read_bytes()[:5000])
    with pytest.raises(UserError) as error:
        load_exported(bad)
    assert str(bad) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_foreign_file_is_one_line(tmp_path):
    tf.saved_model.save(tf.Module(), tmp_path / "foreign")
    (tmp_path / "x.tflite").write_bytes(b"TFL3 and no more")
    for path in (tmp_path / "foreign", tmp_path / "x.tflite"):
        with pytest.raises(UserError, match=r"no valid model\.json of `keras_retinanet export`"):
            load_exported(path)
    with pytest.raises(UserError, match="not there"):
        load_exported(tmp_path / "y.onnx")


def test_bytes_that_were_not_exported_never_reach_the_interpreter(exported, tmp_path):
    changed = tmp_path / "changed.tflite"
    with_facts(exported("nms.tflite"), changed, flatbuffer_sha256="0" * 64)
    with pytest.raises(UserError, match="damaged or was changed: its bytes are not those that"):
        load_exported(changed)


def test_the_check_refuses_other_weights_and_other_classes(model, exported, pictures):
    other = RetinaNet(model.config, ["cat", "cow"], class_ids=[17, 3])
    with pytest.raises(ExportFailed, match="other classes"):
        check_export(other, exported("saved_model"), pictures)
    other = RetinaNet.from_config(model.get_config())
    with pytest.raises(ExportFailed, match=r"Received: \d+ of \d+\."):
        check_export(other, exported("saved_model"), pictures)
