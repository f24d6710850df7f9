"""The page of export/web in a headless browser: it finds what `predict` finds."""

import contextlib
import functools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from exported_models import clear_threshold, spread_model, with_facts, write_pictures

from keras_retinanet import cli
from keras_retinanet.exporting.exported import load_exported
from keras_retinanet.exporting.tflite.conversion import export_tflite
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.modeling.preprocessing import Preprocessing

WEB = Path(__file__).parents[2] / "export" / "web"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# What npm says where no registry can be reached.
NO_NETWORK = r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED"
DESKTOP, PHONE = [1280, 860], [390, 844]


class QuietHandler(SimpleHTTPRequestHandler):
    """A plain file server: the page must need no headers of it."""

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A built copy of export/web; nothing is written into the repository."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, with which the page is built")
    copy = tmp_path_factory.mktemp("site") / "web"
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
    for words in (["ci", "--prefer-offline", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run(
            ["npm", *words], cwd=copy, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode and re.search(NO_NETWORK, done.stderr):
            pytest.skip("needs npm's registry, or its packages in npm's cache")
        assert done.returncode == 0, done.stderr
    return copy


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs one of {', '.join(BROWSERS)}")
    return found


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.tflite"
    export_tflite(spread_model(), path, say=lambda step: None)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    return write_pictures(tmp_path_factory.mktemp("web") / "pictures")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


def opened(site: Path, browser: str, steps: list[list]) -> list[dict]:
    """Returns what the page showed at each "read" among the steps of web_page.mjs."""
    with served(site / "dist") as url:
        plan = {"modules": f"{site}/package.json", "browser": browser, "url": url, "steps": steps}
        done = subprocess.run(
            ["node", Path(__file__).parents[1] / "support" / "web_page.mjs", json.dumps(plan)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert told["foreign"] == []  # nothing from a CDN or any other place
    return told["readings"]


def predicted(model_file: Path, picture: Path, threshold: float, out: Path) -> list[dict]:
    """Returns what `predict --model x.tflite` draws in a picture."""
    words = ["predict", picture, "--model", model_file, "--out", out, "--threshold", threshold]
    assert cli.run(cli.build_parser().parse_args([str(word) for word in words])) == 0
    rows = json.loads((out / "detections.json").read_text())
    return [row for row in rows if row["score"] >= threshold]


def threshold_for(model_file: Path, picture: Path) -> float:
    """Returns a threshold, of the slider's steps, that no score is close to."""
    found = load_exported(model_file).detect(decode_image(picture.read_bytes()))[0]
    threshold = clear_threshold(found.scores)
    assert np.abs(found.scores - threshold).min() > 1e-3
    return threshold


def assert_same_boxes(shown: dict, rows: list[dict], size: tuple[int, int]) -> None:
    """Checks the page's boxes, in percent of the picture, against `predict`'s in pixels."""
    height, width = size
    ours = np.array([row["bbox"] for row in rows]) * 100 / [width, height, width, height]
    theirs = np.array(shown["boxes"])
    assert len(theirs) == len(ours) == shown["rows"]
    distances = np.abs(ours[:, None] - theirs[None]).max(axis=2)
    assert distances.min(axis=1).max() < 0.5 and distances.min(axis=0).max() < 0.5


@pytest.mark.browser
def test_page_shows_what_predict_finds(site, browser, model_file, pictures, tmp_path):
    shutil.copy(model_file, site / "dist" / "model.tflite")
    thresholds = [threshold_for(model_file, picture) for picture in pictures]
    steps = [["open"], ["drop", [str(pictures[0].parent)]], ["done", len(pictures)]]
    for index, threshold in enumerate(thresholds):
        steps += [["select", index], ["threshold", threshold], ["read"]]
    screenshots = [tmp_path / "desktop.png", tmp_path / "phone.png"]
    steps += [["size", DESKTOP], ["screenshot", str(screenshots[0])]]
    steps += [["size", PHONE], ["read"], ["screenshot", str(screenshots[1])]]
    *readings, phone = opened(site, browser, steps)
    for picture, threshold, shown in zip(pictures, thresholds, readings, strict=True):
        rows = predicted(model_file, picture, threshold, tmp_path / picture.stem)
        image = decode_image(picture.read_bytes())
        assert_same_boxes(shown, rows, image.shape[:2])
        size = f"{image.shape[1]} \u00d7 {image.shape[0]}"
        assert re.fullmatch(size + r" · model \d+ ms · preparing \d+ ms", shown["times"])
    assert readings[0]["isolated"]  # threads, from a plain file server
    assert "3 classes · 160 \u00d7 160 · float32" in readings[0]["facts"]
    assert not phone["wide"]  # no scrolling sideways on a phone
    for path in screenshots:  # kept below pytest's --basetemp
        assert path.stat().st_size > 10_000


@pytest.mark.browser
def test_bccd_picture_dropped_on_the_page(site, browser, model_file, bccd, tmp_path):
    picture = bccd / "JPEGImages/BloodImage_00007.jpg"
    shutil.copy(model_file, site / "dist" / "model.tflite")
    threshold = threshold_for(model_file, picture)
    screenshot = tmp_path / "bccd.png"
    steps = [["open"], ["drop", [str(picture)]], ["done", 1], ["threshold", threshold], ["read"]]
    shown = opened(site, browser, [*steps, ["screenshot", str(screenshot)]])[0]
    rows = predicted(model_file, picture, threshold, tmp_path / "predicted")
    assert_same_boxes(shown, rows, (480, 640))
    assert f"{len(rows)} boxes" in shown["summary"]
    assert screenshot.stat().st_size > 10_000


@pytest.mark.browser
def test_files_that_do_not_fit_and_use_without_a_network(
    site, browser, model_file, pictures, tmp_path
):
    (site / "dist" / "model.tflite").unlink(missing_ok=True)
    text, broken = tmp_path / "no_model.tflite", tmp_path / "broken.png"
    text.write_text("no model at all")
    broken.write_text("no picture at all")
    raw, damaged = tmp_path / "raw.tflite", tmp_path / "damaged.tflite"
    with_facts(model_file, raw, form="raw")
    with_facts(model_file, damaged, flatbuffer_sha256="0" * 64)
    steps = [
        ["open"], ["read"],
        ["drop", [str(text)]], ["message", "no TFLite file"], ["read"],
        ["drop", [str(raw)]], ["message", "form"], ["read"],
        ["drop", [str(damaged)]], ["message", "damaged"], ["read"],
        ["drop", [str(model_file)]], ["state", "ready"], ["read"],
        ["drop", [str(broken), str(pictures[0])]], ["done", 2], ["threshold", 0.31], ["read"],
        ["offline"], ["open"], ["drop", [str(model_file)]], ["state", "ready"],
        ["drop", [str(pictures[0])]], ["done", 1], ["threshold", 0.31], ["read"],
    ]  # fmt: skip
    empty, no_model, wrong_form, broken_file, ready, two, offline = opened(site, browser, steps)
    assert (empty["state"], empty["model"]) == ("no-model", "Choose a model")
    assert no_model["message"] == "no_model.tflite cannot be used. It is no TFLite file."
    assert 'Its form is "raw"' in wrong_form["message"]
    assert broken_file["message"] == "damaged.tflite cannot be used. It is damaged."
    assert (ready["state"], ready["message"]) == ("ready", "")
    assert two["times"] == "It cannot be read as a picture."
    assert two["counts"][0] == "!" and int(two["counts"][1]) > 0
    assert offline["rows"] == int(two["counts"][1])


# ------------------------------------------------- the page's arithmetic, by Node.js alone

SCRIPT = """
import {readFileSync} from 'node:fs';
const {placement, letterbox, detections} = await import(process.argv[1]);
const cases = JSON.parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify(cases.map(({width, height, rgb, facts}) => {
  const placed = placement({width, height}, facts);
  const data = new Uint8ClampedArray(placed.width * placed.height * 4);
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) {
    const at = ((y + placed.top) * placed.width + x + placed.left) * 4;
    data.set(rgb.slice(3 * (y * width + x), 3 * (y * width + x) + 3), at);
  }
  const pixels = {data, width: placed.width, height: placed.height};
  const outputs = {num: [1], scores: [0.5], classes: [2],
    boxes: new Float32Array([0.1, 0.2, 0.3, 0.6])};
  return {placed, input: [...letterbox(pixels, placed, facts)],
    box: detections(outputs, placed, {width, height}, facts)[0].box};
})));
"""
OPTIONS = (
    {},
    {"rounding": "floor"},
    {"rounding": "half_up", "resize_method": "rounded"},
    {"resize_method": "pillow"},
    {"antialias": True},
    {"pad_first": True, "short_side": 100, "long_side": 100},
)


def test_letterbox_of_the_page_is_the_package_s(rng):
    if shutil.which("node") is None:
        pytest.skip("needs node")
    cases, expected = [], []
    for options in OPTIONS:
        preprocessing = Preprocessing(**{"short_side": 96, "long_side": 128, **options})
        for height, width in ((48, 48), (37, 120), (101, 60), (1, 1)):
            image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
            facts = {
                "config": {"preprocessing": vars(preprocessing)},
                "input": {
                    "image_size": [40, 56],
                    "dtype": "float32",
                    "letterbox": "top_left",
                    "pad_value": preprocessing.mean_rgb,
                },
            }
            cases.append({"height": height, "width": width, "rgb": image.ravel().tolist()})
            cases[-1]["facts"] = facts
            canvas, size = preprocessing.letterbox_into(image, (40, 56))
            box = np.array([0.2, 0.1, 0.6, 0.3], np.float32) * [56, 40, 56, 40]
            moved = preprocessing.boxes_to_picture(box, size, (height, width))
            moved = np.clip(moved, 0, [width, height, width, height])
            is_whole = "resize_method" in options or "antialias" in options
            expected.append((canvas.numpy(), size, moved, 1.01 if is_whole else 0.02))
    done = subprocess.run(
        ["node", "--input-type=module", "-e", SCRIPT, (WEB / "src" / "letterbox.js").as_uri()],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for told, (canvas, size, box, tolerance) in zip(json.loads(done.stdout), expected, strict=True):
        assert (told["placed"]["rows"], told["placed"]["columns"]) == size
        away = np.abs(np.array(told["input"]).reshape(canvas.shape) - canvas)
        assert away.max() <= tolerance and away.mean() <= 0.3
        np.testing.assert_allclose(told["box"], box, atol=1e-3)
