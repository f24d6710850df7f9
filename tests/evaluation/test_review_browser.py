"""The review page in a browser: findings decided by keys, and the decisions that it saves."""

import json

import numpy as np
import pytest
from browser import Browser

from keras_retinanet.evaluation.review.decisions import read_decisions
from keras_retinanet.evaluation.review.findings import find_label_errors
from keras_retinanet.evaluation.review.review_page import plain_findings, write_review
from keras_retinanet.evaluation.tables import EvaluationSet, Found, Truths

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=alert(1)></script>"
WHAT = "document.querySelector('#what').textContent"
COUNT = "document.querySelector('#count').textContent"
ROWS = "document.querySelectorAll('#stage rect').length"
SHOWN = "[...document.querySelectorAll('#strip button:not([hidden]) b')].map(b => b.textContent)"
ABOUT = "document.querySelector('#about').textContent"
WIDER = "document.documentElement.scrollWidth > innerWidth"


def table(kind, rows, **last):
    image, classes, boxes = zip(*rows, strict=True)
    boxes = np.array(boxes, np.float64)
    shared = np.array(image, np.int32), np.array(classes, np.int32), boxes
    return kind(*shared, **last)


@pytest.fixture
def review(tmp_path):
    """Write a page with one finding of each kind; return its file and the findings."""
    labels = [
        (0, 0, [10, 10, 40, 40]), (0, 0, [60, 10, 90, 40]),
        (1, 0, [10, 10, 40, 40]), (1, 0, [10, 10, 40, 41]), (1, 0, [50, 50, 80, 80]),
    ]  # fmt: skip
    found = [
        (0, 1, [10, 10, 40, 40]), (0, 0, [60, 18, 90, 48]), (0, 0, [10, 60, 40, 90]),
        (1, 0, [10, 10, 40, 40]),
    ]  # fmt: skip
    truths = table(Truths, labels, areas=np.full(5, 900.0), ignore=np.zeros(5, bool))
    pictures = EvaluationSet(
        [1, 2], ["a.png", EVIL], np.full((2, 2), 100, np.int32), ["cat", EVIL], [1, 2], truths
    )
    found = table(Found, found, scores=np.array([0.95, 0.9, 0.8, 0.9]))
    findings = find_label_errors(pictures, found, min_sure=0.05)
    places = [("train", "1"), ("val", "2")]
    decisions = plain_findings(findings, pictures, found, places=places)
    page = tmp_path / "review.html"
    image = np.random.default_rng(3).integers(0, 256, (100, 100, 3), np.uint8)
    shown = write_review(
        page, findings, decisions, pictures=pictures, images=lambda _: image,
        title="made", facts={"images": "2"}, notes=["Judged leniently by `--model`."],
    )  # fmt: skip
    assert shown == len(findings)
    assert sorted(each.kind for each in findings) == sorted(
        ["missing", "class", "loose", "double", "nothing"]
    )
    return page, decisions


def test_findings_are_decided_by_keys_and_saved(review, tmp_path):
    page, decisions = review
    with Browser(tmp_path) as browser:
        browser.size(1280, 900)
        browser.downloads_to(tmp_path)
        browser.open(page.as_uri())
        assert browser.read(SHOWN) == [each.kind for each in decisions]
        for each, key in zip(decisions, "arara", strict=True):
            assert browser.read(WHAT).startswith(each.kind)
            assert each.image in browser.read(ABOUT)
            boxes = (each.proposal is not None) + 2 * (each.label is not None)
            assert browser.read(ROWS) >= boxes
            browser.key(key)
        assert browser.read(COUNT) == "finding 5 of 5: 3 accepted, 2 rejected, 0 undecided"
        browser.key("u")
        browser.key("ArrowLeft")
        assert browser.read(WHAT).startswith(decisions[3].kind)
        browser.open(page.as_uri())  # decisions stay in the browser
        assert "2 accepted, 2 rejected, 1 undecided" in browser.read(COUNT)
        browser.click("#kinds [data-kind='double']")
        assert browser.read(SHOWN) == ["double"]
        assert browser.read(WHAT).startswith("double")
        browser.click("#save")
        saved = tmp_path / "decisions.json"
        for _ in range(200):
            browser.settle()
            if saved.exists() and saved.stat().st_size:
                break
        for width in (1280, 390):
            browser.size(width, 800, phone=width < 500)
            browser.settle()
            assert not browser.read(WIDER)
        assert browser.problems == []
        assert all(url.startswith(("data:", "file:", "blob:")) for url in browser.requests)
    kept = read_decisions(saved).findings
    assert [each.decision for each in kept] == ["accept", "reject", "accept", "reject", None]
    assert [each.model_copy(update={"decision": None}) for each in kept] == decisions
    assert "uri" not in json.loads(saved.read_text())["findings"][0]
