"""Names in Unicode's two forms, and escapes of bytes that are not UTF-8: one name, as stored."""

import csv as csv_module
import json
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.sources import csv_files as data_csv
from keras_retinanet.evaluation.class_map import map_classes
from keras_retinanet.evaluation.results import write_coco_json, write_csv
from keras_retinanet.files.names import name_key
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.training.run_folder import require_same_pictures, write_data_report

NFC = unicodedata.normalize("NFC", "K\u00e4fer \u304c")
NFD = unicodedata.normalize("NFD", NFC)
FORMS = pytest.mark.parametrize(("stored", "stated"), [(NFD, NFC), (NFC, NFD)])
BOX = [2.0, 3.0, 12.0, 13.0]


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(path)
    return path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def voc_xml(name):
    box = "".join(
        f"<{k}>{v}</{k}>" for k, v in zip("xmin ymin xmax ymax".split(), BOX, strict=True)
    )
    return f"<annotation><object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"


def coco(folder, stored, stated):
    path = picture(folder / stored / f"{stored}.png")
    rows = {
        "images": [{"id": 1, "file_name": f"{stated}/{stated}.png"}],
        "categories": [{"id": 1, "name": stored}, {"id": 2, "name": stated}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": i, "bbox": [2, 3, 10, 10]} for i in (1, 2)
        ],
    }
    write(folder / "a.json", json.dumps(rows))
    return DataConfig(source="coco", annotations=str(folder / "a.json"), strict=False), path


def csv(folder, stored, stated):
    path = picture(folder / f"{stored}.png")
    rows = [f"{stated}.png,2,3,12,13,{name}\n" for name in (stored, stated)]
    write(folder / "annotations.csv", "".join(rows))
    return DataConfig(source="csv", data_dir=str(folder)), path


def yolo(folder, stored, stated):
    path = picture(folder / stored / "images" / f"{stored}.png")
    write(folder / stored / "labels" / f"{stated}.txt", "0 .35 .4 .5 .5\n1 .35 .4 .5 .5\n")
    write(folder / "data.yaml", f"val: {stated}/images\nnames: ['{stored}', '{stated}']\n")
    return DataConfig(source="yolo", data_dir=str(folder)), path


def voc(folder, stored, stated):
    path = picture(folder / "JPEGImages" / f"{stored}.png")
    both = voc_xml(stored).replace("</annotation>", "") + voc_xml(stated).removeprefix(
        "<annotation>"
    )
    write(folder / "Annotations" / f"{stated}.xml", both)
    write(folder / "ImageSets" / "Main" / "train.txt", f"{stated}\n")
    return DataConfig(source="voc", data_dir=str(folder)), path


def kitti(folder, stored, stated):
    path = picture(folder / "image_2" / f"{stored}.png")
    # KITTI's rows have no spaces in names.
    rows = [f"{name.split()[0]} 0 0 0 2 3 12 13 0 0 0 0 0 0 0\n" for name in (stored, stated)]
    write(folder / "label_2" / f"{stated}.txt", "".join(rows))
    return DataConfig(source="kitti", data_dir=str(folder)), path


@FORMS
@pytest.mark.parametrize("make", [coco, csv, yolo, voc, kitti])
def test_images_and_classes_in_either_form(tmp_path, make, stored, stated):
    config, path = make(tmp_path, stored, stated)
    data = load_dataset(config, {voc: "train", yolo: "val"}.get(make, "all"))
    (record,) = data.records
    assert os.path.samefile(record.image.path, path)
    assert data.class_names == [NFC.split()[0] if make is kitti else NFC]
    np.testing.assert_allclose(record.boxes, [BOX, BOX], atol=1e-5)
    assert record.classes.tolist() == [0, 0]
    assert data.problems == {"class in two spellings that look alike": data.class_names}
    assert data.read_bytes(0) == path.read_bytes()


@FORMS
def test_chosen_classes_class_files_and_models_in_either_form(tmp_path, stored, stated):
    path = picture(tmp_path / "a.png")
    write(tmp_path / "a.csv", f"{path.name},2,3,12,13,{stored}\n")
    write(tmp_path / "c.csv", f"{stated},7\nother,8\n")
    config = DataConfig(source="csv", annotations=str(tmp_path / "a.csv"), classes=(stated,))
    assert load_dataset(config).class_names == [NFC]
    config = DataConfig(
        source="csv", annotations=str(tmp_path / "a.csv"), class_file=str(tmp_path / "c.csv")
    )
    data = load_dataset(config)
    assert (data.class_names, data.class_ids) == ([NFC, "other"], [7, 8])
    assert data.records[0].classes.tolist() == [0] and not data.problems
    assert map_classes([stored], [stated]).tolist() == [0]


def test_escaped_bytes_of_a_name_find_its_file(tmp_path):
    """What our own CSV and JSON write of a name that is not UTF-8 is read back as that file."""
    raw = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    os.rename(picture(tmp_path / "a.png"), raw)
    write(tmp_path / "a.csv", "caf\\udce9.png,2,3,12,13,cup\n")
    data = load_dataset(DataConfig(source="csv", annotations=str(tmp_path / "a.csv")))
    assert os.fsencode(data.records[0].image.path) == raw and not data.problems
    assert data.records[0].file_name == "caf\\udce9.png"


def test_exact_spelling_comes_first(tmp_path):
    """Linux holds both forms of one name as two files."""
    for name in (NFC, NFD):
        picture(tmp_path / f"{name}.png")
        write(tmp_path / "a.csv", f"{name}.png,2,3,12,13,cup\n")
        data = load_dataset(DataConfig(source="csv", annotations=str(tmp_path / "a.csv")))
        assert data.records[0].image.path == str(tmp_path / f"{name}.png")
    assert name_key(NFD) == NFC != NFD


def test_surrogates_of_a_system_without_utf8_are_the_letters():
    """As Python lists files with LC_ALL=C."""
    for name in ("\u56fe\u7247.jpg", NFD):
        listed = name.encode().decode("ascii", "surrogateescape")
        assert name_key(listed) == name_key(name)
    assert name_key("\ud800\udce9") == "\\ud800\\udce9"


ODD_NAMES = [b"caf\xe9", b"nl\nx", b"tab\tx", b"q'\"x", b"esc\x1b[2J", b"<i>x", b"-lead"]
ODD_NAMES += ["rtl\u202egpj".encode(), b"l" * 200, "\U0001f600".encode(), b"a\\udce9"]


def test_no_name_stops_what_is_written_about_it(tmp_path, capsys):
    """A run's list of images, detections as CSV and JSON: each is written, and read back."""
    for name in ODD_NAMES:
        raw = os.path.join(os.fsencode(tmp_path), b"images", name + b".png")
        os.makedirs(os.path.dirname(raw), exist_ok=True)
        os.rename(picture(tmp_path / "a.png"), raw)
    write(tmp_path / "classes.txt", "cup\n")
    write(tmp_path / "labels" / "-lead.txt", "0 .35 .4 .5 .5\n")
    data = load_dataset(DataConfig(source="yolo", data_dir=str(tmp_path)), "all")
    assert len(data.records) == len(ODD_NAMES)
    write_data_report(data, None, tmp_path)
    require_same_pictures(data, tmp_path)
    assert not capsys.readouterr().out  # it was compared
    found = Detections(np.array([BOX], np.float32), np.ones(1), np.zeros(1, int), ["cup"])
    write_csv([(record.image.path, found) for record in data.records], tmp_path / "found.csv")
    write_coco_json([{"file_name": r.image.path} for r in data.records], tmp_path / "found.json")
    for row, record in zip(
        json.loads((tmp_path / "found.json").read_text("utf-8")), data.records, strict=True
    ):
        assert row["file_name"] == record.image.path
    table = data_csv.load(
        DataConfig(
            source="csv",
            annotations=str(rows_of(tmp_path / "found.csv")),
            images=str(tmp_path / "images"),
            allow_outside=True,
        ),
        None,
    )
    paths = {os.fsencode(record.image.path) for record in table.records}
    assert paths == {os.fsencode(record.image.path) for record in data.records}


def rows_of(path):
    """Drop the scores, which annotations do not have."""
    with open(path, encoding="utf-8", newline="") as stream:
        rows = [row[:-1] for row in csv_module.reader(stream)]
    with open(path, "w", encoding="utf-8", newline="") as stream:
        csv_module.writer(stream).writerows(rows)
    return path
