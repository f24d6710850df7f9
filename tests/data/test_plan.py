"""The plan of batches: every record once an epoch, equal canvases, resumed at any step."""

import itertools
from collections import Counter

import numpy as np
import pytest

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.pipeline.plan import batches, canvas_counts, evaluation_batches
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.modeling.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(short_side=64, long_side=128)


def dataset(sizes):
    records = [
        make_record(i, ImageRef(""), size, file_name=f"{i}", objects=[], problems={})
        for i, size in enumerate(sizes)
    ]
    return Dataset("set", "train", ["cat"], [1], records)


@pytest.fixture
def mixed(rng):
    return dataset([tuple(size) for size in rng.integers(40, 200, (37, 2)).tolist()])


def taken(plan, count):
    return list(itertools.islice(plan, count))


def assert_equal(left, right):
    assert left.canvas == right.canvas
    for name in ("indices", "seeds", "sizes"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 57, 100])
@pytest.mark.parametrize("sides", [(), (48, 64, 80)])
def test_resumed_plan_goes_on_exactly(mixed, start, sides):
    options = {"batch_size": 4, "seed": 5, "short_sides": sides}
    whole = taken(batches(mixed, PREPROCESSING, **options), 120)
    resumed = taken(batches(mixed, PREPROCESSING, **options, start_step=start), 20)
    for left, right in zip(whole[start : start + 20], resumed, strict=True):
        assert_equal(left, right)


def test_each_record_once_an_epoch_with_leftovers_carried_over(mixed):
    epochs, size = 25, 4
    plan = taken(batches(mixed, PREPROCESSING, batch_size=size, seed=0), epochs * 37 // size)
    counts = Counter(np.concatenate([batch.indices for batch in plan]).tolist())
    # At most batch_size - 1 draws of each canvas are waiting; none was lost.
    waiting = epochs * 37 - sum(counts.values())
    canvases = len(canvas_counts(mixed, PREPROCESSING))
    assert 0 <= waiting <= canvases * (size - 1)
    assert set(counts) == set(range(37))
    assert all(abs(count - epochs) <= size for count in counts.values())


def test_one_canvas_gives_exact_permutations():
    plan = taken(batches(dataset([(50, 60)] * 12), PREPROCESSING, batch_size=4, seed=0), 9)
    epochs = np.concatenate([batch.indices for batch in plan]).reshape(3, 12)
    assert np.array_equal(np.sort(epochs), np.tile(np.arange(12), (3, 1)))
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3


def test_batch_shares_a_canvas_that_holds_its_pictures(mixed):
    for batch in taken(batches(mixed, PREPROCESSING, batch_size=4, seed=1), 60):
        assert batch.indices.shape == (4,) and batch.seeds.shape == (4, 2)
        assert batch.indices.dtype == batch.seeds.dtype == batch.sizes.dtype == np.int32
        for index, size in zip(batch.indices, batch.sizes, strict=True):
            record = mixed.records[index]
            resized = PREPROCESSING.resized_size(record.height, record.width)
            assert tuple(size) == resized
            assert batch.canvas == PREPROCESSING.canvas_size(*resized)
        assert (batch.sizes <= batch.canvas).all()


def test_seeds_differ_by_picture_epoch_and_run():
    plan = {
        seed: taken(batches(dataset([(50, 60)] * 12), PREPROCESSING, batch_size=4, seed=seed), 6)
        for seed in (0, 1)
    }
    seeds = [tuple(row) for run in plan.values() for batch in run for row in batch.seeds.tolist()]
    assert len(set(seeds)) == len(seeds) == 48


def test_more_pictures_in_a_batch_than_there_are():
    plan = taken(batches(dataset([(50, 60)] * 3), PREPROCESSING, batch_size=8, seed=0), 3)
    assert Counter(np.concatenate([b.indices for b in plan]).tolist()) == {0: 8, 1: 8, 2: 8}


def test_multi_scale_draws_every_side():
    plan = batches(
        dataset([(60, 60)] * 8), PREPROCESSING, batch_size=2, seed=0, short_sides=(32, 64, 96)
    )
    found = Counter(int(side) for batch in taken(plan, 90) for side in batch.sizes[:, 0])
    assert set(found) == {32, 64, 96} and min(found.values()) > 40


def test_no_records_are_refused():
    with pytest.raises(ValueError, match="none in set"):
        batches(dataset([]), PREPROCESSING, batch_size=2, seed=0)


def test_evaluation_takes_each_record_once(mixed):
    plan = list(evaluation_batches(mixed, PREPROCESSING, batch_size=4))
    assert sorted(np.concatenate([batch.indices for batch in plan]).tolist()) == list(range(37))
    smaller = [batch.canvas for batch in plan if len(batch.indices) < 4]
    assert len(smaller) == len(set(smaller))
    for canvas in {batch.canvas for batch in plan}:
        order = [int(i) for batch in plan if batch.canvas == canvas for i in batch.indices]
        assert order == sorted(order)


def test_few_canvases_for_coco(tiny_coco):
    config = DataConfig(data_dir=str(tiny_coco))
    counts = canvas_counts(load_dataset(config, "train"), Preprocessing())
    assert sum(counts.values()) == 50 and len(counts) <= 9
    assert all(min(canvas) == 800 and max(canvas) <= 1344 for canvas in counts)
