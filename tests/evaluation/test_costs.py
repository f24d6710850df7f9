"""Error kinds and their costs: tidecv's own numbers, and cases small enough to reckon by hand."""

import json

import numpy as np
import pytest
from conftest import GOLDENS
from error_cases import as_tables, bccd_truths, coco_case, columns, made_case
from pycocotools import mask

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.errors.costs import analyse_errors, format_errors
from keras_retinanet.evaluation.errors.kinds import DETECTION_KINDS, ERROR_KINDS, TRUTH_FATES, judge
from keras_retinanet.evaluation.metrics.pairs import rows_of_each
from keras_retinanet.modeling.numpy_boxes import coverages, overlaps

BOX = [0.0, 0.0, 100.0, 100.0]
FAR = [200.0, 200.0, 100.0, 100.0]


def moved(share):
    """BOX moved sideways so far that its IoU with BOX is `share`."""
    step = 100 * (1 - share) / (1 + share)
    return [step, 0.0, 100.0, 100.0]


def analyse(truths, found, *, pictures=1, classes=2, **thresholds):
    return analyse_errors(
        *as_tables(columns(truths, found, pictures=pictures, classes=classes)), **thresholds
    )


def kinds_of(errors):
    return [DETECTION_KINDS[kind] for kind in errors.judgement.kinds]


def fates_of(errors):
    return [TRUTH_FATES[fate] for fate in errors.judgement.fates]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDENS / "tide.npz") as file:
        return dict(file)


def case_of(name, golden, data):
    if name == "tiny_coco":
        return coco_case(data / "tiny_coco/annotations/instances_val2017.json")
    if name == "cocoapi":
        return coco_case(
            data / "cocoapi/instances_val2014_100.json",
            data / "cocoapi/instances_val2014_fakebbox100_results.json",
        )
    case = {key.split("/")[1]: value for key, value in golden.items() if key.startswith(name + "/")}
    return case | bccd_truths(data / "bccd") if name == "bccd" else case


# tidecv counts that many detections of an image.
TIDECV_LIMIT = 100


def check_equal_to_tidecv(errors, golden, name):
    def percent(values):
        return 100 * np.asarray(values)

    special = [errors.false_positive_cost, errors.false_negative_cost]
    for key, values in {
        "ap": errors.ap,
        "class_ap": errors.class_ap,
        "costs": [errors.costs[kind] for kind in ERROR_KINDS],
        "special": special,
    }.items():
        np.testing.assert_allclose(percent(values), golden[f"{name}/{key}"], rtol=0, atol=1e-11)
    # tidecv lists what is correct, and what is past the limit, nowhere: 0.
    listed = np.maximum(errors.judgement.kinds, 0)
    np.testing.assert_array_equal(listed, golden[f"{name}/kinds"])
    missed = errors.judgement.fates == TRUTH_FATES.index("Miss")
    np.testing.assert_array_equal(missed, golden[f"{name}/missed"])


def test_costs_and_kinds_are_those_of_tidecv(golden):
    made = as_tables(case_of("made", golden, None))
    errors = analyse_errors(*made, max_detections=TIDECV_LIMIT)
    assert min(errors.counts.values()) > 0
    check_equal_to_tidecv(errors, golden, "made")


@pytest.mark.parametrize(
    ("name", "fixture"),
    [("bccd", "bccd"), ("tiny_coco", "tiny_coco"), ("cocoapi", "coco_sample")],
    ids=["bccd", "tiny_coco", "cocoapi"],
)
def test_costs_and_kinds_are_those_of_tidecv_on_real_data(name, fixture, golden, request):
    folder = request.getfixturevalue(fixture)
    tables = as_tables(case_of(name, golden, folder.parent))
    errors = analyse_errors(*tables, max_detections=TIDECV_LIMIT)
    check_equal_to_tidecv(errors, golden, name)
    if name == "tiny_coco":  # with detections in crowds that would be right elsewhere
        judged = errors.judgement
        assert judged.ignored.sum() == 38
        assert (judged.ignored & (judged.kinds == DETECTION_KINDS.index("Loc"))).sum() == 20


def test_other_thresholds_are_those_of_tidecv(golden):
    made = as_tables(case_of("made", golden, None))
    limits = {"foreground": 0.75, "background": 0.2, "max_detections": TIDECV_LIMIT}
    errors = analyse_errors(*made, **limits)
    check_equal_to_tidecv(errors, golden, "made_75")


def test_stored_case_is_the_made_one(golden):
    for key, value in made_case().items():
        # Another processor's exponential may differ in the last bit.
        np.testing.assert_allclose(value, golden[f"made/{key}"], rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "index", "box"),
    [
        ("correct", 0, BOX),
        ("Loc", 0, moved(0.4)),
        ("Cls", 1, BOX),
        ("Both", 1, moved(0.4)),
        ("Bkg", 0, FAR),
        ("Bkg", 1, moved(0.05)),
    ],
)
def test_kind_of_one_detection(kind, index, box):
    errors = analyse([(0, 0, BOX, False)], [(0, index, box, 0.9)])
    assert kinds_of(errors) == [kind]
    fate = {"correct": "found", "Loc": "Loc", "Cls": "Cls"}.get(kind, "Miss")
    assert fates_of(errors) == [fate]
    assert errors.judgement.truths[0] == (-1 if box is FAR else 0)


def test_one_error_of_each_kind_costs_what_its_mending_gains():
    # One class, one box: AP 0. Mending the one error gives AP 1; with the box gone no class is
    # left and the mean of nothing is 0.
    for box, costs in [(moved(0.4), {"Loc": 1.0}), (FAR, {})]:
        errors = analyse([(0, 0, BOX, False)], [(0, 0, box, 0.9)], classes=1)
        assert errors.ap == 0
        assert errors.costs == dict.fromkeys(ERROR_KINDS, 0.0) | costs
    # Half of two boxes found: recalls 0 to .50 are reached, 51 of 101. Without the other, all.
    truths = [(0, 0, BOX, False), (1, 0, BOX, False)]
    errors = analyse(truths, [(0, 0, BOX, 0.9)], pictures=2, classes=1)
    assert errors.ap == pytest.approx(51 / 101)
    assert errors.costs["Miss"] == pytest.approx(50 / 101)
    assert errors.false_negative_cost == pytest.approx(50 / 101)
    # With a duplicate between them 2 of 3 are right at full recall: precision 2/3 from .51 on.
    found = [(0, 0, BOX, 0.9), (0, 0, moved(0.8), 0.8), (1, 0, BOX, 0.7)]
    errors = analyse(truths, found, pictures=2, classes=1)
    assert kinds_of(errors) == ["correct", "Dupe", "correct"]
    assert errors.ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert errors.costs["Dupe"] == pytest.approx(50 / 3 / 101)
    assert errors.false_positive_cost == pytest.approx(50 / 3 / 101)


def test_only_the_best_error_about_a_box_mends_it():
    found = [(0, 0, moved(0.3), 0.5), (0, 0, moved(0.4), 0.8), (0, 1, BOX, 0.6)]
    errors = analyse([(0, 0, BOX, False)], found)
    assert kinds_of(errors) == ["Loc", "Loc", "Cls"]
    assert errors.judgement.mended_by.tolist() == [1]
    assert fates_of(errors) == ["Loc"]
    # Class 1 is nowhere and detected: it counts 0. With Loc mended class 0 has 1; with Cls mended
    # class 1 is gone, and class 0 has 0 still.
    assert errors.ap == 0
    assert errors.costs["Loc"] == pytest.approx(0.5)
    assert errors.costs["Cls"] == 0
    np.testing.assert_array_equal(errors.class_costs["Loc"], [1, 0])


def test_a_detection_in_a_crowd_does_not_count():
    crowd = [0.0, 0.0, 200.0, 200.0]
    truths = [(0, 0, crowd, True), (0, 0, FAR, False)]
    found = [(0, 0, [20.0, 20.0, 40.0, 40.0], 0.9), (0, 1, [20.0, 20.0, 40.0, 40.0], 0.8)]
    errors = analyse(truths, found)
    assert errors.judgement.ignored.tolist() == [True, False]
    assert errors.counts["Bkg"] == 1
    assert fates_of(errors) == ["ignored", "Miss"]
    assert errors.judgement.nearest.tolist() == [-1, -1]


def test_fates_add_up_and_counts_are_those_of_the_rows():
    pictures, found = as_tables(made_case())
    errors = analyse_errors(pictures, found)
    judged = errors.judgement
    fates = np.bincount(judged.fates, minlength=5)
    assert fates.sum() == len(pictures.truths.classes)
    assert fates[TRUTH_FATES.index("ignored")] == pictures.truths.ignore.sum()
    assert fates[TRUTH_FATES.index("found")] == len(judged.rows("correct"))
    for kind in ERROR_KINDS:
        assert errors.counts[kind] == len(judged.rows(kind)) == errors.class_counts[kind].sum()
    assert (judged.kinds >= 0).all() and (found.image == 9).sum() == 139
    # tidecv's rule: a picture has 100 that count, the best of them.
    limited = analyse_errors(pictures, found, max_detections=TIDECV_LIMIT).judgement
    busy = limited.kinds[found.image == 9] >= 0
    assert busy.sum() == 100
    assert found.scores[found.image == 9][~busy].max() <= found.scores[found.image == 9][busy].min()


def test_order_of_pictures_and_boxes_changes_nothing(rng):
    case = made_case()
    case["found_scores"] = rng.permutation(len(case["found_scores"])) / 1e4  # no ties
    errors = analyse_errors(*as_tables(case))
    for name in ("truth", "found"):
        order = rng.permutation(len(case[f"{name}_image"]))
        case |= {key: case[key][order] for key in case if key.startswith(name)}
    again = analyse_errors(*as_tables(case))
    assert again.counts == errors.counts
    np.testing.assert_allclose(list(again.costs.values()), list(errors.costs.values()), atol=1e-12)


@pytest.mark.parametrize("pictures", [0, 2])
def test_nothing_at_all(pictures):
    errors = analyse([], [], pictures=pictures)
    assert errors.ap == 0
    assert not any(errors.costs.values())
    assert not any(errors.counts.values())


def test_detections_and_no_truth():
    errors = analyse([], [(0, 0, BOX, 0.9), (1, 1, BOX, 0.5)], pictures=2)
    assert kinds_of(errors) == ["Bkg", "Bkg"]
    assert (errors.ap, errors.costs["Bkg"]) == (0, 0)


def test_plain_form_is_json():
    errors = analyse([(0, 0, BOX, False)], [(0, 0, moved(0.4), 0.9)])
    plain = json.loads(json.dumps(errors.to_plain(), allow_nan=False))
    assert plain["kinds"]["Loc"] == {
        "meaning": ERROR_KINDS["Loc"],
        "cost": 1.0,
        "count": 1,
    }
    assert plain["classes"]["class 1"]["ap"] is None
    assert plain["classes"]["class 0"]["Loc"] == {"cost": 1.0, "count": 1}


def test_table():
    lines = format_errors(analyse([(0, 0, BOX, False)], [(0, 0, moved(0.4), 0.9)])).splitlines()
    assert lines[0] == "AP    0.0000"
    assert lines[3] == "Loc   1.0000       1  right class, badly placed"
    assert [line.split()[0] for line in lines[2:]] == [*ERROR_KINDS, "FP", "FN"]


@pytest.mark.parametrize(
    "thresholds", [{"background": 0.5}, {"background": 0.0}, {"foreground": 1.1}]
)
def test_wrong_thresholds_are_named(thresholds):
    pictures, found = as_tables(columns([], [], pictures=1, classes=1))
    with pytest.raises(UserError, match=f"{next(iter(thresholds))}="):
        judge(pictures, found, **thresholds)


def test_wrong_kind_is_named():
    pictures, found = as_tables(columns([], [], pictures=1, classes=1))
    with pytest.raises(UserError, match="kind='Miss-ed'"):
        judge(pictures, found).rows("Miss-ed")


def test_overlaps_are_those_of_pycocotools_bit_by_bit(rng):
    boxes, others = rng.uniform(0, 50, (60, 4)), rng.uniform(0, 50, (50, 4))
    boxes[0, 2], others[0, 3] = 0.0, 0.0  # no width, no height
    others[1] = boxes[1]
    for ours, crowd in ((overlaps, False), (coverages, True)):
        theirs = mask.iou(boxes, others, [crowd] * len(others))
        assert 0 < (theirs > 0).mean() < 1
        np.testing.assert_array_equal(ours(boxes, others), theirs)


def test_rows_of_each():
    index, scores = np.array([2, 0, 2, 2]), np.array([0.5, 0.1, 0.9, 0.5])
    assert [rows.tolist() for rows in rows_of_each(index, 4)] == [[1], [], [0, 2, 3], []]
    assert rows_of_each(index, 4, scores)[2].tolist() == [2, 0, 3]
    assert rows_of_each(index, 1 << 16)[2].tolist() == [0, 2, 3]
