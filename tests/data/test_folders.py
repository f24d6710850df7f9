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
    ["../secret.jpg", "/etc/passwd", "sub/../../secret.jpg", "C:\\a.jpg", "C:a.jpg",
     "..\\secret.jpg", "\\\\host\\share\\a.jpg", "..", "", "a\0.jpg"],
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
        ("gone/a.jpg", None, "missing picture"),
        ("folder.jpg", None, "missing picture"),
        ("a.jpg/b.jpg", None, "missing picture"),
        # Half a pair of UTF-16, which JSON can hold and no file system has.
        ("\ud800/a.jpg", None, "missing picture"),
    ],
)
def test_names_that_differ_are_counted(root, name, found, kind):
    path, problems = find(root, name)
    assert path == (None if found is None else str(root / found))
    assert [*problems] == [kind]
