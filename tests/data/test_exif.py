"""EXIF: all eight orientations against Pillow, where they are read from, and what turning gives."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_retinanet.data.images.exif import apply_exif, orientation, turn_boxes, turn_image
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.errors import UserError
from keras_retinanet.files.images.decoding import decode_image

ORIENTATIONS = range(1, 9)


def encoded(pixels, value, form="JPEG", **options):
    exif = Image.Exif()
    exif[0x0112] = value
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, exif=exif, **options)
    return stream.getvalue()


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (20, 37, 3), dtype=np.uint8)


@pytest.mark.parametrize("value", ORIENTATIONS)
def test_picture_and_boxes_turn_as_pillow_turns_them(pixels, value):
    content = encoded(pixels, value, "PNG")
    assert orientation(content) == value
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    turned = turn_image(decode_image(content), value)
    np.testing.assert_array_equal(turned, expected)
    # A box marks the same pixels before and after.
    boxes = np.array([[3, 5, 11, 8], [0, 0, 37, 20], [36, 19, 37, 20]], np.float32)
    moved = turn_boxes(boxes, value, 20, 37)
    assert moved.dtype == np.float32
    for (x1, y1, x2, y2), box in zip(boxes.astype(int), moved.astype(int), strict=True):
        inside = np.zeros((20, 37, 1), bool)
        inside[y1:y2, x1:x2] = True
        rows, columns, _ = np.nonzero(turn_image(inside, value))
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert found == box.tolist()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_orientation_of_each_format(pixels, form):
    assert [orientation(encoded(pixels, value, form)) for value in ORIENTATIONS] == [*ORIENTATIONS]


def test_a_tiff_is_turned_by_its_decoder(pixels):
    content = encoded(pixels, 6, "TIFF")
    assert orientation(content) == 1
    np.testing.assert_array_equal(decode_image(content), turn_image(pixels, 6))


def block(order, *fields, count=None):
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    rows = b"".join(struct.pack(order + "HHI", *field[:3]) + field[3] for field in fields)
    number = len(fields) if count is None else count
    return mark + struct.pack(order + "IH", 8, number) + rows


@pytest.mark.parametrize(
    ("exif", "expected"),
    [
        (block("<", (0x0112, 3, 1, b"\6\0\0\0")), 6),
        (block(">", (0x010F, 2, 1, b"a\0\0\0"), (0x0112, 3, 1, b"\0\x08\0\0")), 8),
        (block("<", (0x0112, 4, 1, b"\3\0\0\0")), 3),
        (block("<", (0x0112, 3, 1, b"\0\0\0\0")), 1),
        (block("<", (0x0112, 3, 1, b"\x09\0\0\0")), 1),
        (block("<", (0x0112, 2, 1, b"\6\0\0\0")), 1),
        (block("<", (0x010F, 3, 1, b"\6\0\0\0"), count=60_000), 1),
        (block("<", (0x0112, 3, 1, b"\6\0\0\0"))[:15], 1),
        (b"II*\0\xff\xff\xff\xff", 1),
        (b"words", 1),
        (b"", 1),
    ],
)
def test_malformed_exif_is_none(pixels, exif, expected):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", exif=b"Exif\0\0" + exif)
    assert orientation(stream.getvalue()) == expected
    assert decode_image(stream.getvalue()).shape == (20, 37, 3)


def test_orientation_of_no_picture_is_the_users_error():
    with pytest.raises(UserError, match="complete image"):
        orientation(b"words")


def test_records_are_turned_and_carry_what_to_turn(tmp_path, pixels):
    (tmp_path / "plain.jpg").write_bytes(encoded(pixels, 1))
    (tmp_path / "turned.jpg").write_bytes(encoded(pixels, 6))
    (tmp_path / "broken.jpg").write_bytes(b"words")
    # A record of a shard: its picture is a part of a file.
    (tmp_path / "shard").write_bytes(b"head" + encoded(pixels, 3) + b"tail")
    slice_of_shard = ImageRef(str(tmp_path / "shard"), 4, len(encoded(pixels, 3)))
    names = ("plain.jpg", "turned.jpg", "broken.jpg", "gone.jpg")
    images = [*(ImageRef(str(tmp_path / name)) for name in names), slice_of_shard]
    records = [
        make_record(
            index,
            image,
            (20, 37),
            file_name=str(index),
            objects=[((3, 5, 11, 8), 0, False, 7.0)],
            problems=Problems(),
        )
        for index, image in enumerate(images)
    ]
    dataset = apply_exif(Dataset("set", "all", ["cat"], [1], records))
    assert [record.orientation for record in dataset.records] == [1, 6, 1, 1, 3]
    assert [(r.height, r.width) for r in dataset.records] == [(20, 37), (37, 20)] + [(20, 37)] * 3
    assert dataset.records[1].boxes.tolist() == [[12, 3, 15, 11]]
    assert dataset.records[4].boxes.tolist() == [[26, 12, 34, 15]]
    assert dataset.records[1].areas.tolist() == [7] and dataset.records[0] is records[0]
