"""`dataset review`: planted mistakes are found, and applying the decisions takes them out."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from in_process import command
from writer_sets import WITHOUT_IGNORE, assert_same, encoded, load_all, made_set

from keras_retinanet.commands.dataset import review
from keras_retinanet.data.writers import write_dataset
from keras_retinanet.evaluation import runner
from keras_retinanet.evaluation.streaming import Columns

CAT, DOG = ((2, 2, 14, 14), 0), ((22, 4, 38, 24), 1)
# What is in each image, and what its labels say.
TRUE = {
    "a.png": [CAT, DOG], "b.png": [CAT, DOG], "c.png": [CAT, DOG], "d.png": [CAT], "e.png": [DOG],
}  # fmt: skip
PLANTED = {
    "a.png": [CAT],  # missing
    "b.png": [((2, 2, 14, 14), 1), DOG],  # wrong class
    "c.png": [((2, 2, 14, 24), 0), DOG],  # loose
    "d.png": [CAT, ((2, 2, 14, 14), 0)],  # double
    "e.png": [DOG, ((2, 2, 14, 14), 1)],  # nothing
}
KINDS = ["class", "double", "loose", "missing", "nothing"]


def made(rows):
    objects = [(name, [(*row, False, None) for row in own]) for name, own in rows.items()]
    return made_set(objects, contents=[encoded(seed=place) for place in range(len(rows))])


def detect(model, dataset, *, indices=None, columns=None, **options):
    """Find what is truly in each image, as a good model does."""
    columns = Columns() if columns is None else columns
    indices = range(len(dataset.records)) if indices is None else indices
    for index in indices:
        rows = TRUE[dataset.records[index].file_name.rpartition("/")[2]]
        boxes = np.array([box for box, _ in rows], np.float32)
        names = [("cat", "dog")[class_index] for _, class_index in rows]
        classes = np.array([dataset.class_names.index(name) for name in names])
        columns.add(index, boxes, scores=np.full(len(rows), 0.9), classes=classes)
    return runner.finished_run(dataset, columns, ([], []), asked=indices)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_retinanet.exporting.exported.load_detector", lambda *_, **__: None)
    monkeypatch.setattr(runner, "run_detector", detect)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.keras").touch()
    return tmp_path


def page_data(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def decided(page, path, decision="accept"):
    data = page_data(page)
    for each in data["findings"]:
        each["decision"] = decision
    path.write_text(json.dumps(data))


def reviewed(folder, form, *words):
    write_dataset({"train": made(PLANTED)}, folder / "data", form)
    source = ("--annotations", folder / "data/train.csv") if form == "csv" else ()
    place = source or ("--data_dir", folder / "data")
    assert command("dataset", "review", *place, "--model", folder / "model.keras", *words) == 0
    return place


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "tfrecord"])
def test_planted_mistakes_are_found_and_taken_out(folder, form, capsys):
    place = reviewed(folder, form)
    printed = capsys.readouterr().out
    assert "5 images, 9 labels: 5 findings" in printed and "judged leniently" in printed
    page = folder / review.DEFAULT_OUT
    assert sorted(each["kind"] for each in page_data(page)["findings"]) == KINDS
    decided(page, folder / "decisions.json")
    before = {path: path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file()}
    words = ("--apply", folder / "decisions.json", "--out", folder / "out")
    assert command("dataset", "review", *place, *words) == 0
    truth = made(TRUE)
    [found] = load_all(form, folder / "out").values()
    truth, found = map(with_sorted_boxes, (truth, found))
    assert assert_same(found, truth, without_ignore=form in WITHOUT_IGNORE) == 8
    after = {path: path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file()}
    assert after == before


def with_sorted_boxes(dataset):
    def ordered(record):
        rows, names = np.lexsort(record.boxes.T), ("boxes", "classes", "ignore", "areas")
        return replace(record, **{name: getattr(record, name)[rows] for name in names})

    return replace(dataset, records=[ordered(record) for record in dataset.records])


def test_limit_shows_the_first(folder):
    reviewed(folder, "coco", "--limit", "2", "--out", folder / "two.html")
    assert len(page_data(folder / "two.html")["findings"]) == 2


def test_rejected_findings_change_nothing(folder, capsys):
    place = reviewed(folder, "coco")
    decided(folder / review.DEFAULT_OUT, folder / "decisions.json", "reject")
    words = ("--apply", folder / "decisions.json", "--out", folder / "out")
    assert command("dataset", "review", *place, *words) == 2
    assert "Expected decisions with an accepted finding" in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.long
def test_each_fold_is_judged_by_a_model_of_the_others(folder, monkeypatch, capsys):
    trained, judged = [], []

    def train(config, out, *, data):
        names = {record.file_name for part in data for record in part.records}
        trained.append(names)
        assert config.train.minutes == 2
        out.mkdir(parents=True)
        (out / "best.keras").touch()

    def judge(model, dataset, *, indices, **options):
        judged.append({dataset.records[index].file_name for index in indices})
        return detect(model, dataset, indices=indices, **options)

    monkeypatch.setattr("keras_retinanet.training.run.train", train)
    monkeypatch.setattr(runner, "run_detector", judge)
    write_dataset({"train": made(PLANTED)}, folder / "data", "coco")
    words = ("--data_dir", folder / "data", "--folds", "2", "--minutes", "2", "--config", "bccd")
    assert command("dataset", "review", *words) == 0
    assert [names & own for names, own in zip(trained, judged, strict=True)] == [set(), set()]
    assert sorted([*judged[0], *judged[1]]) == sorted(trained[0] | trained[1])
    assert "leniently" not in capsys.readouterr().out
    assert sorted(each["kind"] for each in page_data(folder / "review.html")["findings"]) == KINDS
    assert (folder / "review_folds/fold_2/best.keras").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "2", "--model", "model.keras"], "--model or --folds"),
        (["--minutes", "3"], "--minutes with --folds"),
        (["--apply", "x.json"], "no --out"),
        (["--apply", "x.json", "--out", "out", "--folds", "2"], "--folds"),
        (["--to", "coco"], "--to with --apply"),
        (["--limit", "0"], "--limit of 1"),
        (["--folds", "1"], "2 to 2 folds"),
    ],
)
def test_flags_that_mean_nothing_together_are_refused(folder, words, message, capsys):
    write_dataset({"train": made(PLANTED)}, folder / "data", "coco")
    assert command("dataset", "review", "--data_dir", folder / "data", *words) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "review.html").exists()
