"""Drawing: where pixels change, that labels stay inside and readable."""

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.drawing.marks import (
    IGNORED_COLOR,
    Mark,
    class_color,
    draw_marks,
    free_place,
    letter_size,
    text_color,
)
from keras_retinanet.drawing.pictures import (
    GRID_GAP,
    GRID_SIDE,
    batch_picture,
    draw_boxes,
    draw_detections,
    readable,
)
from keras_retinanet.modeling.detections import Detections

GREY = np.full((200, 300, 3), 128, np.uint8)


def detections(scores):
    boxes = np.array([[50, 60, 120, 150], [150, 80, 250, 180]], np.float32)
    return Detections(boxes, np.array(scores, np.float32), np.array([0, 1]), ["RBC", "WBC"])


def has_color(image, color):
    return (image == color).all(axis=-1).any()


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_outline_lies_on_the_box():
    before = GREY.copy()
    drawn = draw_detections(GREY, detections([0.9, 0.8]))
    assert drawn.shape == GREY.shape
    assert drawn.dtype == np.uint8
    for corner_y, corner_x in [(60, 50), (60, 120), (150, 50), (150, 120)]:
        assert tuple(drawn[corner_y, corner_x]) == class_color(0)
    np.testing.assert_array_equal(drawn[80:140, 70:110], 128)
    np.testing.assert_array_equal(GREY, before)


def test_threshold_is_for_drawing():
    drawn = draw_detections(GREY, detections([0.5, 0.49]))
    assert has_color(drawn, class_color(0))
    assert not has_color(drawn, class_color(1))
    assert has_color(draw_detections(GREY, detections([0.5, 0.49]), threshold=0.4), class_color(1))


def test_nothing_to_draw_gives_the_picture():
    np.testing.assert_array_equal(draw_detections(GREY, detections([0.1, 0.1])), GREY)


def test_best_score_is_on_top():
    boxes = np.array([[50, 60, 120, 150]] * 2, np.float32)
    for scores, top in (([0.9, 0.6], 0), ([0.6, 0.9], 1)):
        drawn = draw_boxes(
            GREY, boxes, classes=np.array([0, 1]), class_names=["a", "b"], scores=np.array(scores)
        )
        assert tuple(drawn[150, 90]) == class_color(top)


@pytest.mark.parametrize("side", [1, 12, 60, 640, 2000])
def test_labels_stay_inside_at_any_size(side):
    # A box over the whole picture has no room for its label above it.
    image = np.full((side, side, 3), 128, np.uint8)
    mark = Mark((-5.0, -5.0, side + 5.0, side + 5.0), "red blood cell 0.93", class_color(0))
    drawn = draw_marks(image, [mark])
    assert drawn.shape == image.shape
    assert tuple(drawn[-1, -1]) == class_color(0)


@pytest.mark.parametrize("side", [60, 640, 2000])
def test_label_grows_with_the_picture(side):
    image = np.full((side, side, 3), 128, np.uint8)
    box = np.array([[0, side / 2, side / 4, side - 1]])
    drawn = draw_boxes(image, box, classes=np.array([0]), class_names=["A"])
    rows = (drawn[: side // 2] != 128).any(axis=(1, 2)).sum()
    # High enough to read (8 px), and about a thirtieth of a large picture.
    assert max(8, side / 45) <= rows <= max(16, side / 20)


def test_labels_of_stacked_boxes_do_not_hide_each_other():
    box = (60.0, 80.0, 200.0, 160.0)
    marks = [Mark(box, "cell 0.90", class_color(index)) for index in range(4)]
    drawn = draw_marks(GREY, marks)
    # Fills of all four labels are there, of the same area but for their letters.
    areas = [(drawn == class_color(index)).all(axis=-1).sum() for index in range(3)]
    assert min(areas) > 200
    assert max(areas) < 1.2 * min(areas)


def label_areas(drawn, colors):
    return [int((drawn == color).all(axis=-1).sum()) for color in colors]


def test_labels_of_a_crowd_never_overlap_and_the_best_keep_theirs(rng):
    # 300 boxes in a small picture: not all labels can have a place.
    image = np.full((240, 320, 3), 128, np.uint8)
    corners = rng.uniform(0, 1, (300, 2)) * (260, 180)
    boxes = np.concatenate([corners, corners + 40], axis=1)
    drawn = draw_boxes(
        image,
        boxes,
        classes=np.arange(300) % 2,
        class_names=["cat", "dog"],
        scores=np.linspace(0.999, 0.3, 300),
    )
    # The best box's label is whole, letters too, as if it were alone.
    alone = draw_boxes(
        image, boxes[:1], classes=np.array([0]), class_names=["cat"], scores=np.array([0.999])
    )
    label = (alone != 128).any(axis=-1)
    x1, y1, x2, y2 = np.rint(boxes[0]).astype(int)
    label[y1 : y2 + 1, x1 : x2 + 1] = False
    assert label.sum() > 300
    np.testing.assert_array_equal(drawn[label], alone[label])


def test_a_free_place_hides_no_other_label(rng):
    taken = np.zeros((0, 4), int)
    missing = 0
    for _ in range(200):
        x, y = rng.integers(0, 500, 2).tolist()
        place = free_place((x, y, x + 60, y + 40), (50, 14), picture=(600, 560), taken=taken)
        if place is None:
            missing += 1
            continue
        left, top, right, bottom = place
        assert (right - left, bottom - top) == (50, 14)
        assert 0 <= left and 0 <= top and right <= 600 and bottom <= 560
        apart = (taken[:, 2:] <= [left, top]) | (taken[:, :2] >= [right, bottom])
        assert apart.any(axis=1).all()
        taken = np.concatenate([taken, [place]])
    assert 0 < missing < 40


@pytest.mark.parametrize(
    ("picture", "box", "letters"),
    [((640, 480), 100, 13), ((4000, 3000), 600, 82), ((2000, 2000), 100, 20), ((64, 64), 10, 9)],
)
def test_letters_fit_the_picture_and_the_boxes(picture, box, letters):
    assert letter_size(picture, [(0, 0, box, box)] * 3) == letters
    # Of thousands of specks in a large picture some letters can still be read.
    assert letter_size((4000, 4000), [(0, 0, 8, 8)]) == 33


def test_small_pictures_are_enlarged_for_the_eye():
    image = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)
    shown = Detections(np.float32([[4, 8, 20, 30]]), np.float32([0.9]), np.array([0]), ["cell"])
    larger, moved = readable(image, shown)
    assert larger.shape == (240, 320, 3)
    np.testing.assert_array_equal(moved.boxes, [[20, 40, 100, 150]])
    drawn = draw_detections(larger, moved)
    # The label is whole and covers a small part of the box.
    assert 100 < label_areas(drawn[:40], [class_color(0)])[0] < 1200
    same, unmoved = readable(GREY.repeat(2, 1), shown)
    assert same.shape == (200, 600, 3) and unmoved is shown


def test_colors_are_stable_and_differ():
    colors = [class_color(index) for index in range(80)]
    assert colors == [class_color(index) for index in range(80)]
    assert len(set(colors)) == 80
    few = np.array(colors[:10], float)
    apart = np.linalg.norm(few[:, None] - few[None], axis=-1) + 1000 * np.eye(10)
    assert apart.min() > 60


def test_text_contrasts():
    assert text_color((255, 255, 0)) == (0, 0, 0)
    assert text_color((0, 0, 160)) == (255, 255, 255)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), "u1")],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match=r"uint8 RGB \(H, W, 3\).*Received: image of shape"):
        draw_boxes(image, np.zeros((0, 4)), classes=np.zeros(0, int), class_names=[])


def test_batch_picture_shows_boxes_ignored_ones_and_no_padding():
    images = np.full((3, 100, 120, 3), 128.4, np.float32)
    labels = {
        "boxes": np.zeros((3, 4, 4), np.float32),
        "classes": np.full((3, 4), -1),
        "ignore": np.zeros((3, 4), bool),
    }
    labels["boxes"][0, 0], labels["classes"][0, 0] = [10, 40, 60, 90], 1
    labels["boxes"][2, 0], labels["classes"][2, 0] = [20, 40, 60, 90], 0
    labels["ignore"][2, 0] = True
    grid = batch_picture(images, labels, class_names=["a", "b"])
    assert grid.shape == (2 * 100 + GRID_GAP, 2 * 120 + GRID_GAP, 3)
    assert tuple(grid[90, 60]) == class_color(1)
    assert tuple(grid[100 + GRID_GAP + 90, 60]) == IGNORED_COLOR
    # The second picture has padding alone, the fourth cell is empty.
    np.testing.assert_array_equal(grid[:100, 120 + GRID_GAP :], 128)
    np.testing.assert_array_equal(grid[100 + GRID_GAP :, 120 + GRID_GAP :], 255)


def test_batch_picture_is_bounded():
    labels = {"boxes": np.zeros((20, 1, 4)), "classes": -np.ones((20, 1), int)}
    labels["ignore"] = np.zeros((20, 1), bool)
    grid = batch_picture(np.zeros((20, 300, 900, 3), np.float32), labels, class_names=[])
    assert max(grid.shape) <= GRID_SIDE + 3 * GRID_GAP
    # 16 of the 20 pictures, 4 by 4, each thrice as wide as high.
    assert grid.shape[:2] == (4 * 170 + 3 * GRID_GAP, 4 * 512 + 3 * GRID_GAP)
