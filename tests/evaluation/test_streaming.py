"""Columns that fill in any order, the file that survives a kill, the key of a run."""

import os

import numpy as np
import pytest

from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.evaluation.streaming import Columns, Journal, run_key


def filled(order, rng) -> Columns:
    columns = Columns()
    made = {index: rng.random((index % 3, 6), np.float32) for index in range(6)}
    for index in order:
        rows = made[index]
        columns.add(index, rows[:, :4], scores=rows[:, 4], classes=(rows[:, 5] * 3).astype(int))
    return columns


def test_the_order_of_pictures_does_not_matter_and_each_counts_once():
    first = filled(range(6), np.random.default_rng(0)).found()
    second = filled([5, 2, 0, 1, 4, 3, 2], np.random.default_rng(0)).found()
    assert first.image.tolist() == [1, 2, 2, 4, 5, 5]
    assert first.scores.dtype == first.boxes.dtype == np.float64
    for name in ("image", "classes", "boxes", "scores"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_lines_keep_every_bit(rng):
    columns, read = filled(range(6), rng), Columns()
    columns.add_unreadable(6)
    for index in range(7):
        read.add_line(columns.line(index))
    assert read.unreadable == [6]
    assert len(read) == 7
    for name in ("image", "classes", "boxes", "scores"):
        np.testing.assert_array_equal(
            getattr(read.found(), name), getattr(columns.found(), name), strict=True
        )


@pytest.mark.parametrize(
    "line",
    [
        *["", '{"picture":3,"bo', "[1]", "3", '{"boxes":[]}', "null", '{"picture":-1}'],
        '{"picture":"3"}',
        '{"picture":3,"boxes":[[1,2,3,4]],"scores":[],"classes":[]}',
    ],
)
def test_a_cut_line_is_nothing(line):
    columns = Columns()
    columns.add_line(line)
    assert len(columns) == 0


def test_nothing_found():
    found = Columns().found()
    assert found.boxes.shape == (0, 4)
    assert found.image.dtype == np.int32


def test_a_journal_is_gone_on_with_under_its_key_alone(tmp_path, rng):
    columns = filled(range(6), rng)
    journal = Journal(tmp_path / "found.jsonl", "a")
    with journal.writer() as write:
        write([columns.line(0), columns.line(1)])
    with journal.writer() as write:  # a second call
        write([columns.line(2)])
        write([columns.line(4), columns.line(1)])
    (tmp_path / "unrelated.json").touch()
    read, was_other = Journal(tmp_path / "found.jsonl", "a").read()
    assert [index in read for index in range(6)] == [True, True, True, False, True, False]
    assert not was_other
    read, was_other = Journal(tmp_path / "found.jsonl", "b").read()
    assert (len(read), was_other) == (0, True)
    with Journal(tmp_path / "found.jsonl", "b").writer() as write:
        write([columns.line(3)])
    read, was_other = Journal(tmp_path / "found.jsonl", "b").read()
    assert ([index in read for index in range(4)], was_other) == ([False] * 3 + [True], False)
    journal.remove()
    assert [file.name for file in tmp_path.iterdir()] == ["unrelated.json"]


def dataset(tmp_path, *, boxes=((0, 0, 5, 5),), names=("a.jpg", "b.jpg")) -> Dataset:
    made = Dataset("set", "val", ["cat"], [1], [])
    records = [
        make_record(
            name,
            ImageRef(str(tmp_path / name)),
            (10, 10),
            file_name=name,
            objects=[(box, 0, False, None) for box in boxes],
            problems=made.problems,
        )
        for name in names
    ]
    return Dataset("set", "val", ["cat"], [1], records)


def test_the_key_names_model_pictures_boxes_and_options(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"1")
    model = tmp_path / "model.keras"
    model.write_bytes(b"weights")
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")

    def keys():
        return [
            run_key(model, dataset(tmp_path), {}),
            run_key(folder, dataset(tmp_path), {}),
            run_key(model, dataset(tmp_path), {"tile": 800}),
            run_key(model, dataset(tmp_path, boxes=()), {}),
            run_key(model, dataset(tmp_path, names=("a.jpg",)), {}),
        ]

    before = keys()
    assert before == keys()
    assert len(set(before)) == 5
    model.write_bytes(b"others!")
    after = keys()
    assert [one == other for one, other in zip(before, after, strict=True)] == [
        False, True, False, False, False,
    ]  # fmt: skip
    (tmp_path / "b.jpg").write_bytes(b"12")
    assert run_key(folder, dataset(tmp_path), {}) != before[1]


def test_copies_of_the_data_on_other_machines_have_one_key(tmp_path):
    model = tmp_path / "model.keras"
    model.write_bytes(b"weights")
    keys = {}
    for age, name in enumerate(("one", "other")):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("a.jpg", "b.jpg"):
            (folder / file).write_bytes(b"1")
            os.utime(folder / file, (1000 + age, 1000 + age))
        keys[name] = [
            run_key(model, dataset(folder), {}, any_machine=everywhere)
            for everywhere in (True, False)
        ]
    assert keys["one"][0] == keys["other"][0]
    assert keys["one"][1] != keys["other"][1]
    (tmp_path / "other" / "b.jpg").write_bytes(b"12")
    changed = run_key(model, dataset(tmp_path / "other"), {}, any_machine=True)
    assert changed != keys["one"][0]
