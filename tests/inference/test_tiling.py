"""Tiles cover the picture; what they find becomes one list without traces of the seams."""

import contextlib

import numpy as np
import pytest
from exporting_cases import blobs, small_model
from PIL import Image

from keras_retinanet.config import ModelConfig, TilesConfig, config_to_dict
from keras_retinanet.config.files import model_config_from_dict
from keras_retinanet.data.images.rasters import open_raster
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.runner import run_detector
from keras_retinanet.exporting.detectors import CanvasInput
from keras_retinanet.exporting.facts import facts_json, model_facts, read_facts
from keras_retinanet.files.images import headers
from keras_retinanet.files.images.headers import PictureError
from keras_retinanet.inference.rasters import as_drawn, detect_each
from keras_retinanet.inference.tta import with_test_time
from keras_retinanet.modeling.detecting import ObjectDetector, detect_images
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.saving import load, save_model
from keras_retinanet.modeling.tiling import (
    merge_tiles,
    tile_windows,
    with_own_tiles,
    with_tiles,
)

NAMES = ["square", "cut square"]


@pytest.mark.parametrize(
    ("size", "tile", "overlap"),
    [((1000, 1600), 800, 0.2), ((999, 401), 400, 0.0), ((90, 5000), 333, 0.5), ((70, 70), 64, 0.9)],
)
def test_windows_cover_the_picture_evenly(size, tile, overlap):
    windows = tile_windows(*size, tile=tile, overlap=overlap)
    seen = np.zeros(size, int)
    for left, top, right, bottom in windows:
        assert (bottom - top, right - left) == tuple(np.minimum(size, tile))
        seen[top:bottom, left:right] += 1
    assert seen.min() == 1
    for axis, side in ((0, size[1]), (1, size[0])):
        starts = np.unique(windows[:, axis])
        assert starts[0] == 0 and starts[-1] == max(0, side - tile)
        steps = np.diff(starts)
        if len(steps):
            # At least the overlap that was asked, and no tile more than that needs.
            assert steps.max() <= tile - np.floor(overlap * tile)
            assert steps.max() - steps.min() <= 1
            assert (len(steps) - 1) * (tile - np.ceil(overlap * tile)) < side - tile


def test_windows_by_hand():
    windows = tile_windows(100, 180, tile=100, overlap=0.2)
    np.testing.assert_array_equal(windows, [[0, 0, 100, 100], [80, 0, 180, 100]])
    assert len(tile_windows(2000, 2000, tile=800, overlap=0.2)) == 9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile": 31, "overlap": 0.2}, "at least 32 pixels. Received: tile=31"),
        ({"tile": 800, "overlap": 0.95}, "0 to 0.9 of their side. Received: overlap=0.95"),
        ({"tile": 800, "overlap": float("nan")}, "Received: overlap=nan"),
    ],
)
def test_other_tiles_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        with_tiles(Squares(), **options)


# ------------------------------------------------------------------------------------ merging


def found(boxes, scores, classes=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.zeros(len(boxes)) if classes is None else classes
    return Detections(boxes, np.array(scores, "f4"), np.array(classes, "i4"), NAMES)


TWO_TILES = np.array([[0, 0, 100, 100], [80, 0, 180, 100]])


def merged(left, right, size=(100, 180)):
    return merge_tiles([left, right], TWO_TILES, size=size, iou=0.5)


def test_a_whole_box_replaces_its_cut_part_though_it_is_weaker():
    # The left tile sees 15 pixels of an object of 30, the right one all: their IoU is .5.
    result = merged(found([[85, 10, 100, 40]], [0.9]), found([[5, 10, 35, 40]], [0.6]))
    np.testing.assert_array_equal(result.boxes, [[85, 10, 115, 40]])
    np.testing.assert_array_equal(result.scores, np.float32([0.6]))


def test_an_object_that_two_tiles_see_whole_is_found_once_by_its_better_box():
    result = merged(found([[82, 10, 98, 40]], [0.7]), found([[3, 11, 18, 41]], [0.8]))
    np.testing.assert_array_equal(result.boxes, [[83, 11, 98, 41]])


def test_classes_are_apart_and_the_best_comes_first():
    result = merged(found([[82, 10, 97, 40]], [0.7], [1]), found([[2, 10, 17, 40]], [0.8], [0]))
    np.testing.assert_array_equal(result.classes, [0, 1])
    np.testing.assert_array_equal(result.scores, np.float32([0.8, 0.7]))


def test_neighbours_and_what_no_other_tile_shows_stay():
    # Cut by the seam, but the box that covers it is of the same tile: the model chose both.
    left = found([[60, 10, 98, 50], [90, 20, 100, 40], [0, 0, 20, 20]], [0.9, 0.8, 0.7])
    result = merged(left, found([[40, 60, 70, 90]], [0.5]))
    assert len(result) == 4
    np.testing.assert_array_equal(result.boxes[3], [120, 60, 150, 90])


def test_the_border_of_the_picture_is_no_seam():
    # Inside a larger one of the other tile, and at the picture's lower border: not cut.
    result = merged(found([[85, 90, 95, 100]], [0.5]), found([[3, 60, 60, 100]], [0.9]))
    assert len(result) == 2


def test_nothing_found_is_an_empty_result():
    result = merged(found([], []), found([], []))
    assert result.boxes.shape == (0, 4) and len(result) == 0
    assert result.class_names == NAMES


# ----------------------------------------------------------------------------------- pictures


class Squares:
    """Finds the white squares of a black picture by their pixels; sides cut by the border too.

    Like a network it sees a picture of more than `limit` pixels shrunk to that, where squares of
    less than 4 pixels are lost.
    """

    limit = 128
    config = ModelConfig()
    takes_batches = True
    preprocessing = None
    class_names, class_ids, metadata = NAMES, [1, 2], {}

    def __init__(self):
        self.calls = []

    def prepare(self, image):
        return image, image.shape[:2]

    def infer(self, inputs, sizes):
        self.calls.append(len(inputs))
        return [self._find(image[..., 0]) for image in inputs]

    def finish(self, outputs, row, size, original_size):
        return outputs[row]

    def _find(self, image):
        factor = max(1, -(-max(image.shape) // self.limit))
        left = image[::factor, ::factor] > 0
        boxes = []
        while left.any():
            top, x = np.argwhere(left)[0]
            height = np.argmin(np.append(left[top:, x], False))
            width = np.argmin(np.append(left[top, x:], False))
            left[top : top + height, x : x + width] = False
            if max(height, width) >= 4:
                boxes.append(np.array([x, top, x + width, top + height]) * factor)
        # The smaller the piece, the surer: the merge must not trust scores alone.
        areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in boxes]
        return found(boxes, [1 - area / 1e6 for area in areas])


def squares_picture(rng, side, count, sizes, large=None):
    """Black with `count` white squares apart from each other and from `large`; and their boxes."""
    image, boxes = np.zeros((side, side, 3), np.uint8), []
    if large is not None:
        image[large[1] : large[3], large[0] : large[2]] = 255
    while len(boxes) < count:
        size = int(rng.integers(*sizes))
        x, y = (int(start) for start in rng.integers(0, side - size, 2))
        if not image[max(0, y - 2) : y + size + 2, max(0, x - 2) : x + size + 2].any():
            image[y : y + size, x : x + size] = 255
            boxes.append((x, y, x + size, y + size))
    return image, np.array(sorted(boxes))


def test_tiles_find_every_object_once_and_whole_where_one_pass_finds_few(rng):
    image, boxes = squares_picture(rng, 1000, 300, (5, 24))
    detector = Squares()
    assert len(detect_images(detector, image, batch_size=1)[0]) < 30
    detector.calls.clear()
    result = with_tiles(detector, tile=128, overlap=0.2, whole=False).detect(image, batch_size=8)
    np.testing.assert_array_equal(np.array(sorted(map(tuple, result[0].boxes))), boxes)
    assert detector.calls == [8] * 12 + [4]  # ten by ten tiles, in batches


def test_the_pass_over_the_whole_picture_gives_what_is_larger_than_the_overlap(rng):
    image, boxes = squares_picture(rng, 1000, 40, (6, 20), large=(304, 200, 800, 704))
    alone, both = (
        with_tiles(Squares(), tile=128, overlap=0.2, whole=whole).detect(image)[0]
        for whole in (False, True)
    )
    # Tiles alone see the large square in pieces of their own size.
    assert len(alone) > len(boxes) + 20
    expected = sorted([*map(tuple, boxes), (304, 200, 800, 704)])
    assert sorted(map(tuple, both.boxes)) == expected


def test_a_picture_of_one_tile_is_seen_once(rng):
    image, boxes = squares_picture(rng, 100, 3, (5, 24))
    detector = Squares()
    result = with_tiles(detector, tile=128).detect([image, image])
    assert detector.calls == [1, 1]
    np.testing.assert_array_equal(np.array(sorted(map(tuple, result[1].boxes))), boxes)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.mark.long
def test_a_model_in_tiles_finds_what_it_finds_in_each_tile(model):
    image = blobs(96, 160)
    detector = with_tiles(model, tile=96, overlap=0.2, whole=False)
    windows = tile_windows(96, 160, tile=96, overlap=0.2)
    np.testing.assert_array_equal(windows, [[0, 0, 96, 96], [64, 0, 160, 96]])
    parts = model.detect([image[:, :96], image[:, 64:]])
    expected = merge_tiles(parts, windows, size=(96, 160), iou=0.5)
    assert 10 < len(expected) <= sum(map(len, parts))
    for batch_size in (1, 8):
        (result,) = detector.detect(image, batch_size=batch_size)
        np.testing.assert_allclose(result.boxes, expected.boxes, atol=0.01)
        np.testing.assert_allclose(result.scores, expected.scores, atol=1e-5)


def test_it_serves_the_evaluation_and_refuses_other_arrays(model):
    detector = with_tiles(model, tile=96)
    assert isinstance(detector, ObjectDetector)
    assert isinstance(model, ObjectDetector)
    assert detector.class_ids == model.class_ids
    inputs, size = detector.prepare(blobs(60, 80))
    outputs = detector.infer(np.stack([inputs, blobs(60, 80, 1)]))
    one, two = (detector.finish(outputs, row, size, size) for row in (0, 1))
    np.testing.assert_array_equal(one.boxes, model.detect(blobs(60, 80))[0].boxes)
    assert not np.array_equal(one.boxes, two.boxes)
    with pytest.raises(ValueError, match="image 1 with shape"):
        detector.detect([blobs(60, 80), blobs(60, 80).astype("f4")])


@pytest.mark.parametrize("whole", [True, False])
def test_a_raster_gives_what_the_decoded_image_gives(rng, tmp_path, monkeypatch, whole):
    """Beyond the limit on pixels the file is read in parts: the same detections and drawing."""
    image, _ = squares_picture(rng, 700, 40, (4, 24), large=(300, 310, 620, 612))
    path = tmp_path / "a.tif"
    Image.fromarray(image).save(path, compression="tiff_lzw", tiffinfo={278: 37})
    model = with_tiles(Squares(), tile=128, overlap=0.25, whole=whole)
    (decoded,) = model.detect(image, batch_size=4)
    monkeypatch.setattr(headers, "MAX_PIXELS", 10_000)
    with contextlib.closing(open_raster(path)) as raster:
        (read,) = detect_each(model, [raster], batch_size=4)
        monkeypatch.setattr("keras_retinanet.data.images.rasters.REDUCED_SIDE", 200)
        copy, drawn = as_drawn(raster, read)
    np.testing.assert_array_equal(read.boxes, decoded.boxes)
    np.testing.assert_array_equal(read.scores, decoded.scores)
    assert len(read) > 30
    if not whole:  # else the copy for the pass over the whole is drawn on
        assert copy.shape == (175, 175, 3)
        np.testing.assert_allclose(drawn.boxes * 4, read.boxes)


def test_a_damaged_raster_is_an_error_of_its_own(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((300, 300, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    monkeypatch.setattr(headers, "MAX_PIXELS", 10_000)
    model = with_tiles(Squares(), tile=128)
    with contextlib.closing(open_raster(path)) as raster:
        images = [np.zeros((90, 90, 3), np.uint8), raster]
        found, error = detect_each(model, images, batch_size=4)
    assert len(found) == 0 and isinstance(error, PictureError)


# ------------------------------------------------------------------------- tiles of the model's own


@pytest.fixture(scope="module")
def own():
    return small_model(tiles={"side": 96, "overlap": 0.25, "whole": True})


def exactly(found, expected):
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.classes, expected.classes)


@pytest.mark.long
def test_a_model_that_wants_tiles_detects_in_them_by_itself(model, own):
    image = blobs(96, 160)
    expected = with_tiles(model, tile=96, overlap=0.25).detect(image)[0]
    (result,) = own.detect(image)
    exactly(result, expected)
    assert len(expected) != len(model.detect(image)[0])  # one pass gives something else
    assert with_own_tiles(model) is model
    exactly(with_tiles(own, tile=96, overlap=0.25).detect(image)[0], expected)  # no tiles in tiles


def test_an_explicit_tile_wins_over_the_model_s_own(model, own):
    image = blobs(150, 160)
    (result,) = with_tiles(own, tile=128, whole=False).detect(image)
    exactly(result, with_tiles(model, tile=128, whole=False).detect(image)[0])


@pytest.mark.long
def test_the_tiles_are_in_the_model_file_and_missing_ones_are_none(own, tmp_path):
    save_model(own, tmp_path / "a.keras")
    assert load(tmp_path / "a.keras").config.tiles == TilesConfig(96, 0.25, True)
    stored = config_to_dict(own.config)
    del stored["tiles"]  # as in a file of an older version
    assert model_config_from_dict(stored).tiles == TilesConfig(0, 0.2, False)


@pytest.mark.parametrize("kind", ["saved_model", "tflite", "onnx"])
def test_the_tiles_are_among_the_facts_of_exported_files(own, kind):
    """The facts are one text, whatever file has them; the file's detector then tiles by itself."""
    facts = model_facts(own, kind=kind, outputs={}, form="raw", dtype="float32")
    read = read_facts(facts_json(facts), "a file")
    file = CanvasInput("model", read, lambda inputs: [], takes_batches=True)
    assert file.config.tiles == TilesConfig(96, 0.25, True)
    tiled = with_own_tiles(file)
    assert (tiled.tile, tiled.overlap, tiled.whole, tiled.inner) == (96, 0.25, True, file)


@pytest.mark.parametrize("side", [1, 31, -64, 1 << 15])
def test_a_side_without_room_for_an_object_is_refused(side):
    with pytest.raises(UserError, match=f"tiles.side: expected .* Received: {side}"):
        model_config_from_dict({"tiles": {"side": side}})


@pytest.mark.long
def test_test_time_passes_run_in_the_model_s_tiles(model, own):
    image = blobs(96, 160)
    (result,) = with_test_time(own, scales=(1, 1.5)).detect(image)
    inner = with_test_time(model, scales=(1, 1.5))
    exactly(result, with_tiles(inner, tile=96, overlap=0.25).detect(image)[0])


def test_evaluation_of_such_a_model_is_that_with_the_flag_of_today(model, own, tmp_path):
    records = []
    for number, size in enumerate([(96, 160), (60, 80)]):
        path = tmp_path / f"{number}.png"
        Image.fromarray(blobs(*size, number)).save(path)
        records.append(
            make_record(
                number,
                ImageRef(str(path)),
                size,
                file_name=path.name,
                objects=[((4, 4, 40, 40), 0, False, None)],
                problems=Problems(),
            )
        )
    dataset = Dataset("set", "val", list(model.class_names), [1, 2, 3], records)
    by_itself = run_detector(own, dataset, progress=False).found
    by_flag = run_detector(with_tiles(model, tile=96, overlap=0.25), dataset, progress=False).found
    assert len(by_flag.scores) > 20
    for column in ("image", "classes", "scores", "xywh"):
        np.testing.assert_array_equal(getattr(by_itself, column), getattr(by_flag, column))
