"""The doctor's page, opened in a browser, and the command that writes it."""

import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from keras_retinanet import cli

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Page(html.parser.HTMLParser):
    """Collects the attributes of every element: `elements("data-split")` has those that bear it."""

    def __init__(self, text: str):
        super().__init__()
        self.all: list[dict] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.all.append({"tag": tag, **dict(attrs)})

    def elements(self, name):
        return [element for element in self.all if name in element]


def run(*words) -> int:
    return cli.run(cli.build_parser().parse_args(["dataset", "doctor", *map(str, words)]))


def opened(path, profile) -> Page:
    """Returns the page as a headless browser has it after loading."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"needs one of {', '.join(BROWSERS)}")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    done = subprocess.run(
        [browser, *flags, "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return Page(done.stdout)


def totals(page) -> dict[str, int]:
    return {e["data-total"]: int(e["data-value"]) for e in page.elements("data-total")}


@pytest.mark.browser
def test_figures_of_bccd_read_from_a_browser(bccd, tmp_path, capsys):
    path = tmp_path / "report.html"
    assert run("--data_dir", bccd, "--out", path) == 0
    printed = capsys.readouterr().out
    assert "BloodImage_00338.jpg" in printed and "BloodImage_00343.jpg" in printed
    page = opened(path, tmp_path / "profile")
    assert totals(page) == {
        "pictures": 96, "boxes": 1384, "classes": 3, "errors": 0, "warnings": 1, "notes": 2,
    }  # fmt: skip
    rows = {
        e["data-split"]: (e["data-pictures"], e["data-boxes"]) for e in page.elements("data-split")
    }
    assert rows == {
        "test": ("72", "945"), "train": ("16", "282"), "trainval": ("24", "439"),
        "val": ("8", "157"),
    }  # fmt: skip
    boxes = {e["data-class"]: int(e["data-total-boxes"]) for e in page.elements("data-class")}
    assert boxes == {"RBC": 1190, "WBC": 96, "Platelets": 98}
    assert sum(int(e["data-count"]) for e in page.elements("data-bin")) == 1384
    (degenerate,) = [e for e in page.elements("data-finding") if e["data-severity"] == "warning"]
    assert (degenerate["data-finding"], degenerate["data-items"]) == ("box without area", "2")
    assert len([e for e in page.all if e["tag"] == "svg"]) == 5
    assert len([e for e in page.all if e["tag"] == "img"]) == 2 + 8


@pytest.fixture
def faulty(tmp_path, rng):
    """A COCO set with a leak, a degenerate box and names that are markup."""
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        images, boxes = [], []
        for index in range(3):
            name = "<script>alert(1)<!--.png" if index == 2 else f"{index}.png"
            images.append({"id": index, "file_name": name, "height": 48, "width": 64})
            boxes.append({"id": index, "image_id": index, "category_id": 1, "bbox": [4, 4, 20, 20]})
            pixels = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / name)
        boxes.append({"id": 9, "image_id": 2, "category_id": 1, "bbox": [4, 4, 0, 20]})
        content = {"images": images, "annotations": boxes,
                   "categories": [{"id": 1, "name": "<b>bold & `ticks`"}]}  # fmt: skip
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    shutil.copy(tmp_path / "train/0.png", tmp_path / "val/1.png")
    return tmp_path


def test_names_from_files_are_text_and_the_page_needs_nothing_beside_it(faulty, capsys):
    path = faulty / "page" / "doctor.html"
    assert run("coco", "--data_dir", faulty, "--image_size", "64", "--out", path) == 0
    written = path.read_text(encoding="utf-8")
    assert "<script" not in written and "&lt;b&gt;bold &amp; " in written
    links = re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']*)""", written)
    assert links == [] and "@import" not in written
    page = Page(written)
    findings = {e["data-finding"]: e["data-items"] for e in page.elements("data-finding")}
    assert findings["leak"] == "1" and findings["box without area"] == "2"
    printed = capsys.readouterr().out
    assert "train: 0.png = val: 1.png" in printed and "input 64,107" in printed


def test_the_same_data_gives_the_same_page(faulty):
    for name in ("a.html", "b.html"):
        run("coco", "--data_dir", faulty, "--quick", "--out", faulty / name)
    assert (faulty / "a.html").read_bytes() == (faulty / "b.html").read_bytes()


def test_strict_stops_at_the_first_problem(faulty, capsys):
    arguments = ("coco", "--data_dir", faulty, "--out", faulty / "x.html", "--strict")
    assert run(*arguments) == 2
    assert "box without area" in capsys.readouterr().err
    assert not (faulty / "x.html").exists()


def test_a_split_that_cannot_be_read_is_a_finding(faulty):
    (faulty / "annotations/instances_val.json").write_text("{")
    assert run("coco", "--data_dir", faulty, "--out", faulty / "x.html") == 0
    found = {
        e["data-finding"] for e in Page((faulty / "x.html").read_text()).elements("data-finding")
    }
    assert "unreadable split" in found
    (faulty / "annotations/instances_train.json").write_text("{")
    assert run("coco", "--data_dir", faulty, "--out", faulty / "y.html") == 2
