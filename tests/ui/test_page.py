"""The page of `ui`, served by the command and used in a headless browser."""

import json
import signal
from pathlib import Path

import pytest
from browser import Browser
from exported_models import clear_threshold, spread_model, write_pictures
from ui_server import served, upload_folders

from keras_retinanet.modeling.saving import load, save_model
from keras_retinanet.ui.shown_pictures import Side, add_pictures, detections_json
from keras_retinanet.ui.views import view_picture

pytestmark = pytest.mark.browser

TITLES = ["left.keras", "right.keras"]
COUNTS = "[...document.querySelectorAll('.counts')].map(e => e.textContent).join('|')"
# The page hands a file to the browser as a blob: the test reads it instead.
CATCH_FILES = "URL.createObjectURL = blob => { window.file = blob.text(); return '#'; }; 1"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    for name, changes in zip(TITLES, ({}, {"detections.max_detections": 5}), strict=True):
        save_model(spread_model(**changes), folder / name)
    return [folder / name for name in TITLES]


def choose(browser: Browser, files: list[Path]) -> None:
    """Gives files to the page as its dialog does."""
    root = browser._send("DOM.getDocument")["root"]["nodeId"]
    found = browser._send("DOM.querySelector", nodeId=root, selector="#files input[type=file]")
    browser._send("DOM.setFileInputFiles", files=list(map(str, files)), nodeId=found["nodeId"])


def set_threshold(browser: Browser, value: float) -> None:
    browser.read(
        "(e => { Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')"
        f".set.call(e, {value}); e.dispatchEvent(new Event('input', {{bubbles: true}})); "
        "e.dispatchEvent(new Event('change', {bubbles: true})); })"
        "(document.querySelector('#threshold input[type=range]'))"
    )


def wait_for_counts(browser: Browser, views) -> None:
    texts = "|".join(view.counts.striptags() for view in views)
    browser.wait_for(f"{COUNTS} === {json.dumps(texts)}")


def test_pictures_dropped_on_the_page(models, tmp_path):
    files = write_pictures(tmp_path / "pictures")[1:3]
    sides = [Side(path.name, load(path)) for path in models]
    kept, _ = add_pictures([], files, sides=sides)
    threshold = clear_threshold(kept[1].found[0].scores)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "large.jpg").write_bytes(b"\xff\xd8\xff" + bytes(1 << 20))
    words = ["--model", models[0], "--compare", models[1], "--max_upload_mb", "1"]
    with (
        Browser(tmp_path) as browser,
        served(words, tmp_path / "temporary") as (server, address),
    ):
        browser.size(1280, 860)
        browser.open(address)
        browser.wait_for("!!document.querySelector('#files input[type=file]')")
        choose(browser, [*files, tmp_path / "notes.txt"])
        wait_for_counts(browser, view_picture(kept[0], 0.5)[0])
        assert "notes.txt: Expected a complete image" in browser.read("document.body.innerText")

        browser.click("#strip .gallery-item:nth-child(2) button")
        wait_for_counts(browser, view_picture(kept[1], 0.5)[0])
        set_threshold(browser, threshold)
        views, agreement = view_picture(kept[1], threshold)
        wait_for_counts(browser, views)
        shown = browser.read("document.querySelector('.agreement').textContent")
        assert shown == agreement.striptags()
        browser.screenshot(tmp_path / "desktop.png", whole=True)  # kept below pytest's --basetemp

        browser.read(CATCH_FILES)
        for index in range(2):
            browser.read("window.file = null")
            browser.click(f"#side-{index} > button")
            browser.wait_for("!!window.file")
            expected = detections_json(kept, threshold, sides=sides, index=index)
            assert json.loads(browser.read("window.file")) == json.loads(expected)

        browser.click("#differences input")
        wait_for_counts(browser, view_picture(kept[1], threshold, only_differences=True)[0])
        browser.size(390, 844)
        browser.settle()
        browser.screenshot(tmp_path / "phone.png", whole=True)
        assert browser.read("document.documentElement.scrollWidth <= innerWidth")

        choose(browser, [tmp_path / "large.jpg"])
        browser.wait_for("document.body.innerText.includes('maximum allowed size of 1.0 Mb')")
        browser.click("#clear")
        browser.wait_for("!document.querySelector('.counts')")

        own = (address.partition("?")[0], "data:", "blob:")
        assert [url for url in browser.requests if not url.startswith(own)] == []
        # gradio asks how an upload goes on, which may be done by then.
        assert [text for text in browser.problems if "404" not in text] == []

        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0
    assert upload_folders(tmp_path / "temporary") == []
