"""What detections say against labels, on cases that a person can check."""

import numpy as np
import pytest
from error_cases import as_tables, columns

from keras_retinanet.evaluation.review.findings import find_label_errors

CELL = [100.0, 100.0, 40.0, 40.0]
FAR = [300.0, 300.0, 40.0, 40.0]
# Moved by 20 of 40 pixels: IoU 1/3. By 8: IoU 2/3.
HALF_OFF, A_BIT_OFF = [120.0, 100.0, 40.0, 40.0], [108.0, 100.0, 40.0, 40.0]
NEXT = [140.0, 100.0, 40.0, 40.0]
CROWD = [280.0, 280.0, 90.0, 90.0]


def findings(labels, found, **options):
    """Return (kind, label, detection, sure) of each finding; two classes, one image."""
    labels = [(0, index, box, False) if len(row) == 2 else (0, index, box, True)
              for row in labels for index, box in [row[:2]]]  # fmt: skip
    found = [(0, index, box, score) for index, box, score in found]
    tables = as_tables(columns(labels, found, pictures=1, classes=2))
    return [
        (each.kind, each.label, each.detection, pytest.approx(each.sure))
        for each in find_label_errors(*tables, **options)
    ]


@pytest.mark.parametrize(
    ("labels", "found", "expected"),
    [
        # Nothing to say.
        ([(0, CELL)], [(0, CELL, 0.9)], []),
        ([(0, CELL)], [(0, CELL, 0.9), (0, FAR, 0.2)], []),
        # An object without a box; beside a label that was found, times what lies outside of it.
        ([(0, CELL)], [(0, CELL, 0.9), (1, FAR, 0.8)], [("missing", -1, 1, 0.8)]),
        ([(0, CELL)], [(0, CELL, 0.9), (0, HALF_OFF, 0.8)], [("missing", -1, 1, 0.4)]),
        # Another class, and so sure as it is surer than of the label's own.
        ([(0, CELL)], [(1, CELL, 0.9)], [("class", 0, 0, 0.9)]),
        ([(0, CELL)], [(1, CELL, 0.9), (0, CELL, 0.3)], [("class", 0, 0, 0.6)]),
        ([(0, CELL)], [(0, CELL, 0.9), (1, CELL, 0.3)], []),
        # A loose box, found or not.
        ([(0, CELL)], [(0, HALF_OFF, 0.9)], [("loose", 0, 0, 0.6)]),
        ([(0, CELL)], [(0, A_BIT_OFF, 0.9)], [("loose", 0, 0, 0.3)]),
        # A detection that another label covers by half is between two objects.
        ([(0, CELL), (0, NEXT)], [(0, HALF_OFF, 0.9), (0, NEXT, 0.95)], [("loose", 0, 0, 0.3)]),
        # Two labels on one object: the one that no detection found is to go.
        ([(0, CELL), (0, CELL)], [(0, CELL, 0.9)], [("double", 1, -1, 1.0)]),
        ([(1, CELL), (0, CELL)], [(0, CELL, 0.9)], [("double", 0, -1, 1.0)]),
        # A label on nothing, where the model finds others of the class with 0.9 and 0.
        ([(0, CELL), (0, FAR)], [(0, CELL, 0.9)], [("nothing", 1, -1, 0.45)]),
        # Labels to ignore are not doubted, and nothing is missing in them.
        ([(0, CELL), (0, CROWD, "ignore")], [(0, CELL, 0.9), (0, FAR, 0.9)], []),
        # One place, two classes: the surer one alone.
        ([(0, CELL)], [(0, CELL, 0.9), (1, FAR, 0.8), (0, FAR, 0.7)], [("missing", -1, 1, 0.8)]),
        # An empty data set, and a model that finds nothing.
        ([], [], []),
        ([(0, CELL)], [], []),
    ],
)
def test_each_kind_is_found_where_it_is(labels, found, expected):
    assert findings(labels, found) == expected


def test_less_sure_findings_are_skipped():
    rows = [(0, CELL)], [(0, CELL, 0.9), (1, FAR, 0.2)]
    assert findings(*rows, min_sure=0.1) == [("missing", -1, 1, 0.2)]


def test_of_equally_sure_findings_the_costlier_comes_first():
    """The class with one label of three loses more AP by one wrong box than that with two."""
    labels = [(0, 0, CELL, False), (1, 0, CELL, False), (2, 1, CELL, False)]
    sure = [(0, 0, CELL, 0.7), (1, 0, CELL, 0.7), (2, 1, CELL, 0.7)]
    wrong = [(0, 0, FAR, 0.8), (1, 1, FAR, 0.8)]
    tables = as_tables(columns(labels, sure + wrong, pictures=3, classes=2))
    found = find_label_errors(*tables)
    assert [(each.kind, each.detection) for each in found] == [("missing", 4), ("missing", 3)]
    assert found[0].cost > found[1].cost > 0
    assert np.isclose(found[0].sure, found[1].sure)
