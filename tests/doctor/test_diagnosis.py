"""What the doctor suspects: sets with one fault each, and sound ones that must raise no alarm."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.doctor import diagnosis as doctor
from keras_retinanet.doctor import text
from keras_retinanet.doctor.box_table import box_table
from keras_retinanet.doctor.classes import class_findings, distance
from keras_retinanet.doctor.contents import content_findings, problem_findings
from keras_retinanet.doctor.formats import MISREADINGS, format_findings
from keras_retinanet.doctor.sizes import input_boxes, size_bins, size_findings
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.anchors import Anchors
from keras_retinanet.modeling.preprocessing import Preprocessing

NAMES = ["ant", "bee", "cat"]
WIDTH, HEIGHT = 320, 200


def make_dataset(pictures, split="train", names=NAMES, sizes=None, **more) -> Dataset:
    """Builds a split of pictures, each a list of (box xyxy, class) or of (box, class, ignore)."""
    problems = Problems()
    records = [
        make_record(
            index,
            ImageRef(f"{split}{index}.png"),
            sizes[index] if sizes else (HEIGHT, WIDTH),
            file_name=f"{split} {index}.png",
            objects=[(box, label, bool(ignore), None) for box, label, *ignore in objects],
            problems=problems,
        )
        for index, objects in enumerate(pictures)
    ]
    ids = list(range(1, len(names) + 1))
    return Dataset("set", split, list(names), ids, records, problems, **more)


def random_boxes(rng, count=200) -> np.ndarray:
    """Draws sound boxes (count, 4) all over a picture of WIDTH x HEIGHT."""
    size = rng.uniform((8, 8), (120, 90), (count, 2))
    corner = rng.uniform(0, 1, (count, 2)) * ((WIDTH, HEIGHT) - size)
    return np.concatenate([corner, corner + size], axis=1)


def suspicions(boxes) -> list[str]:
    dataset = make_dataset([[(box, 0)] for box in boxes.tolist()])
    return [finding.title for finding in format_findings([dataset], [box_table(dataset)])]


# ------------------------------------------------------------------------------------- box formats


def as_xywh(b):
    return np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1)


def as_centre(b):
    return np.concatenate([(b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]], axis=1)


def from_xywh(b):
    return np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1)


def from_centre(b):
    return np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], axis=1)


SIDES = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
MISREAD = {
    "x, y, width, height read as corners": as_xywh,
    "corners read as x, y, width, height": from_xywh,
    "the center read as the top left corner": lambda b: from_xywh(as_centre(b)),
    "the top left corner read as the center": lambda b: from_centre(as_xywh(b)),
    "x and y swapped": lambda b: b[:, [1, 0, 3, 2]],
}
UNITS = {
    "fractions read as pixels": lambda b: b / SIDES,
    "percent read as pixels": lambda b: b / SIDES * 100,
}


@pytest.mark.parametrize("name", [*MISREAD, *UNITS])
def test_each_misreading_is_named(name, rng):
    assert suspicions((MISREAD | UNITS)[name](random_boxes(rng))) == [f"The boxes look like {name}"]


def test_undoing_a_misreading_gives_the_boxes_back(rng):
    boxes, sizes = random_boxes(rng), np.tile([float(HEIGHT), WIDTH], (200, 1))
    assert {reading.name for reading in MISREADINGS} == set(MISREAD)
    for reading in MISREADINGS:
        np.testing.assert_allclose(reading.undo(MISREAD[reading.name](boxes), sizes), boxes)


def test_sound_boxes_and_a_few_bad_ones_raise_no_alarm(rng):
    boxes = random_boxes(rng)
    assert suspicions(boxes) == []
    boxes[:5] += 400  # 2.5%: outside
    assert suspicions(boxes) == []
    assert suspicions(as_xywh(boxes)[:10]) == []  # too few to say


def test_boxes_in_the_middle_raise_no_alarm(rng):
    half = rng.uniform(10, 90, (100, 2))
    middle = np.array([WIDTH / 2, HEIGHT / 2]) + rng.normal(0, 3, (100, 2))
    assert suspicions(np.concatenate([middle - half, middle + half], axis=1)) == []


def test_boxes_all_in_the_top_left_quarter_are_odd_though_they_fit(rng):
    half = rng.uniform(4, 20, (100, 2))
    centres = rng.uniform((20, 20), (WIDTH / 2, HEIGHT / 2), (100, 2)) - 0.5
    dataset = make_dataset(
        [[(box, 0)] for box in np.concatenate([centres - half, centres + half], axis=1).tolist()]
    )
    (finding,) = format_findings([dataset], [box_table(dataset)])
    assert (finding.code, finding.severity) == ("wrong format", "warning")


def test_boxes_that_start_at_one(rng):
    boxes = np.maximum(np.floor(random_boxes(rng)), 1)
    boxes[:12, 0] = 1
    assert "Coordinates seem to start at 1" in suspicions(boxes)[0]
    boxes[20, 1] = 0
    assert suspicions(boxes) == []


# ----------------------------------------------------------------------------------------- classes


def titles(counts, names=NAMES, train=0, undeclared=0) -> dict[str, list[str]]:
    """Returns severity -> codes for splits with `counts` (splits, classes)."""
    counts = np.array(counts)
    datasets = [make_dataset([], split, names) for split in ("train", "val")[: len(counts)]]
    for number in range(undeclared):
        datasets[0].problems.note("undeclared class", f"annotation {number}")
    found = class_findings(datasets, counts, train)
    return {
        severity: [finding.code for finding in found if finding.severity == severity]
        for severity in ("error", "warning", "note")
    }


def test_a_validation_split_whose_classes_are_one_too_high():
    assert distance(np.array([1, 0]), np.array([0, 7])) == 1
    found = titles([[800, 150, 50], [5, 160, 30]])
    assert found["error"] == ["shifted classes"]
    assert titles([[800, 150, 50], [165, 25, 10]]) == {"error": [], "warning": [], "note": []}


def test_another_mixture_of_classes_is_not_a_shift():
    assert titles([[500, 300, 200], [200, 300, 500]])["error"] == []


def test_undeclared_ids_with_an_empty_end_of_the_list():
    assert titles([[0, 90, 80]], undeclared=30)["error"] == ["shifted classes"]
    assert titles([[70, 90, 80]], undeclared=30)["error"] == []


def test_the_last_class_alone_without_boxes():
    assert titles([[70, 90, 0]])["warning"] == ["shifted classes"]
    assert titles([[70, 0, 80]])["warning"] == []


def test_names_of_one_class_and_of_background():
    found = titles([[70, 90, 80]], ["background", "Red car", " red_car"])
    assert found["warning"] == ["background class", "similar class names"]


def test_classes_without_training_boxes_and_with_few():
    found = titles([[900, 0, 3], [80, 9, 0]])
    assert found == {"error": [], "warning": ["class not in training"], "note": ["few boxes"]}
    assert titles([[900, 0, 30], [80, 0, 2]])["note"] == ["unused class"]


# ---------------------------------------------------------------------------------------- contents


def test_double_boxes_and_empty_pictures():
    box, other = (10, 10, 50, 60), (20, 10, 50, 60)
    pictures = [[], [(other, 2), (box, 0), (box, 0)], [(box, 1), (box, 2)], [(box, 0), (other, 0)]]
    dataset = make_dataset(pictures)
    found = {f.code: f for f in content_findings([dataset], [box_table(dataset)])}
    assert set(found) == {"empty pictures", "double boxes", "two classes"}
    assert found["empty pictures"].items == ("train: train 0.png",)
    assert found["double boxes"].items == (
        "train: train 1.png [10.0, 10.0, 50.0, 60.0] ant, 2 times",
    )
    assert found["double boxes"].examples[0].marked == (1, 2)
    assert found["two classes"].items[0].endswith("bee and cat, 2 times")


def test_splits_without_any_box():
    negative, secret = make_dataset([[], []]), make_dataset([[]], "test", has_annotations=False)
    found = content_findings([negative, secret], [box_table(negative), box_table(secret)])
    assert [(f.code, f.severity) for f in found] == [
        ("negatives only", "error"),
        ("no annotations", "note"),
    ]


def test_problems_weigh_by_their_share():
    good = [[((10, 10, 50, 60), 0)] * 1] * 30
    few = make_dataset([*good, [((5, 5, 5, 9), 0)]])
    many = make_dataset([*good, [((5, 5, 5, 9), 0)] * 20])
    (finding,) = problem_findings([few])
    assert (finding.severity, finding.title) == ("warning", "Box without area: 1")
    assert finding.items == ("train: train 30.png [5.0, 5.0, 5.0, 9.0]",)
    assert finding.examples[0].index == 30
    assert problem_findings([many])[0].severity == "error"


# ------------------------------------------------------------------------------------------- sizes


def test_sizes_and_anchors_on_the_networks_input():
    # At short side 400 everything doubles: sides of 4, 6, 32 and 64; the long one is 4 x 512.
    boxes = [
        (10, 10, 12, 12),
        (10, 10, 13, 13),
        (40, 40, 56, 56),
        (64, 64, 96, 96),
        (0, 9, 256, 11),
    ]
    dataset = make_dataset([[(box, 0) for box in boxes] + [((0, 0, 1, 1), 1, True)]])
    preprocessing = Preprocessing(400, 667, "exact")
    part = input_boxes(dataset, box_table(dataset), preprocessing, Anchors())
    np.testing.assert_allclose(part.sides, [4, 6, 32, 64, np.sqrt(4 * 512)], rtol=1e-6)
    np.testing.assert_allclose(part.ratios[-1], 4 / 512, rtol=1e-5)
    bins = {bin.low: (bin.count, bin.below_half, bin.background) for bin in size_bins([part])}
    assert bins[0] == (2, 2, 2)
    # A side of 32 or 64 has an anchor of that size within half a stride.
    assert bins[64] == (1, 0, 0) and bins[32] == (2, 1, 1)
    found = {f.code: f for f in size_findings([dataset], [part], "400,667")}
    assert "2 of 5 (40.0%)" in found["tiny boxes"].title
    assert found["tiny boxes"].examples[0].marked == (0, 1)
    assert "3 of 5 (60.0%)" in found["unreached boxes"].title


# --------------------------------------------------------------------------------------- the whole


def diagnosis_of(source, folder, **more):
    config = DataConfig(source=source, data_dir=str(folder), **more)
    return doctor.diagnose(config, Preprocessing(), Anchors())


def test_bccd(bccd):
    diagnosis = diagnosis_of("voc", bccd)
    assert [dataset.split for dataset in diagnosis.datasets] == ["test", "train", "trainval", "val"]
    # trainval is train and val: counted once.
    assert [diagnosis.datasets[index].split for index in diagnosis.own] == ["test", "train", "val"]
    assert [(f.code, len(f.items)) for f in diagnosis.findings] == [
        ("box without area", 2),
        ("one-based", 0),
        ("few boxes", 1),
    ]
    totals = diagnosis.class_counts[diagnosis.own].sum(axis=0)
    assert dict(zip(diagnosis.datasets[0].class_names, totals.tolist(), strict=True)) == {
        "Platelets": 98,
        "RBC": 1190,
        "WBC": 96,
    }
    printed = "\n".join(text.lines(diagnosis))
    assert "BloodImage_00338.jpg" in printed and "BloodImage_00343.jpg" in printed
    with pytest.raises(UserError, match=r"box without area: BloodImage_003\d\d"):
        diagnosis_of("voc", bccd, strict=True)


def test_tiny_coco_has_no_format_class_or_duplicate_alarm(tiny_coco):
    diagnosis = diagnosis_of("coco", tiny_coco)
    assert diagnosis.severities == {"error": 0, "warning": 2, "note": 4}
    assert {f.code for f in diagnosis.findings} == {
        "class not in training",
        "unreached boxes",
        "unused class",
        "few boxes",
        "empty pictures",
        "tiny boxes",
    }


def coco_set(folder, boxes, categories, *, shift=0):
    """Writes a COCO set whose val has the boxes of train, its class ids raised by `shift`."""
    pixels = np.random.default_rng(1).integers(0, 255, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for number, split in enumerate(("train", "val")):
        (folder / split).mkdir()
        Image.fromarray(pixels[number]).save(folder / split / "a.png")
        rows = [
            {"id": index, "image_id": 1, "bbox": list(box),
             "category_id": int(category) + (shift if split == "val" else 0)}
            for index, (box, category) in enumerate(zip(boxes.tolist(), categories, strict=True))
        ]  # fmt: skip
        content = {
            "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
            "annotations": rows,
            "categories": [{"id": index, "name": name} for index, name in enumerate(NAMES)],
        }
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / f"annotations/instances_{split}.json").write_text(json.dumps(content))


def test_a_coco_file_with_corners_and_with_shifted_ids(tmp_path, rng):
    boxes, categories = random_boxes(rng), rng.choice(3, 200, p=[0.8, 0.15, 0.05])
    for name in ("sound", "corners", "shifted"):
        (tmp_path / name).mkdir()
    coco_set(tmp_path / "sound", as_xywh(boxes), categories)
    coco_set(tmp_path / "corners", boxes, categories)
    coco_set(tmp_path / "shifted", as_xywh(boxes), categories, shift=1)
    errors = {}
    for name in ("sound", "corners", "shifted"):
        found = diagnosis_of("coco", tmp_path / name).findings
        errors[name] = [f.title for f in found if f.severity == "error"]
    assert errors["sound"] == []
    assert errors["corners"][0] == "The boxes look like corners read as x, y, width, height"
    assert errors["shifted"] == ["The classes of val seem one too high against those of train"]


def test_a_voc_file_with_widths_and_heights(tmp_path, rng):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "JPEGImages").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "JPEGImages/a.jpg")
    sides = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        "<object><name>ant</name><bndbox>"
        + "".join(f"<{side}>{value:.1f}</{side}>" for side, value in zip(sides, box, strict=True))
        + "</bndbox></object>"
        for box in as_xywh(random_boxes(rng)).tolist()
    )
    (tmp_path / "Annotations/a.xml").write_text(f"<annotation>{objects}</annotation>")
    found = diagnosis_of("voc", tmp_path).findings
    assert found[0].title == "The boxes look like x, y, width, height read as corners"
    assert "box with swapped corners" in {f.code for f in found}


def test_the_embedded_scenes_are_sound():
    config = DataConfig(source="shapes", shapes_train=40, shapes_val=10, shapes_size=128)
    diagnosis = doctor.diagnose(config, Preprocessing(256, 256), Anchors())
    assert diagnosis.severities["error"] == 0
    assert not {"leak", "near leak", "wrong format"} & {f.code for f in diagnosis.findings}
