"""The class for batch engines: what it gives for paths, bytes, arrays and what is no image."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_command import TINY, tiny

from keras_retinanet.config.files import load_config
from keras_retinanet.inference.batching import BATCH_PIXELS
from keras_retinanet.inference.detector import ROW_COLUMNS, Detector
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import load, save_model

OVERRIDES = {
    "model.backbone.name": TINY,
    "model.fpn.channels": 16,
    "model.head.channels": 16,
    "model.head.depth": 1,
    "model.head.prior": 0.3,
    "model.detections.max_detections": 5,
    "model.preprocessing.short_side": 64,
    "model.preprocessing.long_side": 64,
}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    """A model that finds something in everything; it is the same for every run of the tests."""
    import keras

    file = tmp_path_factory.mktemp("model") / "model.keras"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, TINY, tiny)
        keras.utils.set_random_seed(0)
        names = ["cat", "dog"]
        save_model(
            RetinaNet(load_config("shapes", OVERRIDES).model, names, class_ids=[17, 18]), file
        )
        yield file


@pytest.fixture
def images(rng) -> list[np.ndarray]:
    return [rng.integers(0, 255, (50, 60 + 10 * n, 3), dtype=np.uint8) for n in range(3)]


def encoded(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.long
def test_rows_of_every_kind_of_image_are_what_the_model_detects(model_file, images, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(encoded(image))
    detector = Detector(model_file, batch_size=2)
    rows = detector.rows(images)
    for row, found, image in zip(rows, load(model_file).detect(images), images, strict=True):
        assert [*row] == [*ROW_COLUMNS]
        np.testing.assert_allclose(row["boxes"], found.boxes, atol=1e-3)
        np.testing.assert_allclose(row["scores"], found.scores, atol=1e-5)
        assert row["class_ids"].tolist() == [(17, 18)[index] for index in found.classes]
        assert row["names"] == found.names and len(found) == 5
        assert (row["height"], row["width"], row["error"]) == (*image.shape[:2], None)

    batches = {
        "image": images,
        "bytes": [*map(encoded, images)],
        "path": np.array([*map(str, paths)]),
    }
    for name, column in batches.items():
        columns = detector({name: column, "id": [4, 5, 6]})
        kept = ["path", "id"] if name == "path" else ["id"]
        assert [*columns] == [*kept, *ROW_COLUMNS]
        for row, scores in zip(rows, columns["scores"], strict=True):
            np.testing.assert_array_equal(row["scores"], scores)


@pytest.mark.long
def test_what_is_no_image_costs_its_row_alone(model_file, images, tmp_path):
    rows = Detector(model_file).rows([images[0], b"no image", tmp_path / "none.png", images[1]])
    assert [len(row["scores"]) for row in rows] == [5, 0, 0, 5]
    assert [row["error"] is None for row in rows] == [True, False, False, True]
    assert "none.png" in rows[2]["error"]
    assert rows[1]["boxes"].shape == (0, 4) and rows[1]["height"] == 0
    with pytest.raises(ValueError, match="uint8 RGB arrays"):
        Detector(model_file).rows([images[0].astype(np.float32)])


@pytest.mark.long
def test_the_threshold_drops_the_rest(model_file, images):
    scores = Detector(model_file).rows(images[:1])[0]["scores"]
    middle = float(scores[2])
    kept = Detector(model_file, threshold=middle).rows(images[:1])[0]
    np.testing.assert_array_equal(kept["scores"], scores[scores >= middle])
    assert len(kept["boxes"]) == len(kept["names"]) < 5


@pytest.mark.long
def test_pickled_it_is_its_arguments(model_file, images):
    detector = Detector(model_file, batch_size=1, threshold=0.1)
    content = pickle.dumps(detector)
    assert len(content) < 1000
    copy = pickle.loads(content)
    assert copy.class_names == ["cat", "dog"]
    np.testing.assert_array_equal(
        copy.rows(images[:1])[0]["scores"], detector.rows(images[:1])[0]["scores"]
    )
    assert pickle.dumps(copy) == content


def test_a_batch_without_images_is_the_callers_mistake(model_file):
    with pytest.raises(ValueError, match="Received: file, id"):
        Detector(model_file)({"file": ["a.png"], "id": [1]})


def test_decoded_images_wait_within_bounds(model_file, monkeypatch):
    """A batch of the engine may be of thousands of images: few are decoded at a time."""
    detector = Detector(model_file, batch_size=100)
    sizes = []

    class Model:
        class_names, class_ids = ("cat",), (1,)

        def detect(self, images, *, batch_size):
            sizes.append(len(images))
            nothing = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int32), ["cat"])
            return [nothing] * len(images)

    monkeypatch.setattr(detector, "_model", Model())
    side = int((BATCH_PIXELS / 2) ** 0.5) + 1
    image = np.zeros((side, side, 3), np.uint8)
    assert len(detector.rows(image for _ in range(5))) == 5
    assert sizes == [2, 2, 1]
