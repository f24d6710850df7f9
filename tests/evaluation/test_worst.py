"""What one error costs, against mending it and reckoning the AP anew; lists and worst pictures."""

import numpy as np
import pytest
from error_cases import as_tables, columns, made_case

from keras_retinanet.evaluation.errors.costs import analyse_errors
from keras_retinanet.evaluation.errors.kinds import DETECTION_KINDS, ERROR_KINDS, TRUTH_FATES
from keras_retinanet.evaluation.errors.worst import error_costs, worst_pictures

BOX = [0.0, 0.0, 100.0, 100.0]
FAR = [200.0, 200.0, 100.0, 100.0]


def plain_ap(ranked, positives):
    """The mean precision at each true box, of one class's (score, correct) rows."""
    ranked = sorted(ranked, key=lambda row: -row[0])
    right, total = 0, 0.0
    for rank, (_, correct) in enumerate(ranked, start=1):
        right += correct
        total += correct * right / rank
    return total / positives


@pytest.fixture(scope="module")
def errors():
    case = made_case()
    # No equal scores: among them the order would matter.
    case["found_scores"] = np.random.default_rng(1).permutation(len(case["found_scores"])) / 1e4
    return analyse_errors(*as_tables(case))


def mended(errors, row, kind):
    """The gain of the mean AP if error `row` is mended, by doing so."""
    judged, truths, found = errors.judgement, errors.pictures.truths, errors.found
    rows = {
        place: [int(found.classes[place]), found.scores[place], judged.kinds[place] == 0]
        for place in np.flatnonzero((judged.kinds >= 0) & ~judged.ignored)
    }
    positives = np.bincount(truths.classes[~truths.ignore], minlength=8)

    def total():
        by_class = {index: [] for index in range(8)}
        for index, score, correct in rows.values():
            by_class[index].append((score, correct))
        return sum(
            plain_ap(by_class[index], positives[index]) for index in np.nonzero(positives)[0]
        )

    before = total()
    if kind == "Miss":
        rows[-1] = [int(truths.classes[row]), 2.0, True]
    elif kind in ("Cls", "Loc") and row in judged.mended_by:
        rows[row] = [int(truths.classes[judged.truths[row]]), found.scores[row], True]
    else:
        del rows[row]
    return (total() - before) / (~np.isnan(errors.class_ap)).sum()


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_cost_of_each_error_is_what_mending_it_gains(errors, kind):
    costs = error_costs(errors)
    side = costs.truths if kind == "Miss" else costs.detections
    rows = errors.judgement.rows(kind)
    expected = [mended(errors, row, kind) for row in rows]
    np.testing.assert_allclose(side[rows], expected, rtol=0, atol=1e-12)
    assert max(expected) > 1e-4


def test_an_ignored_detection_costs_only_what_it_would_find():
    crowd = [0.0, 0.0, 400.0, 400.0]
    truths = [(0, 0, crowd, True), (0, 0, BOX, False)]
    found = [(0, 0, [60.0, 0.0, 100.0, 100.0], 0.9), (0, 0, FAR, 0.8)]
    errors = analyse_errors(*as_tables(columns(truths, found, pictures=1, classes=1)))
    assert errors.judgement.ignored.tolist() == [True, True]
    assert error_costs(errors).detections.tolist() == [1.0, 0.0]
    assert len(errors.judgement.rows("Loc")) == 0


def test_nothing_correct_or_uncounted_costs(errors):
    costs = error_costs(errors)
    kinds = errors.judgement.kinds
    assert not costs.detections[kinds <= 0].any()
    assert not costs.truths[errors.judgement.fates != TRUTH_FATES.index("Miss")].any()


def test_rows_list_every_error_once(errors):
    judged = errors.judgement
    counted = (judged.kinds >= 0) & ~judged.ignored
    lists = {kind: judged.rows(kind) for kind in DETECTION_KINDS}
    np.testing.assert_array_equal(
        np.sort(np.concatenate(list(lists.values()))), np.flatnonzero(counted)
    )
    for kind in ERROR_KINDS:
        assert len(judged.rows(kind)) == errors.counts[kind]
    assert (judged.ious[lists["correct"]] >= 0.5).all()
    assert (judged.ious[lists["Loc"]] <= 0.5).all()
    assert (judged.ious[lists["Cls"]] >= 0.5).all()
    assert (judged.ious[lists["Bkg"]] <= 0.1).all()


def test_worst_pictures_come_first(errors):
    costs = error_costs(errors)
    worst = worst_pictures(errors, limit=5)
    assert list(worst) == list(ERROR_KINDS)
    for kind, pictures in worst.items():
        table, values = (
            (errors.pictures.truths, costs.truths)
            if kind == "Miss"
            else (errors.found, costs.detections)
        )
        assert 0 < len(pictures) <= 5
        sums = np.zeros(40)
        rows = errors.judgement.rows(kind)
        np.add.at(sums, table.image[rows], values[rows])
        best = np.sort(sums)[::-1][: len(pictures)]
        np.testing.assert_allclose([picture.cost for picture in pictures], best, atol=1e-15)
        for picture in pictures:
            assert (table.image[picture.rows] == picture.image).all()
            assert (np.diff(values[picture.rows]) <= 0).all()


def test_a_confident_false_alarm_is_worse_than_a_doubtful_one():
    truths = [(image, 0, BOX, False) for image in range(3)]
    found = [(0, 0, BOX, 0.9), (1, 0, BOX, 0.7), (2, 0, BOX, 0.5)]
    found += [(0, 0, FAR, 0.95), (1, 0, FAR, 0.6), (2, 0, FAR, 0.1)]
    errors = analyse_errors(*as_tables(columns(truths, found, pictures=3, classes=1)))
    assert [picture.image for picture in worst_pictures(errors)["Bkg"]] == [0, 1, 2]
    costs = error_costs(errors).detections
    # Precisions at the boxes 1/2, 2/3, 3/5; without the first alarm 1, 1, 3/4.
    assert costs[3] == pytest.approx((1 / 2 + 1 / 3 + 3 / 20) / 3)
    assert costs[5] == 0


@pytest.mark.parametrize("pictures", [0, 1])
def test_nothing_at_all(pictures):
    errors = analyse_errors(*as_tables(columns([], [], pictures=pictures, classes=1)))
    assert worst_pictures(errors) == {kind: [] for kind in ERROR_KINDS}
