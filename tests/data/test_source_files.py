"""Lines and rows with their numbers, from any file, and the pictures of a folder."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.sources import csv_files, kitti, openimages, yolo
from keras_retinanet.data.sources.source_files import (
    MAX_TEXT_BYTES,
    csv_rows,
    label_lines,
    number,
    numbered_lines,
    pictures_by_stem,
)
from keras_retinanet.errors import UserError


def test_lines_have_numbers_and_no_byte_order_mark(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffone\r\n\nthrée".encode())
    assert list(numbered_lines(file)) == [(1, "one\r\n"), (2, "\n"), (3, "thrée")]
    problems = Problems()
    assert label_lines(str(file), problems) == [(1, ["one"]), (3, ["thrée"])] and not problems


def test_endless_label_files_are_not_read(tmp_path):
    file = tmp_path / "a.txt"
    with open(file, "wb") as stream:
        stream.truncate(MAX_TEXT_BYTES + 1)
    problems = Problems()
    assert label_lines(str(file), problems) is None
    assert label_lines(str(tmp_path / "absent.txt"), problems) is None
    assert len(problems["unreadable annotation"]) == 2
    assert "more than" in problems["unreadable annotation"][0]


def test_rows_have_the_number_of_their_first_line(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text('a,"b\nc"\n\n,\nd, e\n')
    assert list(csv_rows(file)) == [(1, ["a", "b\nc"]), (5, ["d", "e"])]
    with pytest.raises(UserError, match=r"absent\.csv"):
        list(csv_rows(tmp_path / "absent.csv"))


def test_numbers():
    assert [number(" 1.5 "), number("-2e1")] == [1.5, -20.0]
    for text in ("", "1_0", "x", "1,5", "0x10"):
        with pytest.raises(ValueError):  # noqa: PT011
            number(text)


def test_pictures_are_files_with_a_pictures_suffix(tmp_path):
    for name in ("b.JPG", "a.png", "a.jpg", "c.txt", "no_suffix"):
        (tmp_path / name).touch()
    (tmp_path / "d.jpg").mkdir()
    found = pictures_by_stem(tmp_path)
    assert list(found.items()) == [("a", f"{tmp_path}/a.jpg"), ("b", f"{tmp_path}/b.JPG")]
    assert pictures_by_stem(tmp_path / "absent") == {}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A sound data set of each source, and the annotation file of it that is mutated."""
    folder = tmp_path_factory.mktemp("sources")
    for place in (
        "csv/a.png",
        "yolo/images/a.png",
        "openimages/train/a.png",
        "kitti/image_2/a.png",
    ):
        (folder / place).parent.mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(folder / place)
    texts = {
        csv_files: ("csv/train.csv", "a.png,1,2,30,20,cat\na.png,,,,,\n"),
        yolo: ("yolo/data.yaml", "train: images\nnames: {0: cat, 1: dog}\nnc: 2\n"),
        openimages: (
            "openimages/train-annotations-bbox.csv",
            "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\na,/m/1,.1,.5,.2,.9,1\n",
        ),
        kitti: ("kitti/label_2/a.txt", "Car 0 0 -1.5 1 2 30 20 1.6 1.6 3.6 -0.6 1.7 46 -1.5\n"),
    }
    (folder / "openimages/class-descriptions-boxable.csv").write_text("/m/1,Cat\n")
    (folder / "yolo/labels").mkdir()
    (folder / "yolo/labels/a.txt").write_text("0 .5 .5 .2 .2\n")
    (folder / "kitti/label_2").mkdir()
    return {module: (folder / path, text.encode()) for module, (path, text) in texts.items()}


def check(dataset):
    assert len(dataset.records) <= 1
    for record in dataset.records:
        assert (record.boxes[:, 2:] > record.boxes[:, :2]).all()
        assert ((record.classes >= 0) & (record.classes < len(dataset.class_names))).all()


@pytest.mark.long
@pytest.mark.parametrize(
    "source", [csv_files, yolo, openimages, kitti], ids=lambda m: m.__name__[21:]
)
@settings(deadline=None)
@given(data=st.data())
def test_mutated_annotations_are_read_counted_or_refused(places, source, data):
    file, content = places[source]
    cut = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, 12))
    new = data.draw(
        st.binary(max_size=8) | st.sampled_from([b"nan", b"1e999", b'"', b"../", b"\0"])
    )
    file.write_bytes(content[:cut] + new + content[cut + length :])
    folder = file.parent.parent if source is kitti else file.parent
    config = DataConfig(data_dir=str(folder))
    try:
        dataset = source.load(config, "train" if source is not kitti else None)
    except UserError as error:
        message = str(error)
    else:
        message = str(folder)
        check(dataset)
    assert str(folder) in message and "\n" not in message
