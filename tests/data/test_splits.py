"""Splits by their names: in any case, with a year, by the other words for them."""

import pytest

from keras_retinanet.data.names import split_in, split_word
from keras_retinanet.data.splits import find_split, training_splits


@pytest.mark.parametrize(
    ("wanted", "available", "found"),
    [
        ("train", ["Train", "Validation"], "Train"),
        ("val", ["Train", "Validation"], "Validation"),
        ("val", ["train", "valid", "VAL"], "VAL"),
        ("valid", ["train", "val2014", "val2017"], "val2017"),
        ("train", ["training", "testing"], "training"),
        ("Train", ["train", "TRAIN"], "train"),
        ("val", ["train", "test"], None),
        ("val", ["validate"], None),
    ],
)
def test_split_that_is_meant(wanted, available, found):
    assert find_split(wanted, available) == found


def test_training_and_validation_of_subsets():
    assert training_splits(["Train", "Validation"], None, None, "x") == ("Train", "Validation")
    assert training_splits(["default"], None, None, "x") == ("default", None)


def test_words_in_names():
    assert [split_word(name) for name in ("Validation", "train2017", "x")] == ["val", "train", None]
    names = ["raccoon_train_labels", "labels-test", "train_val", "constrain"]
    assert [split_in(name) for name in names] == ["train", "test", None, None]
