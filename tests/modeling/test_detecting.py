"""The one loop over the steps of a detector: grouped by input shape, batched, in order."""

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.errors import UserError
from keras_retinanet.modeling import detecting
from keras_retinanet.modeling.detecting import (
    Prepared,
    Steps,
    detect_all,
    detect_batches,
    detect_images,
)
from keras_retinanet.modeling.detections import Detections


class Ones:
    """Finds one box, its score the first pixel."""

    takes_batches = True

    def __init__(self):
        self.shapes, self.read = [], 0

    def prepare(self, image):
        self.read += 1
        return image, image.shape[:2]

    def infer(self, inputs, sizes):
        assert sizes.dtype == np.int32 and (sizes == inputs.shape[1:3]).all()
        self.shapes.append(inputs.shape[:3])
        return inputs[:, 0, 0, 0]

    def finish(self, outputs, row, size, original_size):
        box = np.array([[0, 0, original_size[1], original_size[0]]], np.float32)
        return Detections(box, outputs[row : row + 1], np.zeros(1, np.int32), ["one"])


def images(*sides):
    return [np.full((side, 4, 3), number, np.uint8) for number, side in enumerate(sides)]


def scores(found):
    return [int(detections.scores[0]) for detections in found]


SIDES = (4, 5, 4, 5, 5, 4, 6)


@pytest.mark.parametrize(
    ("batch_size", "takes_batches", "shapes"),
    [
        (2, True, [(2, 4, 4), (2, 5, 4), (1, 5, 4), (1, 4, 4), (1, 6, 4)]),
        (8, True, [(3, 4, 4), (3, 5, 4), (1, 6, 4)]),
        (8, False, [(1, side, 4) for side in SIDES]),
    ],
)
def test_batches_have_one_shape_and_detections_keep_the_order(batch_size, takes_batches, shapes):
    detector = Ones()
    detector.takes_batches = takes_batches
    assert isinstance(detector, Steps)
    found = detect_images(detector, images(*SIDES), batch_size=batch_size)
    assert scores(found) == list(range(7))
    assert [each.boxes[0, 3] for each in found] == list(SIDES)
    assert sorted(detector.shapes) == sorted(shapes)


def test_images_are_read_as_they_are_needed():
    detector = Ones()
    found = detect_all(detector, iter(images(*[4] * 9)), batch_size=2)
    next(found)
    assert detector.read == 2
    assert scores(found) == list(range(1, 9))


def test_few_inputs_wait_whatever_their_shapes(monkeypatch):
    monkeypatch.setattr(detecting, "WAITING_BYTES", 3 * 4 * 4 * 3)
    detector = Ones()
    waiting, most = [], 0
    sides = [4, 4, 4, 5, 6, 7, 8, 9, 10, 4]
    for _ in detect_all(detector, images(*sides), batch_size=8):
        waiting.append(detector.read - sum(shape[0] for shape in detector.shapes))
        most = max(waiting)
    assert most <= 4 and (3, 4, 4) in detector.shapes


def test_a_large_batch_of_one_shape_is_not_cut_short(monkeypatch):
    monkeypatch.setattr(detecting, "WAITING_BYTES", 1)
    detector = Ones()
    detect_images(detector, images(*[4] * 16), batch_size=8)
    assert detector.shapes == [(8, 4, 4)] * 2


def test_what_cannot_be_read_passes_at_once():
    blank = Prepared(7, None, (0, 0), (0, 0))
    full = Prepared(3, np.full((4, 4, 3), 9, np.uint8), (4, 4), (4, 4))
    first, second = detect_batches(Ones(), [full, blank], batch_size=4)
    assert (first.found, first.milliseconds) == ([(7, None)], None)
    assert second.shape == (1, 4, 4, 3) and second.milliseconds >= 0
    assert [number for number, _ in second.found] == [3]


def test_paths_pillows_images_and_arrays_mixed_or_alone(tmp_path):
    array = np.full((6, 4, 3), 7, np.uint8)
    path, palette = tmp_path / "a.png", Image.new("P", (4, 5), 0)
    palette.putpalette([9, 9, 9])
    Image.fromarray(array).save(path)
    for one in (array, path, str(path), Image.fromarray(array)):
        (found,) = detect_images(Ones(), one, batch_size=2)
        assert (scores([found]), found.boxes.tolist()) == ([7], [[0, 0, 4, 6]])
    several = (str(path), palette, array)
    assert scores(detect_images(Ones(), several, batch_size=2)) == [7, 9, 7]
    assert scores(detect_images(Ones(), (image for image in several), batch_size=2)) == [7, 9, 7]


def test_what_is_no_image_is_an_error(tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"a\.jpg|8 bytes"):
        detect_images(Ones(), tmp_path / "a.jpg", batch_size=1)
    with pytest.raises(FileNotFoundError):
        detect_images(Ones(), "nowhere.jpg", batch_size=1)
    for wrong in (np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), None):
        with pytest.raises(ValueError, match="Expected images as uint8 RGB"):
            detect_images(Ones(), [wrong], batch_size=1)
