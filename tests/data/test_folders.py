"""Pictures by the names that annotations give them: inside the folder, differences counted."""

import os

import pytest

from keras_retinanet.data.problems import Problems
from keras_retinanet.data.sources.folders import PictureFolder


@pytest.fixture
def root(tmp_path):
    for name in ("a.jpg", "B.JPG", "sub/a b.jpg", "\xfcn\xef/\u732b.png", "a..b.jpg", "..c.jpg"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "data/folder.jpg").mkdir()
    (tmp_path / "secret.jpg").touch()
    return tmp_path / "data"


def find(root, name, **options):
    problems = Problems()
    return PictureFolder(root, problems, **options).find(name, where="x.csv, line 3"), problems


@pytest.mark.parametrize("name", ["a.jpg", "sub/a b.jpg", "\xfcn\xef/\u732b.png", "a..b.jpg"])
def test_pictures_inside_the_folder(root, name):
    assert find(root, name) == (str(root / name), {})


@pytest.mark.parametrize(
    "name",
    ["../secret.jpg", "/etc/passwd", "sub/../../secret.jpg", "C:\\secret.jpg", "C:secret.jpg",
     "..\\secret.jpg", "\\\\host\\share\\secret.jpg", "..", "", "a\0.jpg"],
)  # fmt: skip
def test_pictures_outside_the_folder_are_refused(root, name):
    found, problems = find(root, name)
    assert found is None
    assert [*problems] == ["picture outside the data folder"]
    shown = name.replace("\0", r"\x00")
    assert [*problems.values()] == [[f"{shown} (x.csv, line 3)"]]


def test_outside_is_read_when_asked_for(root):
    outside = root.parent / "secret.jpg"
    for name in ("../secret.jpg", str(outside)):
        found, problems = find(root, name, allow_outside=True)
        assert os.path.samefile(found, outside) and not problems
    assert find(root, "a\0.jpg", allow_outside=True)[0] is None


@pytest.mark.parametrize(
    ("name", "found", "kind"),
    [
        ("sub\\a b.jpg", "sub/a b.jpg", "picture name with backslashes"),
        ("b.jpg", "B.JPG", "picture name in another case"),
        ("a.JPG", "a.jpg", "picture name in another case"),
        ("sub\\A B.JPG", "sub/a b.jpg", "picture name in another case"),
        ("gone.jpg", None, "missing picture"),
        ("gone/x.jpg", None, "missing picture"),
        ("folder.jpg", None, "missing picture"),
        ("a.jpg/x.jpg", None, "missing picture"),
        # Half a pair of UTF-16, which JSON can hold and no file system has.
        ("\ud800/x.jpg", None, "missing picture"),
    ],
)
def test_names_that_differ_are_counted(root, name, found, kind):
    path, problems = find(root, name)
    assert path == (None if found is None else str(root / found))
    assert [*problems] == [kind]


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


OTHER_PLACE = "picture path of another place"
OTHER_NAME = "picture name with another prefix or suffix"


@pytest.mark.parametrize(
    ("name", "found", "kind"),
    [
        ("/home/someone/set/a/1.jpg", "a/1.jpg", OTHER_PLACE),
        ("C:\\Users\\me\\set\\b\\1.jpg", "b/1.jpg", OTHER_PLACE),
        ("../../upload/only.jpg", "b/only.jpg", OTHER_PLACE),
        ("/data/local-files/?d=upload/with%20space.jpg", "b/with space.jpg", OTHER_PLACE),
        ("s3://bucket/only.jpg?version=2", "b/only.jpg", OTHER_PLACE),
        ("\\\\host\\share\\ONLY.JPG", "b/only.jpg", OTHER_PLACE),
        # Two images end so: neither is meant for sure.
        ("/home/someone/c/1.jpg", None, "picture outside the data folder"),
        ("../upload/a1b2c3d4-only.jpg", "b/only.jpg", OTHER_NAME),
        ("hashed.jpg", "b/0badcafe-hashed.jpg", OTHER_NAME),
        ("only", "b/only.jpg", OTHER_NAME),
        ("only.png", "b/only.jpg", OTHER_NAME),
        # A date is no prefix of a tool, and the rest of two names with a prefix is no name.
        ("20240131-only.jpg", None, "missing picture"),
        ("ffffffff-hashed.jpg", None, "missing picture"),
        # An image of another split is another image.
        ("train/t.jpg", None, "missing picture"),
        ("valid/t.jpg", "val2017/t.jpg", OTHER_PLACE),
    ],
)
def test_paths_and_names_of_other_places(tmp_path, name, found, kind):
    names = ["a/1.jpg", "b/1.jpg", "b/only.jpg", "b/with space.jpg", "b/0badcafe-hashed.jpg"]
    touch(tmp_path, *names, "val2017/t.jpg", ".cache/only.jpg", "__MACOSX/b/._only.jpg")
    path, problems = find(tmp_path, name)
    assert path == (None if found is None else str(tmp_path / found))
    assert [*problems] == [kind]


def test_two_names_are_never_one_image(tmp_path):
    touch(tmp_path, "1.jpg")
    problems = Problems()
    folder = PictureFolder(tmp_path, problems)
    names = ["a/1.jpg", "b/1.jpg", "a\\1.jpg"]
    found = str(tmp_path / "1.jpg")
    assert [folder.find(name) for name in names] == [found, None, found]
    assert problems["missing picture"] == ["b/1.jpg"]


def test_further_folders_and_the_split(tmp_path):
    touch(tmp_path, "images/a.jpg", "x/val/b.jpg")
    folder = PictureFolder(tmp_path / "images", Problems(), also=[tmp_path], split="train")
    assert folder.find("images/a.jpg") == str(tmp_path / "images/a.jpg")
    assert folder.find(str(tmp_path / "images/a.jpg")) == str(tmp_path / "images/a.jpg")
    assert folder.find("b.jpg") is None
    assert str(tmp_path) in folder.tried("b.jpg") and "b.jpg" in folder.tried("b.jpg")
