"""Data sets as their tools pack them: recognized and read, each box where it was drawn."""

import json
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import SOURCES, load_dataset
from keras_retinanet.data.sources.recognition import recognise
from keras_retinanet.errors import UserError

WIDTH, HEIGHT = 80, 60
NAMES = ["cat", "dog"]
# Of each image its boxes: x1, y1, x2, y2, class.
BOXES = {
    0: [(10, 20, 40, 50, "cat")],
    1: [(50, 30, 70, 55, "dog"), (5, 5, 25, 25, "cat")],
    2: [(30, 10, 75, 50, "dog")],
}
SPLITS = {"train": (0, 1), "val": (2,)}
ROWS = [(i, *box) for i, boxes in BOXES.items() for box in boxes]


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def yolo(i):
    return "".join(
        f"{NAMES.index(name)} {(a + x) / 2 / WIDTH} {(b + y) / 2 / HEIGHT} {(x - a) / WIDTH} "
        f"{(y - b) / HEIGHT}\n"
        for a, b, x, y, name in BOXES[i]
    )


def voc(i):
    objects = [
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{x}</xmax>"
        f"<ymax>{y}</ymax></bndbox></object>"
        for a, b, x, y, name in BOXES[i]
    ]
    return f"<annotation>{''.join(objects)}</annotation>"


def coco(ids, name="{}.jpg", *, unit=(1, 1), **fields):
    images = [{"id": i, "file_name": name.format(i), "width": WIDTH, "height": HEIGHT, **fields}
              for i in ids]  # fmt: skip
    annotations = [
        {"id": n, "image_id": i, "category_id": NAMES.index(c), "iscrowd": 0,
         "bbox": [a / unit[0], b / unit[1], (x - a) / unit[0], (y - b) / unit[1]]}
        for n, (i, a, b, x, y, c) in enumerate(ROWS) if i in ids
    ]  # fmt: skip
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def table(header, row, rows=ROWS):
    return "\n".join([header, *(row(*values) for values in rows)]) + "\n"


# --------------------------------------------------------------------- a place for every image


def pairs(folder, text, *, picture, label, names="", class_file="classes.txt"):
    """Write an image and its label file each; {} is the number, {split} its split."""
    for split, ids in SPLITS.items():
        for i in ids:
            image(folder / picture.format(i, split=split, Split=split.title()))
            write(folder / label.format(i, split=split, Split=split.title()), text(i))
    if names:
        write(folder / class_file, names)


def with_files(make, **files):
    """As `make`, with more files: path with / for __ and a dot for _ at last -> text."""

    def draw(folder):
        make(folder)
        for name, text in files.items():
            path, _, suffix = name.replace("__", "/").rpartition("_")
            write(folder / f"{path}.{suffix}", text)

    return draw


def images(folder, picture):
    for i in BOXES:
        image(folder / picture.format(i, split="train" if i < 2 else "val"))


HASHED = "a1b2c3d{0}-{0}"
CLASSES = "cat\ndog\n"
YOLO = partial(pairs, text=yolo, names=CLASSES)
VOC = partial(pairs, text=voc)
CORNERS = "filename,xmin,ymin,xmax,ymax,class"
LIST = "image_id,width,height,bbox,label"


def corners(separator=","):
    return lambda *row: separator.join(map(str, (f"{row[0]}.jpg", *row[1:])))


def sized_cell(i, a, b, x, y, name):
    return f'img{i},80,60,"[{a}.0, {b}.0, {x - a}.0, {y - b}.0]",{name}'


def dicts(i, a, b, x, y, name):
    return f"img{i},\"[{{'x': {a}, 'y': {b}, 'width': {x - a}, 'height': {y - b}}}]\",{name}"


def makesense(i, a, b, x, y, name):
    return f"{name},{a},{b},{x - a},{y - b},{i}.jpg,80,60"


def vott(folder):
    VOC(folder, picture="JPEGImages/{}.jpg", label="Annotations/{}.xml")
    for tag in NAMES:
        write(folder / f"ImageSets/Main/{tag}_train.txt", "0.jpg 1\n1.jpg -1\n")
        write(folder / f"ImageSets/Main/{tag}_val.txt", "2.jpg -1\n")


def at(picture):
    return lambda folder: images(folder, picture)


def of(make, **places):
    return lambda folder: make(folder, **places)


BESIDE = of(YOLO, picture="data_{split}/{}.jpg", label="data_{split}/{}.txt", names="")
DARKNET = "classes = 2\ntrain = data/train.txt\nval = data/val.txt\nnames = data/obj.names\n"
AZURE = {"coco_url": "AmlDatastore://store/a.jpg"}
# Name -> (what draws the set, the source that it is recognized as, its splits).
LAYOUTS = {
    # YOLO
    "capital folders": (of(YOLO, picture="Images/{Split}/{}.JPG", label="Labels/{Split}/{}.TXT"),
                        "yolo", ["Train", "Val"]),
    "Label Studio, own images": (of(YOLO, picture="images/{}.jpg", label=f"labels/{HASHED}.txt"),
                                 "yolo", []),
    "Label Studio, prefixed images": (of(YOLO, picture=f"images/{HASHED}.jpg",
                                         label="labels/{0}.txt"), "yolo", []),
    "FiftyOne v4": (of(YOLO, picture="data/{}.jpg", label="data/{}.txt", class_file="obj.names"),
                    "yolo", []),
    "Roboflow Darknet": (of(YOLO, picture="{split}/{}.jpg", label="{split}/{}.txt",
                            class_file="train/_darknet.labels"), "yolo", ["train", "val"]),
    "CVAT YOLO": (with_files(BESIDE, obj_data=DARKNET, obj_names=CLASSES,
                             train_txt="data/data_train/0.jpg\ndata/data_train/1.jpg\n",
                             val_txt="data\\data_val\\2.jpg\n"), "yolo", ["train", "val"]),
    "YAML of another machine": (
        with_files(of(YOLO, picture="images/{split}/{}.jpg", label="labels/{split}/{}.txt",
                      names=""),
                   my_yaml="train: /content/set/Images/train\nval: C:\\set\\images\\val\n"
                   "names: [cat, dog]\n"), "yolo", ["train", "val"]),
    "keras-yolo3": (
        with_files(at("images/{}.jpg"), classes_txt=CLASSES, train_txt="".join(
            f"images/{i}.jpg " + " ".join(f"{a},{b},{x},{y},{NAMES.index(c)}"
                                          for a, b, x, y, c in boxes) + "\n"
            for i, boxes in BOXES.items())), "csv", ["train"]),
    # VOC
    "kangaroo": (of(VOC, picture="images/{}.jpg", label="annots/{}.xml"), "voc", []),
    "raccoon": (with_files(of(VOC, picture="images/{}.jpg", label="annotations/{}.xml"),
                           data__raccoon_labels_csv=CORNERS), "voc", []),
    "fruits": (of(VOC, picture="{split}_zip/{split}/{}.jpg", label="{split}_zip/{split}/{}.xml"),
               "voc", ["train", "val"]),
    "labelImg": (of(VOC, picture="{}.jpg", label="{}.xml"), "voc", []),
    "Roboflow VOC": (of(VOC, picture="{split}/{}.jpg", label="{split}/{}.xml"),
                     "voc", ["train", "val"]),
    "FiftyOne VOC": (of(VOC, picture="data/{}.jpg", label="labels/{}.xml"), "voc", []),
    "splits in both": (of(VOC, picture="images/{split}/{}.jpg", label="annotations/{split}/{}.xml"),
                       "voc", ["train", "val"]),
    "folders in splits": (of(VOC, picture="{split}/images/{}.jpg",
                             label="{split}/Annotations/{}.xml"), "voc", ["train", "val"]),
    "Label Studio VOC": (of(VOC, picture="images/{}.jpg", label=f"Annotations/{HASHED}.xml"),
                         "voc", []),
    "CVAT VOC": (with_files(of(VOC, picture="JPEGImages/{}.jpg", label="Annotations/{}.xml"),
                            ImageSets__Main__Train_txt="0\n1\n",
                            ImageSets__Main__Validation_txt="2\n"),
                 "voc", ["Train", "Validation"]),
    "VoTT": (vott, "voc", ["train", "val"]),
    # COCO
    "CVAT subsets": (
        with_files(at("images/{split}/{}.jpg"), annotations__instances_train_json=coco((0, 1)),
                   annotations__instances_val_json=coco((2,))), "coco", ["train", "val"]),
    "FiftyOne": (with_files(at("data/{}.jpg"), labels_json=coco(BOXES, "/home/me/x/data/{}.jpg")),
                 "coco", []),
    "FiftyOne splits": (
        with_files(at("{split}/data/{}.jpg"), train__labels_json=coco((0, 1)),
                   val__labels_json=coco((2,))), "coco", ["train", "val"]),
    "Label Studio": (with_files(at("images/{}.jpg"), result_json=coco(BOXES, "images/{}.jpg")),
                     "coco", []),
    "Label Studio, uploads": (
        with_files(at("images/{}.jpg"), result_json=coco(BOXES, f"../../upload/1/{HASHED}.jpg")),
        "coco", []),
    "Azure": (with_files(at("images/{}.jpg"), x_json=coco(BOXES, "UI/{}.jpg", unit=(WIDTH, HEIGHT),
                                                         **AZURE)), "coco", []),
    "labelme2coco": (with_files(at("JPEGImages/{}.jpg"), x_json=coco(BOXES, "JPEGImages\\{}.jpg")),
                     "coco", []),
    "a JSON a split": (with_files(at("images/{}.jpg"), train_json=coco((0, 1)),
                                  val_json=coco((2,))), "coco", ["train", "val"]),
    # CSV
    "semicolons": (with_files(at("{}.jpg"), annotations_csv=table(
        CORNERS.replace(",", ";"), corners(";"))), "csv", []),
    "decimal commas": (with_files(at("{}.jpg"), annotations_csv=table(
        CORNERS.replace(",", ";"), lambda *row: corners(";")(*row).replace(";50;", ";50,0;"))),
        "csv", []),
    "tabs": (with_files(at("{}.jpg"), boxes_tsv=table(CORNERS.replace(",", "\t"), corners("\t"))),
             "csv", []),
    "index": (with_files(at("{}.jpg"), annotations_csv=table(
        "," + CORNERS, lambda *row: "7," + corners()(*row))), "csv", []),
    "index without header": (with_files(at("{}.jpg"), annotations_csv=table(
        "0,0.jpg,10,20,40,50,cat", lambda *row: "7," + corners()(*row), ROWS[1:])), "csv", []),
    "VoTT CSV": (with_files(at("out/{}.jpg"), out__pets_export_csv=table(
        '"image","xmin","ymin","xmax","ymax","label"', corners())), "csv", []),
    "Kaggle cells": (with_files(at("train/img{}.jpg"), train_csv=table(LIST, sized_cell),
                                sample_submission_csv="image_id"), "csv", ["train"]),
    "Kaggle dicts": (with_files(at("train/img{}.jpg"), train_csv=table("image_id,annotations,label",
                                                                      dicts)), "csv", ["train"]),
    "makesense": (with_files(at("images/{}.jpg"), labels_my_csv=table(
        "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height",
        makesense)), "csv", []),
    "train_labels.csv": (
        with_files(at("images/{}.jpg"), train_labels_csv=table(CORNERS, corners(), ROWS[:3]),
                   val_labels_csv=table(CORNERS, corners(), ROWS[3:])), "csv", ["train", "val"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_is_recognized_and_read(name, tmp_path):
    draw, source, splits = LAYOUTS[name]
    draw(tmp_path)
    # Copies that systems and editors leave behind are no data.
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        for folder, name in (
            (".ipynb_checkpoints", path.name),
            ("__MACOSX", path.name),
            (".", "._"),
        ):
            copy = path.parent / folder / f"{name.removesuffix(path.suffix)}9{path.suffix}"
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    keys, _ = recognise(tmp_path)
    assert keys["source"] == source
    config = DataConfig(**keys)
    assert SOURCES[source].splits(config) == splits
    read = []
    for split in splits or ["all"]:
        dataset = load_dataset(config, split)
        for record in dataset.records:
            for box, label in zip(record.boxes.tolist(), record.classes, strict=True):
                number = int(Path(record.file_name.replace("\\", "/")).stem[-1])
                read.append((number, *map(round, box), dataset.class_names[label]))
    assert sorted(read) == sorted(ROWS)


def test_folders_that_are_named(tmp_path):
    VOC(tmp_path, picture="photos of today/{}.jpg", label="my boxes/{}.xml")
    boxes, photos = str(tmp_path / "my boxes"), str(tmp_path / "photos of today")
    config = DataConfig(source="voc", annotations=boxes, images=photos)
    assert [len(record.boxes) for record in load_dataset(config, "all").records] == [1, 2, 1]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"annotations_csv": "picture,a,b,c,d,what\n0.jpg,1,2,3,4,cat\n"}, "picture,a,b,c,d,what"),
        ({"annotations_csv": "filename,bbox,what\n0.jpg,1 2 3 4,cat\n"}, "filename,bbox,what"),
        ({"annotations_csv": "0.jpg,cat,1,2,3,4\n"}, "line 1: 0.jpg,cat,1,2,3,4"),
        ({"x_json": '{"shapes": [], "imagePath": ""}'}, "fields shapes, imagePath: labelme"),
        ({"0_json": "{}", "1_json": "{}"}, "labelme2coco"),
        ({"annotations_xml": "<annotations/>"}, "CVAT's own form"),
        ({"x_json": coco(BOXES, "/a/b{}.jpg")}, "/a/b0.jpg: looked for in"),
        ({"annotations_csv": table(CORNERS, lambda i, *_: f"b{i}.jpg,1,2,3,4,cat")}, "b0.jpg: "),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(files, message, tmp_path):
    with_files(at("{}.jpg"), **files)(tmp_path)
    with pytest.raises(UserError) as caught:
        load_dataset(DataConfig(**recognise(tmp_path)[0]), "all")
    assert message in str(caught.value)
