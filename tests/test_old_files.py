"""Files that the package wrote before its modules had rooms load and go on as they did.

`assets/old_files.tar.xz` holds a compiled model, a SavedModel of it, a run that was killed in step
8 of 12, and what the code that wrote them made of them. Their trunk is a toy.
"""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

ARCHIVE = Path(__file__).parent / "assets" / "old_files.tar.xz"
# Answers of other processors differ in the last digits.
CLOSE = {"rtol": 1e-3, "atol": 1e-3}


def tiny_trunk(name, **options):
    import keras
    from keras import layers

    image = keras.Input((None, None, 3))
    x, maps = image, {}
    for stage in range(1, 6):
        x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name=f"stage{stage}_conv")(x)
        x = layers.BatchNormalization(name=f"stage{stage}_bn")(x)
        x = maps[f"c{stage}"] = layers.ReLU(name=f"stage{stage}_relu")(x)
    return keras.Model(image, {key: maps[key] for key in ("c3", "c4", "c5")}, name=name)


@pytest.fixture(autouse=True)
def _trunk(monkeypatch):
    from keras_retinanet.modeling import BACKBONES

    monkeypatch.setitem(BACKBONES, "tiny", tiny_trunk)


@pytest.fixture
def files(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def expected(files):
    with np.load(files / "expected.npz") as stored:
        return dict(stored)


def assert_same(found, expected):
    np.testing.assert_allclose(found.boxes, expected["boxes"], **CLOSE)
    np.testing.assert_allclose(found.scores, expected["scores"], **CLOSE)
    np.testing.assert_array_equal(found.classes, expected["classes"])


@pytest.mark.long
def test_a_compiled_model_names_a_module_that_is_gone_and_loads(files, expected):
    import keras

    from keras_retinanet import load
    from keras_retinanet.exporting import with_detections
    from keras_retinanet.modeling import CoupledSGD

    with zipfile.ZipFile(files / "compiled.keras") as archive:
        stored = json.loads(archive.read("config.json"))
    assert stored["module"] == "keras_retinanet.model"
    assert stored["registered_name"] == "keras_retinanet>RetinaNet"
    model = load(files / "compiled.keras")
    assert model.class_ids == [3, 7]
    assert_same(
        with_detections(model, score_threshold=0.001).detect(expected["image"])[0], expected
    )
    # Keras's own function finds the class, the loss and the optimizer by their registered names.
    model = keras.saving.load_model(files / "compiled.keras")
    assert isinstance(model.optimizer, CoupledSGD) and model.optimizer.iterations == 2
    stored = model.get_compile_config()["loss"]["config"]
    assert stored["normalizer_momentum"] == 0.5


@pytest.mark.long
def test_a_saved_model_detects_what_it_did(files, expected):
    from keras_retinanet.exporting import load_exported

    assert_same(load_exported(files / "saved_model").detect(expected["image"])[0], expected)


@pytest.mark.long
def test_a_saved_model_needs_no_package(files):
    program = (
        "import sys, tensorflow as tf; tf.saved_model.load(sys.argv[1]);"
        "print([name for name in sys.modules if name.startswith('keras_retinanet')])"
    )
    words = [sys.executable, "-c", program, str(files / "saved_model")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.long
def test_a_killed_run_goes_on(files, expected, capsys):
    from keras_retinanet import load, load_config, train

    config = load_config(str(files / "run" / "config.yaml"))
    result = train(config, files / "run", resume=True)
    assert "resuming at step 7" in capsys.readouterr().out
    assert result["steps"] == expected["steps"] == 12
    norms = [float(np.linalg.norm(weight)) for weight in load(result["last"]).get_weights()]
    np.testing.assert_allclose(norms, expected["last_norms"], **CLOSE)
