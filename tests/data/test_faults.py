"""Every fault of the table has its one result; with strict it is an error that says where."""

import re
from pathlib import Path

import pytest
from faults.small_sets import SETS, config_of
from faults.table import FAULTS, shown

from keras_retinanet.data.loading import SOURCES
from keras_retinanet.data.problems import KINDS
from keras_retinanet.errors import UserError

DOCS = Path(__file__).parents[2] / "docs" / "faults.md"
TESTS = Path(__file__).parents[1]
NAMES = [f"{fault.source}: {fault.title}" for fault in FAULTS]
# Found when pictures are read, in training: test_batches.py and test_damaged_training.py.
FOUND_IN_TRAINING = {
    "picture cut off",
    "picture damaged",
    "picture of another size than annotated",
    "more boxes than max_boxes",
}
# Of the classes that a source gives: test_spellings.py.
FOUND_IN_CLASSES = {"class in two spellings that look alike"}
# Of shards alone: test_tfrecord.py.
FOUND_IN_SHARDS = {"missing shard"}


def load(fault, folder, **options):
    config = config_of(fault.source, folder, **options)
    source = SOURCES[fault.source]
    names = source.splits(config)
    return source.load(config, names[0] if names else None)


@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_fault(fault, tmp_path):
    fault.damage(tmp_path, SETS[fault.source](tmp_path))
    if isinstance(fault.outcome, str):
        with pytest.raises(UserError, match=fault.outcome):
            load(fault, tmp_path)
        return
    dataset = load(fault, tmp_path)
    assert {kind: len(what) for kind, what in dataset.problems.items()} == fault.outcome
    assert sum(len(record.boxes) for record in dataset.records) == fault.boxes
    if fault.outcome:
        kind, what = next(iter(dataset.problems.items()))
        with pytest.raises(UserError, match=re.escape(f"{kind}: {what[0]}")):
            load(fault, tmp_path, strict=True)


def test_every_kind_of_problem_is_in_the_table():
    found = {kind for fault in FAULTS if isinstance(fault.outcome, dict) for kind in fault.outcome}
    assert found | FOUND_IN_TRAINING | FOUND_IN_CLASSES | FOUND_IN_SHARDS == set(KINDS)


@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_documents_list_the_fault(fault):
    row = f"| `{fault.source}` | {fault.title} | {shown(fault.outcome)} |"
    assert row in DOCS.read_text(encoding="utf-8")


def test_documents_name_tests_that_exist():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", DOCS.read_text("utf-8"))
    assert len(named) > 15
    for file, name in named:
        assert f"def {name}(" in next(TESTS.rglob(file)).read_text("utf-8"), f"{file}::{name}"
