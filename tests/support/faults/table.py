"""The table of faults: what is done to a sound set, and the one result that it must have.

`docs/faults.md` lists every row, and a test holds the two together.
"""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from faults.small_sets import example, voc_text, write_shard
from keras_retinanet.data.problems import KINDS

NAN = float("nan")


class Fault(NamedTuple):
    """One row.

    Attributes:
        damage: gets the folder of the set and its annotation file.
        outcome: kind of problem -> count; or what the error says, a regular expression.
        boxes: how many are left of the sound set's.
    """

    source: str
    title: str
    damage: Callable[[Path, Path], object]
    outcome: dict[str, int] | str
    boxes: int = 0


def shown(outcome: dict[str, int] | str) -> str:
    """Returns the outcome as the documentation has it."""
    if isinstance(outcome, str):
        place = next((f" and {word}" for word in ("line", "byte") if word in outcome), "")
        return f"error naming the file{place}"
    if not outcome:
        return "read; nothing to count"
    return "; ".join(f"{kind}: {KINDS[kind]}" for kind in outcome)


# ------------------------------------------------------------------------------ ways to damage


def rows(change):
    """Changes the content of a COCO file, once parsed."""

    def damage(_folder, path):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def first_box(**fields):
    return rows(lambda content: content["annotations"][0].update(fields))


def first_picture(**fields):
    return rows(lambda content: content["images"][0].update(fields))


def text(content):
    def damage(_folder, path):
        raw = content(path.read_text()) if callable(content) else content
        path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())

    return damage


def swap(old, new):
    """Replaces the first `old` in the annotation file."""
    return text(lambda content: content.replace(old, new, 1))


def picture(make, name="*/a.png"):
    """Replaces a picture by what `make` gives of its bytes; None removes it."""

    def damage(folder, _path):
        (path,) = folder.glob(name)
        content = make(path.read_bytes())
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return damage


def as_folder(folder, _path):
    path = next(folder.glob("*/a.png"))
    path.unlink()
    path.mkdir()


def promising(side: int) -> bytes:
    """Returns a PNG of nothing but a header that promises side x side pixels."""
    name = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + name
    return start + struct.pack(">I", zlib.crc32(name))


def unsized(change):
    """As `picture`, with a COCO file that does not state its size: its header is read."""

    def damage(folder, path):
        first_picture(width=None)(folder, path)
        change(folder, path)

    return damage


def rename(old, new):
    return lambda folder, _path: next(folder.glob(old)).rename(next(folder.glob(old)).parent / new)


def both(*damages):
    return lambda folder, path: [damage(folder, path) for damage in damages]


def bomb(levels=9):
    lines = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, levels))
    return f'<!DOCTYPE a [<!ENTITY a0 "ha">{lines}]><annotation>&a{levels - 1};</annotation>'


OUTSIDE_ENTITY = (
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>'
)


def second_list_line(line):
    return lambda folder, _: (folder / "ImageSets/Main/train.txt").write_bytes(b"b\nc\n" + line)


def flip(_folder, path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# ------------------------------------------------------------------------------------ the table

COCO = [
    ("box of no width", first_box(bbox=[1, 1, 0, 5]), {"box without area": 1}, 3),
    ("box of NaN", first_box(bbox=[NAN, 1, 5, 5]), {"box not finite": 1}, 3),
    ("box with Infinity", first_box(bbox=[1, 1, float("inf"), 5]), {"box not finite": 1}, 3),
    ("number of 400 digits", first_box(bbox=[1, 1, 10**400, 5]), {"box not finite": 1}, 3),
    ("number of 5,000 digits", swap(": 900.0", ": " + "9" * 5000), {"area not sound": 1}, 4),
    ("box wholly outside", first_box(bbox=[200, 1, 5, 5]), {"box outside the picture": 1}, 3),
    ("box partly outside", first_box(bbox=[50, 1, 90, 5]), {"box partly outside": 1}, 4),
    ("negative width", first_box(bbox=[50, 9, -9, 5]), {"box with swapped corners": 1}, 4),
    ("numbers as texts", first_box(bbox=["1", "1", "5", "5"]), {"number as text": 1}, 4),
    (
        "an outline without a box",
        first_box(bbox=[], segmentation=[[1, 1, 5, 1, 5, 5]]),
        {"outline without a box": 1},
        4,
    ),
    (
        "neither outline nor box",
        first_box(bbox=[], segmentation=[[]]),
        {"malformed annotation": 1},
        3,
    ),
    ("words for numbers", first_box(bbox=["a", 1, 5, 5]), {"malformed annotation": 1}, 3),
    ("three numbers", first_box(bbox=[1, 1, 5]), {"malformed annotation": 1}, 3),
    ("five numbers", first_box(bbox=[1, 1, 5, 5, 1]), {"malformed annotation": 1}, 3),
    ("null as box", first_box(bbox=None), {"outline without a box": 1}, 4),
    ("true as a number", first_box(bbox=[True, 1, 5, 5]), {"malformed annotation": 1}, 3),
    ("null as image_id", first_box(image_id=None), {"malformed annotation": 1}, 3),
    ("image_id 0.0 for 0", first_box(image_id=0.0), {}, 4),
    ("image_id as text", first_box(image_id="0"), {"number as text": 1}, 4),
    ("iscrowd of 7", first_box(iscrowd=7), {"malformed annotation": 1}, 3),
    ("area of NaN", first_box(area=NAN), {"area not sound": 1}, 4),
    ("a word as annotation", rows(lambda c: c["annotations"].append("a")),
     {"malformed annotation": 1}, 4),
    ("class nobody declared", first_box(category_id=9), {"undeclared class": 1}, 3),
    ("annotation id twice", first_box(id=1), {"annotation id twice": 1}, 4),
    ("boxes of a picture not listed", first_box(image_id=77),
     {"annotations of an unlisted picture": 1}, 3),
    ("picture id twice", first_picture(id=1), {"picture id twice": 1,
     "annotations of an unlisted picture": 1}, 2),
    ("picture entry without id", first_picture(id=None), {"malformed picture entry": 1,
     "annotations of an unlisted picture": 1}, 2),
    ("picture entry without name", first_picture(file_name=None),
     {"malformed picture entry": 1}, 2),
    ("size as text", first_picture(width="100"), {"number as text": 1}, 4),
    ("impossible size", first_picture(width=-1), {}, 4),
    ("name with backslashes", both(first_picture(file_name="sub\\a.png"),
     lambda folder, _: [(folder / "train/sub").mkdir(), (folder / "train/a.png").rename(
         folder / "train/sub/a.png")]), {"picture name with backslashes": 1}, 4),
    ("wrong case of the suffix", rename("train/a.png", "a.PNG"),
     {"picture name in another case": 1}, 4),
    ("name with spaces and non-Latin letters", both(first_picture(file_name="\u732b \xfc.png"),
     rename("train/a.png", "\u732b \xfc.png")), {}, 4),
    ("../ in a name", both(first_picture(file_name="../../secret.png"), lambda folder, _: (
        folder.parent / "secret.png").write_bytes((folder / "train/a.png").read_bytes())),
     {"picture outside the data folder": 1}, 2),
    ("absolute name", first_picture(file_name="/etc/passwd"),
     {"picture outside the data folder": 1}, 2),
    ("half a UTF-16 pair in a name", first_picture(file_name="\ud800/x.png"),
     {"missing picture": 1}, 2),
    ("path of another machine", first_picture(file_name="C:\\me\\set\\a.png"),
     {"picture path of another place": 1}, 4),
    ("name with a tool's prefix", first_picture(file_name="a1b2c3d4-a.png"),
     {"picture name with another prefix or suffix": 1}, 4),
    ("turned box", first_box(attributes={"rotation": 90.0}), {"rotated box": 1}, 4),
    ("box of zeros beside an outline", first_box(bbox=[0, 0, 0, 0]),
     {"outline without a box": 1}, 4),
    ("picture missing", picture(lambda _: None), {"missing picture": 1}, 2),
    ("folder named like a picture", as_folder, {"missing picture": 1}, 2),
    ("empty picture", unsized(picture(lambda _: b"")), {"unreadable picture": 1}, 2),
    ("not a picture at all", unsized(picture(lambda _: b"<html>")), {"unreadable picture": 1}, 2),
    ("30,000 x 30,000 bomb", unsized(picture(lambda _: promising(30_000))),
     {"huge picture": 1}, 2),
    ("pictures without annotations", rows(lambda c: c.update(annotations=c["annotations"][:1])),
     {}, 1),
    ("negatives only", rows(lambda c: c.update(annotations=[])), {}, 0),
    ("key twice in an object", swap('"bbox"', '"bbox": 3, "bbox"'), {}, 4),
    ("byte order mark", text(lambda c: c.encode("utf-8-sig")), {}, 4),
    ("UTF-16", text(lambda c: c.encode("utf-16")), {}, 4),
    ("Latin-1", text(lambda c: c.replace("dog", "\xfc").encode("latin-1")), r"train\.json, line"),
    ("cut off", text(lambda c: c[: len(c) // 2]), r"train\.json, line \d\d"),
    ("cut off after a number of 5,000 digits", text('{"images": [\n' + "9" * 5000),
     r"train\.json, line 2"),
    ("empty file", text(""), r"train\.json, line 1"),
    ("nested 100,000 deep", text("\n\n" + "[" * 100_000), r"train\.json, line 3.*nested too deep"),
    ("objects nested 100,000 deep", text('{"a":' * 100_000), r"line 1.*nested too deep"),
    ("not COCO's form", text("[1, 2]"), r"COCO's form.*train\.json"),
    ("two names of one class id", rows(lambda c: c["categories"][0].update(id=2)),
     r"Expected categories.*train\.json"),
]  # fmt: skip
VOC = [
    ("box of no height", text(voc_text((1, 5, 5, 5))), {"box without area": 1}, 2),
    ("NaN", text(voc_text(("nan", 1, 5, 5))), {"box not finite": 1}, 2),
    ("swapped corners", text(voc_text((9, 9, 1, 1))), {"box with swapped corners": 1}, 3),
    ("box wholly outside", text(voc_text((1, 70, 5, 75))), {"box outside the picture": 1}, 2),
    ("box partly outside", text(voc_text((1, 1, 500, 5))), {"box partly outside": 1}, 3),
    ("words for numbers", text(voc_text(("one", 1, 5, 5))), {"malformed annotation": 1}, 2),
    ("object without a name", text(voc_text(name="")), {"malformed annotation": 1}, 2),
    ("object without a box", text(voc_text().replace("bndbox", "box")),
     {"malformed annotation": 1}, 2),
    ("class of non-Latin letters", text(voc_text(name="\u732b")), {}, 3),
    ("encoding declared", text(voc_text(name="\u732b").replace("utf-8", "gb2312").encode(
        "gb2312")), {}, 3),
    ("encoding wrongly declared", text(voc_text(name="\xfc").encode("latin-1")),
     {"unreadable annotation": 1}, 2),
    ("picture without objects", text("<annotation/>"), {}, 2),
    ("cut off", text(lambda c: c[: len(c) // 2]), {"unreadable annotation": 1}, 2),
    ("empty file", text(""), {"unreadable annotation": 1}, 2),
    ("entity bomb", text(bomb()), {"unreadable annotation": 1}, 2),
    ("entity of another file", text(OUTSIDE_ENTITY), {"unreadable annotation": 1}, 2),
    ("nested 100,000 deep", text("<a>" * 100_000), {"unreadable annotation": 1}, 2),
    ("picture missing", picture(lambda _: None), {"missing picture": 1}, 2),
    ("annotation missing", lambda _, path: path.unlink(), {"missing annotation": 1}, 2),
    ("folder named like a picture", as_folder, {"missing picture": 1}, 2),
    ("not a picture at all", picture(lambda _: b"words"), {"unreadable picture": 1}, 2),
    ("picture cut off in its header", picture(lambda c: c[:20]), {"unreadable picture": 1}, 2),
    ("30,000 x 30,000 bomb", picture(lambda _: promising(30_000)), {"huge picture": 1}, 2),
    ("wrong case of the suffix", rename("JPEGImages/a.png", "a.PNG"), {}, 3),
    ("id listed twice", second_list_line(b"a\na\n"), {"picture id twice": 1}, 3),
    ("../ in a list", second_list_line(b"../../x\n"), {"picture outside the data folder": 1}, 2),
    ("id in another case", second_list_line(b"A\n"), {"picture name in another case": 1}, 3),
    ("list in another encoding", second_list_line(b"\xfc\n"), r"train\.txt, line 3"),
]  # fmt: skip
OTHERS = [
    Fault("csv", "words for numbers", swap("10,", "ten,"), {"malformed annotation": 1}, 2),
    Fault("csv", "swapped corners", swap("10,20,40,50", "40,50,10,20"),
          {"box with swapped corners": 1}, 3),
    Fault("csv", "picture missing", picture(lambda _: None, "a.png"), {"missing picture": 1}, 1),
    Fault("csv", "../ in a name", swap("b.png", "../x.png"),
          {"picture outside the data folder": 1}, 2),
    Fault("csv", "Latin-1", text(lambda c: c.replace("dog", "\xfc").encode("latin-1")),
          r"annotations\.csv, line 2"),
    Fault("yolo", "class nobody declared", swap("1 0.25", "7 0.25"), {"undeclared class": 1}, 2),
    Fault("yolo", "words for numbers", swap("0.25", "half"), {"malformed annotation": 1}, 2),
    Fault("yolo", "NaN", swap("0.25", "nan"), {"box not finite": 1}, 2),
    Fault("yolo", "label with a tool's prefix", rename("labels/train/a.txt", "a1b2c3d4-a.txt"),
          {"label file of another name": 1}, 3),
    Fault("kitti", "row cut off", swap(" 58.5 -1.57", ""), {"malformed annotation": 1}, 3),
    Fault("kitti", "swapped corners", swap("10.0 20.0 40.0 50.0", "40.0 50.0 10.0 20.0"),
          {"box with swapped corners": 1}, 5),
    Fault("openimages", "class nobody declared", swap("/m/2", "/m/7"), {"undeclared class": 1}, 5),
    Fault("openimages", "words for numbers", swap("0.1", "left"), {"malformed annotation": 1}, 5),
    Fault("tfrecord", "record that is no Example",
          lambda _, path: write_shard(path, [b"\xff" * 9, example("a.png"), example("b.png")]),
          {"unreadable annotation": 1}, 4),
    Fault("tfrecord", "shard cut off", lambda _, path: path.write_bytes(path.read_bytes()[:-9]),
          r"train\.tfrecord, cut off at byte \d+"),
    Fault("tfrecord", "a byte of a record changed", flip, {"damaged record": 1}, 4),
]  # fmt: skip


FAULTS = [
    *(Fault("coco", *row) for row in COCO),
    *(Fault("voc", *row) for row in VOC),
    *OTHERS,
]
