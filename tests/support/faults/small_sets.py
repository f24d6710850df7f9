"""A small sound data set of each source, written by hand: what faults are put into."""

import json
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from PIL import Image

from keras_retinanet.config import DataConfig

WIDTH, HEIGHT = 100, 60
NAMES = ("a.png", "b.png", "c.png")
BOX = (10, 20, 40, 50)


def write_pictures(folder: Path, names=NAMES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (WIDTH, HEIGHT), "gray").save(folder / name)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def config_of(source: str, folder: Path, **options) -> DataConfig:
    return DataConfig(source=source, data_dir=str(folder), **options)


def coco_content() -> dict:
    x1, y1, x2, y2 = BOX
    box = [x1, y1, x2 - x1, y2 - y1]
    size = {"width": WIDTH, "height": HEIGHT}
    return {
        "images": [{"id": i, "file_name": name, **size} for i, name in enumerate(NAMES)],
        "annotations": [
            {"id": i, "image_id": i % 3, "category_id": 1 + i % 2, "bbox": box, "area": 900.0,
             "iscrowd": i // 3, "segmentation": [[10.5, 20, 40, 50, 1, 2]]}
            for i in range(4)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }  # fmt: skip


def write_coco(folder: Path) -> Path:
    write_pictures(folder / "train")
    return write(folder / "annotations/instances_train.json", json.dumps(coco_content(), indent=1))


def voc_text(box=BOX, name="cat", difficult="0") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotation>\n<filename>a.png</filename>\n'
        f"<object>\n<name>{name}</name>\n<difficult>{difficult}</difficult>\n<bndbox>"
        + "".join(f"<{side}>{value}</{side}>" for side, value in sides)
        + "</bndbox>\n</object>\n</annotation>\n"
    )


def write_voc(folder: Path) -> Path:
    write_pictures(folder / "JPEGImages")
    write(folder / "ImageSets/Main/train.txt", "a\nb\nc\n")
    for name in "bc":
        write(folder / f"Annotations/{name}.xml", voc_text())
    return write(folder / "Annotations/a.xml", voc_text(name="dog"))


def write_csv(folder: Path) -> Path:
    write_pictures(folder)
    rows = ["a.png,10,20,40,50,cat", "a.png,1,2,4,5,dog", "b.png,10,20,40,50,cat", "c.png,,,,,"]
    return write(folder / "annotations.csv", "\n".join(rows) + "\n")


def write_yolo(folder: Path) -> Path:
    write_pictures(folder / "images/train")
    write(folder / "data.yaml", "path: .\ntrain: images/train\nnames:\n  0: cat\n  1: dog\n")
    write(folder / "labels/train/b.txt", "0 0.5 0.5 0.2 0.2\n")
    write(folder / "labels/train/c.txt", "")
    return write(folder / "labels/train/a.txt", "0 0.5 0.5 0.2 0.2\n1 0.25 0.5 0.1 0.5\n")


def write_kitti(folder: Path) -> Path:
    write_pictures(folder / "training/image_2")
    row = "{} 0.00 0 -1.57 10.0 20.0 40.0 50.0 1.5 1.6 3.8 -16.5 2.4 58.5 -1.57\n"
    for name in "bc":
        write(folder / f"training/label_2/{name}.txt", row.format("Van"))
    content = row.format("Car") + row.format("DontCare")
    return write(folder / "training/label_2/a.txt", content)


def write_openimages(folder: Path) -> Path:
    write_pictures(folder / "train")
    write(folder / "class-descriptions-boxable.csv", "/m/1,cat\n/m/2,dog\n")
    rows = ["ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf"]
    rows += [f"{name},x,/m/{i},1,0.1,0.4,0.2,0.5,0,0" for i in (1, 2) for name in "abc"]
    return write(folder / "train-annotations-bbox.csv", "\n".join(rows) + "\n")


def example(name: str) -> bytes:
    """Returns a serialized `tf.train.Example` with the Object Detection API's keys."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "gray")
    encoded = tf.io.encode_png(tf.constant(list(picture.tobytes()), tf.uint8, (HEIGHT, WIDTH, 3)))
    features = {
        "image/encoded": [encoded.numpy()],
        "image/filename": [name.encode()],
        "image/source_id": [name.encode()],
        "image/object/class/text": [b"cat", b"dog"],
        "image/object/class/label": [1, 2],
        "image/height": [HEIGHT],
        "image/width": [WIDTH],
    }
    for side, values in {"xmin": [0.1, 0.2], "ymin": [0.1, 0.3], "xmax": [0.5, 0.6],
                         "ymax": [0.5, 0.9]}.items():  # fmt: skip
        features[f"image/object/bbox/{side}"] = values
    kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
    made = tf.train.Example()
    for key, values in features.items():
        getattr(made.features.feature[key], kinds[type(values[0])]).value.extend(values)
    return made.SerializeToString()


def write_shard(path: Path, examples: list[bytes]) -> Path:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in examples:
            writer.write(content)
    return path


def write_tfrecord(folder: Path) -> Path:
    write(folder / "labels.txt", "cat\ndog\n")
    return write_shard(folder / "train.tfrecord", [example(name) for name in NAMES])


# Source -> writes the set below a folder; returns the annotation file that is worth damaging.
SETS: dict[str, Callable[[Path], Path]] = {
    "coco": write_coco,
    "voc": write_voc,
    "csv": write_csv,
    "yolo": write_yolo,
    "kitti": write_kitti,
    "openimages": write_openimages,
    "tfrecord": write_tfrecord,
}
