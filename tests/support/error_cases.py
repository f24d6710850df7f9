"""Detections with errors of every kind, for the tests of the error analysis and for tidecv.

NumPy alone: the parity script imports this in an environment without the package. A case is a dict
of columns: `truth_{image,classes,xywh,ignore}`, `found_{image,classes,xywh,scores}`, and the counts
`pictures` and `classes`. Boxes are xywh, float64 pixels.
"""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

SIDE = 400.0
BCCD_CLASSES = ["Platelets", "RBC", "WBC"]


def columns(truths: list, found: list, *, pictures: int, classes: int) -> dict[str, np.ndarray]:
    """Makes a case of rows (picture, class, xywh, ignore) and (picture, class, xywh, score)."""
    case: dict[str, np.ndarray] = {"pictures": np.array(pictures), "classes": np.array(classes)}
    for name, rows, last, dtype in [
        ("truth", truths, "ignore", bool),
        ("found", found, "scores", np.float64),
    ]:
        case[f"{name}_image"] = np.array([row[0] for row in rows], np.int32)
        case[f"{name}_classes"] = np.array([row[1] for row in rows], np.int32)
        case[f"{name}_xywh"] = np.array([row[2] for row in rows], np.float64).reshape(-1, 4)
        case[f"{name}_{last}"] = np.array([row[3] for row in rows], dtype)
    return case


def as_tables(case: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """Returns the `EvaluationSet` and the `Found` of a case."""
    from keras_retinanet.evaluation.tables import EvaluationSet, Found, Truths, xywh_to_xyxy

    pictures, classes = int(case["pictures"]), int(case["classes"])
    truth_xywh, found_xywh = case["truth_xywh"], case["found_xywh"]
    truths = Truths(
        image=case["truth_image"],
        classes=case["truth_classes"],
        boxes=xywh_to_xyxy(truth_xywh),
        areas=truth_xywh[:, 2] * truth_xywh[:, 3],
        ignore=case["truth_ignore"],
        stated_xywh=truth_xywh,
    )
    found = Found(
        image=case["found_image"],
        classes=case["found_classes"],
        boxes=xywh_to_xyxy(found_xywh),
        scores=case["found_scores"],
        stated_xywh=found_xywh,
    )
    evaluation_set = EvaluationSet(
        image_ids=list(range(pictures)),
        file_names=[f"{image}.jpg" for image in range(pictures)],
        sizes=np.full((pictures, 2), int(SIDE), np.int32),
        class_names=[f"class {index}" for index in range(classes)],
        class_ids=list(range(classes)),
        truths=truths,
    )
    return evaluation_set, found


def random_boxes(rng: np.random.Generator, count: int, side: float = SIDE) -> np.ndarray:
    sizes = rng.uniform(0.05, 0.45, (count, 2)) * side
    return np.concatenate([rng.uniform(0, 1, (count, 2)) * (side - sizes), sizes], axis=1)


def wrong_detections(
    rng: np.random.Generator, truths: list, *, pictures: int, classes: int, side: float = SIDE
) -> list:
    """Finds most boxes of `truths`, some twice, and moves, renames and invents others.

    Scores have two decimals, so that many are equal.
    """
    found = []
    for image, index, box, _ in truths:
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            box = np.asarray(box, np.float64)
            shift = rng.normal(0, rng.choice([0.0, 0.05, 0.2, 0.4]), 2) * box[2:]
            size = box[2:] * np.exp(rng.normal(0, rng.choice([0.0, 0.1, 0.3]), 2))
            name = index if rng.uniform() < 0.8 else rng.integers(classes)
            score = round(rng.uniform(0.05, 1.0), 2)
            found.append((image, int(name), [*(box[:2] + shift), *size], score))
    for box in random_boxes(rng, 2 * pictures, side):
        score = round(rng.uniform(0.05, 0.6), 2)
        found.append((int(rng.integers(pictures)), int(rng.integers(classes)), list(box), score))
    return [found[row] for row in rng.permutation(len(found))]


def made_case() -> dict[str, np.ndarray]:
    """A case of 40 pictures and 8 classes with what is rare.

    Pictures without boxes, without detections and without either; crowds; a class that is never
    detected, one that is detected and nowhere, one that is neither; more than 100 detections;
    IoUs of exactly .1 and .5; equal scores.
    """
    rng = np.random.default_rng(6)
    truths = []
    for image in range(3, 38):
        for box in random_boxes(rng, int(rng.integers(1, 9))):
            truths.append((image, int(rng.integers(5)), list(box), bool(rng.uniform() < 0.12)))
    found = wrong_detections(rng, truths, pictures=40, classes=5)
    found = [row for row in found if row[0] not in (1, 5)]
    truths += [(4, 5, [10.0, 10.0, 50.0, 50.0], False), (5, 5, [0.0, 0.0, 9.0, 9.0], False)]
    found += [(2, 6, [5.0, 5.0, 40.0, 60.0], 0.5), (8, 6, [50.0, 5.0, 40.0, 60.0], 0.31)]
    for image, box in zip([9] * 130, random_boxes(rng, 130), strict=True):
        found.append((image, int(rng.integers(5)), list(box), round(rng.uniform(0.01, 0.2), 2)))
    # Half and a tenth of a box of 100 x 100, alone in its picture.
    truths += [(38, 0, [200.0, 200.0, 100.0, 100.0], False)]
    found += [(38, index, [200.0, 200.0, 50.0, 100.0], 0.8) for index in (0, 1)]
    found += [(38, index, [200.0, 200.0, 10.0, 100.0], 0.7) for index in (0, 1)]
    # The other half comes too late: badly placed rather than a duplicate, by the order of rules.
    found += [(38, 0, [250.0, 200.0, 50.0, 100.0], 0.6)]
    # Half of a detection in a crowd is not enough, a little more is.
    truths += [(39, 2, [100.0, 100.0, 200.0, 200.0], True)]
    found += [(39, 2, [50.0 + step, 150.0, 100.0, 50.0], 0.4) for step in (0.0, 1.0)]
    return columns(truths, found, pictures=40, classes=8)


def coco_case(annotations: Path, results: Path | None = None) -> dict[str, np.ndarray]:
    """A case of the pictures of a COCO file, with a results file or with wrong detections."""
    content = json.loads(annotations.read_text(encoding="utf-8"))
    image = {picture["id"]: place for place, picture in enumerate(content["images"])}
    index = {category["id"]: place for place, category in enumerate(content["categories"])}

    def place(row):
        return image[row["image_id"]], index[row["category_id"]], row["bbox"]

    sizes = {"pictures": len(image), "classes": len(index)}
    truths = [(*place(row), bool(row["iscrowd"])) for row in content["annotations"]]
    if results is not None:
        rows = json.loads(results.read_text(encoding="utf-8"))
        return columns(truths, [(*place(row), row["score"]) for row in rows], **sizes)
    found = wrong_detections(np.random.default_rng(7), truths, **sizes)
    crowds = [row for row in truths if row[3]]
    for picture, name, (x, y, width, height), _ in crowds:
        found.append((picture, name, [x + width / 4, y, width / 4, height / 4], 0.9))
        found.append((picture, name, [x + width * 0.7, y, width / 2, height / 2], 0.95))
    return columns(truths, found, **sizes)


def bccd_truths(folder: Path) -> dict[str, np.ndarray]:
    """The true boxes of BCCD's test part: the `truth_` columns of a case."""
    rows = []
    names = sorted((folder / "ImageSets/Main/test.txt").read_text(encoding="utf-8").split())
    for picture, name in enumerate(names):
        for found in ElementTree.parse(folder / f"Annotations/{name}.xml").iter("object"):
            label = found.findtext("name")
            x1, y1, x2, y2 = (
                float(found.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            if x2 > x1 and y2 > y1:
                rows.append((picture, BCCD_CLASSES.index(label), [x1, y1, x2 - x1, y2 - y1], False))
    case = columns(rows, [], pictures=len(names), classes=len(BCCD_CLASSES))
    return {key: value for key, value in case.items() if key.startswith("truth_")}
