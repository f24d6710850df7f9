"""The report: its numbers, which pictures it shows, and what names from files can do to it."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from error_cases import as_tables, columns, made_case

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.errors.kinds import ERROR_KINDS
from keras_retinanet.evaluation.errors.worst import error_costs, worst_pictures
from keras_retinanet.evaluation.metrics.curves import THRESHOLDS, mean_precision, operating_points
from keras_retinanet.evaluation.metrics.matching import match_detections
from keras_retinanet.evaluation.report import gallery, report_page
from keras_retinanet.evaluation.report.comparison import write_comparison
from keras_retinanet.evaluation.report.saved import read_runs

HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    r"$\frac{$",
    "_hidden",
    "{{ 7 * 7 }}",
    "赤血球",
    "javascript:alert(1)",
    "",
]


def grey_picture(index):
    return np.full((400, 400, 3), 40 + index, np.uint8)


def write(path, analysis, **options):
    options = {"pictures": grey_picture, "title": "made", **options}
    report_page.write_report(path, analysis, **options)
    return path.read_text(encoding="utf-8")


def page_data(text) -> dict:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(data)


@pytest.fixture(scope="module")
def analysis():
    return report_page.analyse(*as_tables(made_case()), engine="pycocotools")


# -------------------------------------------------------------------------------------- numbers


def test_operating_points_are_counts_of_matched_detections(analysis):
    pictures, found = analysis.pictures, analysis.found
    matches = match_detections(pictures, found)
    points = operating_points(found, matches)
    for step in (0, 5, 31, 50, 100):
        kept = matches.counts & (found.scores >= step / 100)
        for name in (0, 3, 6):
            rows = kept & (found.classes == name)
            assert points.right[name, step] == (rows & matches.is_right).sum()
            assert points.wrong[name, step] == (rows & ~matches.is_right).sum()
    best = analysis.summary["best_threshold"]
    # Scores of the case have two decimals, so the best of all thresholds is one of these.
    assert points.totals()["F1"].max() == pytest.approx(best["F1"], abs=1e-12)
    assert points.best_threshold == best["threshold"] == analysis.threshold
    assert points.right[:, 0].sum() > points.right[:, 50].sum() > 0
    assert len(THRESHOLDS) == 101


def test_curves_have_the_ap_as_their_mean(analysis):
    curves, coco = analysis.to_plain()["curves"], analysis.coco
    for name, figure in (("0.50", "AP50"), ("0.75", "AP75"), ("0.50:0.95", "AP")):
        assert np.mean(curves[name]) == pytest.approx(coco.figure(figure), abs=1e-5)
    own = mean_precision(coco, slice(0, 1), 0)
    assert own.mean() == pytest.approx(coco.figure("AP50", 0), abs=1e-12)
    assert mean_precision(coco, slice(0, 1), 7) is None  # nowhere and never detected


def test_plain_figures_pass_through_json(analysis):
    plain = analysis.to_plain()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["errors"]["kinds"]["Loc"]["cost"] == analysis.errors.costs["Loc"]
    assert np.sum(plain["confusion"]) == analysis.confusion.counts.sum()
    assert sum(row["truths"] for row in plain["sizes"]) == plain["boxes"]


# ------------------------------------------------------------------------------------- pictures


def test_gallery_takes_the_worst_pictures_of_each_kind_in_turn(analysis):
    errors, costs = analysis.errors, error_costs(analysis.errors)
    worst = worst_pictures(errors, limit=40)
    kinds = sorted(ERROR_KINDS, key=lambda kind: -errors.costs[kind])
    firsts = list(dict.fromkeys(worst[kind][0].image for kind in kinds))
    assert gallery.chosen_pictures(errors, 40, costs=costs)[: len(firsts)] == firsts
    assert len(set(gallery.chosen_pictures(errors, 7, costs=costs))) == 7
    assert sorted(gallery.chosen_pictures(errors, 1000, costs=costs)) == list(range(40))


def test_rows_hold_every_judged_detection(analysis, tmp_path):
    text = write(tmp_path / "a.html", analysis)
    data = page_data(text)
    judged, found = analysis.errors.judgement, analysis.found
    rows = [row for picture in data["pictures"] for row in picture["found"]]
    assert len(rows) == (judged.kinds >= 0).sum()
    counts = np.bincount([row[6] for row in rows], minlength=len(data["kinds"]))
    for kind, total in analysis.errors.counts.items():
        if kind != "Miss":
            assert counts[data["kinds"].index(kind)] == total
    assert counts[data["kinds"].index("ignored")] == (judged.ignored & (judged.kinds >= 0)).sum()
    for picture in data["pictures"]:
        scores = [row[5] for row in picture["found"]]
        assert scores == sorted(scores, reverse=True)
        for row in picture["found"]:
            if data["kinds"][row[6]] == "correct":
                assert picture["truths"][row[7]][4] == row[4] and row[8] >= 0.5
    total = sum(row[9] for row in rows)
    assert total == pytest.approx(error_costs(analysis.errors).detections.sum(), 0.01)
    assert len(found.scores) == len(rows)  # also where a picture has more than 100


def test_a_score_stays_below_the_threshold_it_does_not_reach():
    scores = np.array([0.419996, 0.42, 0.57, 0.56999999, 0.123456, 1.0])
    shown = gallery.page_scores(scores, 0.5)
    assert shown.tolist() == [0.4199, 0.42, 0.57, 0.5699, 0.1235, 1.0]
    # Nor the best threshold, which may have more decimals than are shown.
    scores = np.array([0.43271, 0.432709, 0.4327, 0.44])
    shown = gallery.page_scores(scores, 0.43271)
    (edge,) = gallery.page_scores(np.array([0.43271]), 0.43271)
    assert (shown >= edge).tolist() == [True, False, False, True]


def test_the_page_starts_at_the_best_threshold_of_the_text(tmp_path):
    """Between two steps of the slider: .4327 is best, .43 keeps a wrong one more."""
    truths = [(0, 0, [20 * i, 0, 9, 9], False) for i in range(3)]
    found = [(0, 0, [20 * i, 0, 9, 9], score) for i, score in enumerate((0.9, 0.8, 0.4327))]
    found.append((0, 0, [300, 0, 9, 9], 0.4302))
    tables = as_tables(columns(truths, found, pictures=1, classes=1))
    analysis = report_page.analyse(*tables, engine="pycocotools")
    best = analysis.summary["best_threshold"]
    assert (best["threshold"], best["F1"]) == (0.4327, 1.0)
    text = write(tmp_path / "a.html", analysis)
    data = page_data(text)
    assert data["best"] == {"threshold": 0.4327, "right": [3], "wrong": [0]}
    assert data["points"]["wrong"][0][43] == 1
    assert "F1 is best from score 0.433 on" in text and "best F1, score 0.433" in text


def test_page_is_bounded_and_says_what_it_leaves_out(analysis, tmp_path, monkeypatch):
    text = write(tmp_path / "a.html", analysis, max_pictures=6)
    assert len(page_data(text)["pictures"]) == text.count("<figure") == 6
    assert "6 of 40: those whose errors of each kind cost most." in text
    monkeypatch.setattr(gallery, "MAX_LETTERS", 9000)
    text = write(tmp_path / "b.html", analysis)
    pictures = re.findall(r'src="data:image/jpeg[^"]*"', text)
    assert 1 <= len(pictures) < 40 and sum(map(len, pictures)) < 9000 + 10 * len(pictures)
    assert f"{len(pictures)} of 40" in text
    big = grey_picture(0).repeat(5, axis=0)
    assert len(gallery.picture_uri(big, side=720, quality=78)) < 10_000


def test_pictures_that_cannot_be_read_are_blank(analysis, tmp_path):
    def read(index):
        if index % 2:
            raise UserError("broken")
        raise OSError(2, "gone")

    text = write(tmp_path / "a.html", analysis, pictures=read)
    assert text.count("cannot be read") == 40 and "<img" not in text


@pytest.mark.long
def test_same_data_same_page(analysis, tmp_path):
    assert write(tmp_path / "a.html", analysis) == write(tmp_path / "b.html", analysis)


@pytest.mark.long
@pytest.mark.parametrize("case", ["no detections", "no boxes", "nothing", "no pictures"])
def test_empty_sets_have_a_page(case, tmp_path):
    truths = [(0, 0, [10.0, 10.0, 50.0, 50.0], False)] if case == "no detections" else []
    found = [(1, 1, [10.0, 10.0, 50.0, 50.0], 0.5)] if case == "no boxes" else []
    size = 0 if case == "no pictures" else 2
    empty = report_page.analyse(*as_tables(columns(truths, found, pictures=size, classes=2)))
    text = write(tmp_path / "a.html", empty)
    assert page_data(text)["total"] == size
    value = 0.0 if case == "no detections" else -1.0
    assert f'data-figure="AP" data-value="{value}"' in text
    assert (
        re.findall(r"\b(?:nan|NaN|inf)\b", re.sub(r"base64[^\"]*|<script>.*", "", text, flags=re.S))
        == []
    )


# ----------------------------------------------------------------------- names that anyone wrote


def hostile_analysis():
    pictures, found = as_tables(made_case())
    names = [HOSTILE[index % len(HOSTILE)] for index in range(40)]
    pictures = replace(pictures, class_names=list(HOSTILE), file_names=names)
    return report_page.analyse(pictures, found)


def assert_harmless(text):
    scripts = re.findall(r"<script[^>]*>", text)
    assert set(scripts) <= {"<script>", '<script type="application/json" id="data">'}
    assert "<img src=x" not in text and "onerror=&" not in text.replace("onerror=&#34;", "")
    assert ">49<" not in text
    links = re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']*)""", text)
    assert [link for link in links if link != "x"] == []
    assert "@import" not in text and "url(http" not in text
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none';") and "sha256-" in policy


def test_hostile_names_are_text(tmp_path):
    hostile = hostile_analysis()
    title = HOSTILE[0] + HOSTILE[1]
    facts = {HOSTILE[0]: HOSTILE[1]}
    text = write(tmp_path / "a.html", hostile, title=title, facts=facts)
    assert_harmless(text)
    assert page_data(text)["classes"] == HOSTILE
    plain = json.dumps(hostile.to_plain())
    for name in ('<img src=x onerror="window.hacked = 1">.json', "$b$.json"):
        (tmp_path / name).write_text(plain)
    runs = read_runs(
        [tmp_path / '<img src=x onerror="window.hacked = 1">.json', tmp_path / "$b$.json"]
    )
    write_comparison(tmp_path / "c.html", runs)
    assert_harmless((tmp_path / "c.html").read_text(encoding="utf-8"))


def test_many_classes_show_the_most_confused(tmp_path, rng):
    boxes = rng.uniform(0, 300, (400, 4))
    truths = [(i % 20, i % 90, [*box[:2], 60.0, 60.0], False) for i, box in enumerate(boxes)]
    # Class 7 is taken for class 80 each time.
    found = [(i, 80 if k == 7 else k, box, 0.9) for i, k, box, _ in truths]
    many = report_page.analyse(*as_tables(columns(truths, found, pictures=20, classes=90)))
    text = write(tmp_path / "a.html", many)
    names = re.findall(r'<th scope="row" title="([^"]*)"', text)
    assert len(names) == 21 and {"class 7", "class 80", "background"} <= set(names)
    assert "70 are left out" in text and "class 7 for class 80 (5, 100.0%)" in text
    assert text.count("<tr data-class=") == 90 and "82 more" in text
