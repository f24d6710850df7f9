"""What CVAT and Label Studio read from the files written for them, as `Dataset`s."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record


def _dataset(split, names, images) -> Dataset:
    """Build a set of images, each its path, size (h, w) and objects."""
    problems = Problems()
    records = [
        make_record(
            path.name, ImageRef(str(path)), size,
            file_name=path.name, objects=objects, problems=problems,
        )
        for path, size, objects in images
    ]  # fmt: skip
    return Dataset("tool", split, names, list(range(1, len(names) + 1)), records, problems)


class Cvat:
    """CVAT for images 1.1."""

    @staticmethod
    def splits(config):
        return sorted(path.parent.name for path in Path(config.data_dir).glob("*/annotations.xml"))

    @staticmethod
    def load(config, split):
        folder = Path(config.data_dir, split)
        root = ET.parse(folder / "annotations.xml").getroot()
        assert root.findtext("version") == "1.1"
        names = [label.findtext("name") for label in root.iterfind("meta/task/labels/label")]
        images = []
        for number, image in enumerate(root.iterfind("image")):
            assert int(image.get("id")) == number
            objects = []
            for box in image.iterfind("box"):
                assert (box.get("occluded"), box.get("z_order")) == ("0", "0")
                corners = [float(box.get(side)) for side in ("xtl", "ytl", "xbr", "ybr")]
                objects.append((corners, names.index(box.get("label")), False, None))
            size = int(image.get("height")), int(image.get("width"))
            images.append((folder / "images" / image.get("name"), size, objects))
        return _dataset(split, names, images)


class LabelStudio:
    """Tasks of Label Studio."""

    @staticmethod
    def splits(config):
        files = Path(config.data_dir).glob("tasks_*.json")
        return sorted(path.stem.removeprefix("tasks_") for path in files)

    @staticmethod
    def load(config, split):
        folder = Path(config.data_dir)
        view = ET.parse(folder / "labels.xml").getroot()
        controls = {node.get("name"): node for node in view}
        source = controls["image"].get("value")
        names = [label.get("value") for label in controls["label"]]
        images = []
        tasks = json.loads((folder / f"tasks_{split}.json").read_text(encoding="utf-8"))
        for task in tasks:
            url = urlsplit(task["data"][source.removeprefix("$")])
            assert url.path == "/data/local-files/"
            path = folder.parent / parse_qs(url.query, strict_parsing=True)["d"][0]
            (given,) = task.get("annotations") or task["predictions"]
            sizes, objects = set(), []
            for region in given["result"]:
                assert region["from_name"] in controls and region["to_name"] in controls
                value = region["value"]
                size = region["original_height"], region["original_width"]
                sides = np.array([size[1], size[0]])
                corner = sides * [value["x"], value["y"]] / 100
                extent = sides * [value["width"], value["height"]] / 100
                (label,) = value["rectanglelabels"]
                box = [*corner, *(corner + extent)]
                objects.append((box, names.index(label), False, None))
                sizes.add(size)
            with Image.open(path) as image:
                size = image.height, image.width
            assert sizes <= {size}
            images.append((path, size, objects))
        return _dataset(split, names, images)
