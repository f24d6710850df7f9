"""The report opened in a browser: filtered, moved, sorted, and its figures read back."""

import json

import numpy as np
import pytest
from browser import Browser
from error_cases import as_tables, columns, wrong_detections
from PIL import Image
from test_report import hostile_analysis, write

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.evaluation.errors.kinds import CLS, DETECTION_KINDS, ERROR_KINDS, LOC
from keras_retinanet.evaluation.report.comparison import write_comparison
from keras_retinanet.evaluation.report.gallery import dataset_pictures
from keras_retinanet.evaluation.report.report_page import analyse, write_report
from keras_retinanet.evaluation.report.saved import read_runs
from keras_retinanet.evaluation.tables import evaluation_set

pytestmark = pytest.mark.browser

# What the page tells a person.
SHOWN = "[...document.querySelectorAll('.shot:not([hidden]) figcaption b')].map(b => b.textContent)"
CHIPS = """Object.fromEntries([...document.querySelectorAll('#kinds button')].map(
    b => [b.dataset.kind, Number(b.querySelector('span').textContent.replaceAll(',', ''))]))"""
COUNT = "Number(document.querySelector('#count b').textContent)"
PRESSED = "document.querySelector('#kinds [aria-pressed=true]').dataset.kind"
CLASSES = "[...document.querySelectorAll('#class-table tbody tr')].map(row => row.dataset.class)"
FIGURES = """Object.fromEntries([...document.querySelectorAll('[data-figure]')].map(
    e => [e.dataset.figure, [Number(e.dataset.value), e.querySelector('b').textContent]]))"""
COSTS = """Object.fromEntries([...document.querySelectorAll('#costs tr[data-kind]')].map(
    row => [row.dataset.kind, row.innerText.trim().split(/\\s+/).slice(-2)]))"""
THRESHOLD = "Number(document.querySelector('#threshold').value)"
WIDER = "document.documentElement.scrollWidth > innerWidth"
DRAWN = (
    "[...document.querySelectorAll('.shot:not([hidden]) rect')].filter(r => r.dataset.kind === {})"
)


@pytest.fixture(scope="module", params=["shapes", "bccd"])
def evaluated(request):
    """Real pictures, their true boxes spoilt as detections (seeded), and the analysis."""
    if request.param == "bccd":
        folder = request.getfixturevalue("bccd")
        dataset = load_dataset(DataConfig(source="voc", data_dir=str(folder)), "test", seed=0)
    else:
        config = DataConfig(source="shapes", shapes_val=30, shapes_size=160)
        dataset = load_dataset(config, "val", seed=0)
    pictures = evaluation_set(dataset)
    truths = pictures.truths
    rows = list(zip(truths.image, truths.classes, truths.xywh.tolist(), truths.ignore, strict=True))
    sizes = {"pictures": len(pictures.image_ids), "classes": len(pictures.class_names)}
    side = float(pictures.sizes.min())
    wrong = wrong_detections(np.random.default_rng(8), rows, side=side, **sizes)
    _, found = as_tables(columns([], wrong, **sizes))
    return dataset, analyse(pictures, found)


@pytest.fixture(scope="module")
def page(evaluated, tmp_path_factory):
    """The folder of the page, and the browser that has it open."""
    dataset, analysis = evaluated
    folder = tmp_path_factory.mktemp("report")
    write_report(
        folder / "report.html",
        analysis,
        pictures=dataset_pictures(dataset),
        title=f"Spoilt boxes of {dataset.name}",
        facts={"data": f"{dataset.name}, {dataset.split}"},
    )
    with Browser(folder) as browser:
        browser.size(1280, 900)
        browser.open((folder / "report.html").as_uri())
        yield folder, browser
        assert browser.problems == []
        outside = [url for url in browser.requests if not url.startswith(("data:", "file:"))]
        assert outside == [] and sum(url.startswith("file:") for url in browser.requests) == 1


def set_threshold(browser, value):
    """Moves the slider to a value as the keyboard would."""
    browser.read(
        f"(e => {{ e.value = {value}; e.dispatchEvent(new Event('input')); }})"
        "(document.querySelector('#threshold'))"
    )
    browser.settle()


def expected_marks(analysis, threshold):
    """Returns rows (picture, kind, class, score, cost) of what the page should show, by TIDE."""
    judged, found, truths = analysis.errors.judgement, analysis.found, analysis.pictures.truths
    kept = (judged.kinds >= 0) & (found.scores >= threshold)
    marks = [
        (int(found.image[row]), DETECTION_KINDS[judged.kinds[row]], int(found.classes[row]),
         float(found.scores[row]))
        for row in np.flatnonzero(kept & ~judged.ignored)
    ]  # fmt: skip
    is_about = kept & (judged.ignored <= np.isin(judged.kinds, (CLS, LOC)))
    is_about &= np.isin(judged.kinds, (0, CLS, LOC))
    not_missed = set(judged.truths[is_about].tolist())
    missed = [row for row in np.flatnonzero(~truths.ignore) if row not in not_missed]
    marks += [(int(truths.image[row]), "Miss", int(truths.classes[row]), 0.0) for row in missed]
    return marks


def counts_of(marks, name=None):
    kinds = ["correct", *ERROR_KINDS]
    chosen = [kind for _, kind, index, _ in marks if name is None or index == name]
    return {kind: chosen.count(kind) for kind in kinds}


def test_figures_read_back(evaluated, page):
    (_, analysis), (_, browser) = evaluated, page
    figures = browser.read(FIGURES)
    assert {"AP", "AP50", "AR_large", "VOC_AP", "VOC07_AP"} <= figures.keys()
    for name, value in (analysis.summary["coco"] | analysis.summary["voc"]).items():
        shown = f"{value:.3f}" if value >= 0 else "\N{EN DASH}"
        assert figures[name] == [value, shown]
    assert figures["F1"][0] == analysis.summary["best_threshold"]["F1"]
    costs = browser.read(COSTS)
    errors = analysis.errors
    assert costs == {
        kind: [f"{errors.counts[kind]:,}", f"{errors.costs[kind]:.4f}"] for kind in errors.costs
    }
    cells = browser.read(
        "[...document.querySelectorAll('#matrix td[data-count]')].map(e => +e.dataset.count)"
    )
    assert cells == analysis.confusion.counts.ravel().tolist()
    assert browser.read("document.querySelectorAll('.chart svg').length") == 8


def test_gallery_filters_by_kind_class_and_threshold(evaluated, page):
    (_, analysis), (_, browser) = evaluated, page
    names = analysis.pictures.file_names
    set_threshold(browser, 0)
    counts = browser.read(CHIPS)
    assert {kind: counts[kind] for kind in ERROR_KINDS} == analysis.errors.counts
    assert min(counts[kind] for kind in ERROR_KINDS) > 0  # every kind is there to be seen

    for kind in ("Cls", "Miss"):
        browser.click(f"#kinds [data-kind={kind}]")
        assert browser.read(PRESSED) == kind
        marks = expected_marks(analysis, 0)
        wanted = {names[image] for image, own, _, _ in marks if own == kind}
        assert browser.read(COUNT) == len(wanted)
        assert set(browser.read(SHOWN)) <= wanted
        assert len(browser.read(SHOWN)) == min(len(wanted), 24)

    browser.drag("#threshold", 0.7)
    threshold = browser.read(THRESHOLD)
    assert 0.65 < threshold < 0.75
    assert (
        browser.read("document.querySelector('#threshold-text').textContent") == f"{threshold:.2f}"
    )
    marks = expected_marks(analysis, threshold)
    shown = browser.read(CHIPS)
    assert {kind: shown[kind] for kind in counts_of(marks)} == counts_of(marks)
    assert shown["correct"] < counts["correct"] and shown["Miss"] > counts["Miss"]

    chosen = int(np.argmax(analysis.coco.boxes))
    browser.choose("#class", str(chosen))
    browser.click("#kinds [data-kind=Loc]")
    shown = browser.read(CHIPS)
    assert {kind: shown[kind] for kind in counts_of(marks)} == counts_of(marks, chosen)
    wanted = {names[image] for image, kind, name, _ in marks if (kind, name) == ("Loc", chosen)}
    assert browser.read(COUNT) == len(wanted) > 0
    assert set(browser.read(SHOWN)) <= wanted
    strong = f"{DRAWN.format(json.dumps('Loc'))}.filter(r => r.style.opacity === '1').length"
    assert browser.read(strong) == shown["Loc"] or len(wanted) > 24
    points, step = analysis.points, round(threshold * 100)
    right, wrong = points.right[chosen, step], points.wrong[chosen, step]
    text = browser.read("document.querySelector('#operating').textContent")
    assert f"precision {right / (right + wrong):.3f}" in text
    assert f"recall {right / points.boxes[chosen]:.3f}" in text

    set_threshold(browser, 1)
    assert browser.read("document.querySelector('#nothing').hidden") is False
    browser.choose("#class", "-1")
    set_threshold(browser, 0.3)


def test_gallery_sorts(evaluated, page):
    (_, analysis), (_, browser) = evaluated, page
    names = analysis.pictures.file_names
    set_threshold(browser, 0.3)
    browser.choose("#class", "-1")
    browser.click("#kinds [data-kind=Bkg]")
    marks = [mark for mark in expected_marks(analysis, 0.3) if mark[1] == "Bkg"]
    browser.choose("#sort", "count")
    counts = {name: sum(names[mark[0]] == name for mark in marks) for name in names}
    shown = [counts[name] for name in browser.read(SHOWN)]
    assert shown == sorted(shown, reverse=True) and shown[0] == max(counts.values()) > 1
    browser.choose("#sort", "score")
    tops = {name: max([m[3] for m in marks if names[m[0]] == name], default=0) for name in names}
    shown = [tops[name] for name in browser.read(SHOWN)]
    assert shown == sorted(shown, reverse=True) and shown[0] == max(tops.values())
    browser.choose("#sort", "name")
    shown = browser.read(SHOWN)
    assert shown == browser.read(
        f"{SHOWN}.sort((a, b) => a.localeCompare(b, 'en', {{numeric: true}}))"
    )
    if len(tops) > 24 and browser.read(COUNT) > 24:
        browser.click("#more")
        assert len(browser.read(SHOWN)) == min(browser.read(COUNT), 48)
    browser.choose("#sort", "cost")
    browser.click("#kinds [data-kind=all]")
    assert browser.read(COUNT) == len(names)


def test_class_table_sorts_by_a_click(evaluated, page):
    (_, analysis), (_, browser) = evaluated, page
    rows = analysis.summary["classes"]
    by = lambda key: [row["class"] for row in sorted(rows, key=key)]  # noqa: E731
    assert browser.read(CLASSES) == by(lambda row: -row["boxes"])
    browser.click("#class-table th:nth-child(4) button")
    assert browser.read(CLASSES) == by(lambda row: -row["AP"])
    browser.click("#class-table th:nth-child(4) button")
    assert browser.read(CLASSES) == by(lambda row: row["AP"])
    browser.click("#class-table th:nth-child(1) button")
    assert browser.read(CLASSES) == by(lambda row: row["class"].lower())


def test_error_row_leads_to_its_pictures_and_a_picture_opens(evaluated, page):
    (_, analysis), (folder, browser) = evaluated, page
    set_threshold(browser, 0.3)
    browser.click("#costs tr[data-kind=Dupe] button")
    assert browser.read(PRESSED) == "Dupe"
    first = browser.read(SHOWN)[0]
    browser.click(f".shot[data-index='{browser.read(FIRST)}'] button")
    assert browser.read("document.querySelector('#closer').open") is True
    assert browser.read("document.querySelector('#closer-name').textContent") == first
    image = analysis.pictures.file_names.index(first)
    marks = [m for m in expected_marks(analysis, 0.3) if (m[0], m[1]) == (image, "Dupe")]
    rows = browser.read(
        "[...document.querySelectorAll('#closer-rows tr')].map(r => r.dataset.kind)"
    )
    assert rows == ["Dupe"] * len(marks)
    browser.screenshot(folder / "closer.png")
    browser.key("ArrowRight")
    assert (
        browser.read("document.querySelector('#closer-name').textContent") == browser.read(SHOWN)[1]
    )
    browser.key("Escape")
    assert browser.read("document.querySelector('#closer').open") is False
    browser.click("#kinds [data-kind=all]")


FIRST = "document.querySelector('.shot:not([hidden])').dataset.index"


def test_fits_desktop_and_phone(page):
    folder, browser = page
    for name, size in (("desktop", (1280, 900)), ("phone", (390, 844))):
        browser.size(*size, phone=name == "phone")
        browser.settle()
        assert browser.read(WIDER) is False
        path = folder / f"{name}.png"
        browser.screenshot(path, whole=True)
        with Image.open(path) as picture:
            assert picture.width == size[0]
            assert picture.convert("RGB").resize((200, 400)).getcolors(1000) is None  # full of life
    browser.dark()
    browser.settle()
    assert browser.read("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 29)"
    browser.screenshot(folder / "dark.png")
    browser.dark(False)
    browser.size(1280, 900)


def test_hostile_names_run_nothing(tmp_path):
    write(tmp_path / "report.html", hostile_analysis())
    plain = json.dumps(hostile_analysis().to_plain())
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(plain)
    write_comparison(
        tmp_path / "compare.html", read_runs([tmp_path / "a.json", tmp_path / "b.json"])
    )
    with Browser(tmp_path) as browser:
        browser.size(390, 844, phone=True)
        for page in ("compare.html", "report.html"):
            browser.open((tmp_path / page).as_uri())
            assert browser.read("typeof window.hacked") == "undefined"
            assert browser.read(WIDER) is False
        set_threshold(browser, 0)
        browser.click("#kinds [data-kind=errors]")
        browser.click(".shot:not([hidden]) button")
        assert browser.read("document.querySelectorAll('#closer-rows tr').length") > 0
        assert browser.read("typeof window.hacked") == "undefined"
        assert browser.problems == []
