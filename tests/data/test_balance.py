"""Class-balanced sampling: factors by hand, frequencies over many epochs, the plan that uses it."""

import itertools
from collections import Counter

import numpy as np
import pytest

from keras_retinanet.config import AugmentConfig, DataConfig
from keras_retinanet.data.pipeline.balance import draw_epoch, images_per_pass, repeat_factors
from keras_retinanet.data.pipeline.batches import training_batches, training_plan
from keras_retinanet.data.pipeline.plan import batches
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.modeling.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(short_side=64, long_side=128)
CAT, DOG, OWL = range(3)
BOX = (5, 5, 40, 40)


def dataset(contents, sizes=((60, 60),)):
    """Return images of these (class, ignored) boxes, of `sizes` in turn."""
    records = [
        make_record(
            number,
            ImageRef(""),
            size,
            file_name=f"{number}",
            objects=[(BOX, class_id, ignore, None) for class_id, ignore in content],
            problems={},
        )
        for number, (content, size) in enumerate(zip(contents, itertools.cycle(sizes)))
    ]
    return Dataset("set", "train", ["cat", "dog", "owl"], [1, 2, 3], records)


# Cats in 8 of 10 images, dogs in 2, owls in 1 (and ignored in another).
TEN = [
    *[[(CAT, False)]] * 6,
    [(CAT, False), (CAT, False), (DOG, False)],
    [(CAT, False), (OWL, True)],
    [(DOG, False), (OWL, False)],
    [],
]
# At a threshold of .4: cats sqrt(.4 / .8) < 1, dogs sqrt(.4 / .2), owls sqrt(.4 / .1) = 2.
FACTORS = [1.0] * 6 + [np.sqrt(2), 1.0, 2.0, 1.0]


def taken(plan, count):
    return list(itertools.islice(plan, count))


def assert_same_plan(left, right):
    for one, other in zip(left, right, strict=True):
        assert one.canvas == other.canvas
        for name in ("indices", "seeds", "partners", "sizes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_factors_by_hand():
    np.testing.assert_allclose(repeat_factors(dataset(TEN), 0.4), FACTORS, rtol=1e-12)
    assert images_per_pass(dataset(TEN), 0.4) == 11  # 8 + 1.414 + 2
    np.testing.assert_array_equal(repeat_factors(dataset(TEN), 0.1), np.ones(10))
    np.testing.assert_array_equal(repeat_factors(dataset(TEN), 0.0), np.ones(10))


def test_images_without_boxes_are_drawn_once():
    np.testing.assert_array_equal(repeat_factors(dataset([[], [(CAT, True)]]), 1.0), [1, 1])


def test_an_epoch_draws_each_image_as_often_as_its_factor_or_once_more():
    factors, epochs = np.array([1.0, 1.25, 2.0, 3.5]), 4000
    drawn = [np.bincount(draw_epoch(factors, 7, epoch), minlength=4) for epoch in range(epochs)]
    assert (np.floor(factors) <= drawn).all() and (drawn <= np.ceil(factors)).all()
    # Five standard deviations of a share of 4,000 draws.
    np.testing.assert_allclose(np.mean(drawn, axis=0), factors, atol=5 * 0.5 / np.sqrt(epochs))
    assert len({tuple(counts) for counts in drawn}) == 4


def test_long_run_frequencies_in_the_plan_are_the_factors():
    epochs = 1500
    plan = batches(dataset(TEN), PREPROCESSING, batch_size=4, seed=3, balance=0.4)
    found = taken(plan, round(epochs * sum(FACTORS) / 4))
    counts = np.bincount(np.concatenate([batch.indices for batch in found]), minlength=10)
    np.testing.assert_allclose(counts / epochs, FACTORS, rtol=0.03)
    # What is mixed with an image is balanced too.
    partners = np.bincount(np.concatenate([batch.partners.ravel() for batch in found]))
    np.testing.assert_allclose(partners / partners.mean(), np.divide(FACTORS, 1.1414), rtol=0.06)


def test_off_it_is_the_plan_of_earlier_versions():
    """Each record once an epoch, by NumPy's permutation of the stream [seed, epoch]."""
    found = taken(batches(dataset(TEN), PREPROCESSING, batch_size=10, seed=5), 3)
    for epoch, batch in enumerate(found):
        random = np.random.default_rng([5, epoch])
        np.testing.assert_array_equal(batch.indices, random.permutation(10))
        seeds = random.integers(2**31 - 1, size=(10, 2), dtype=np.int32)
        np.testing.assert_array_equal(batch.seeds, seeds)
        partners = random.integers(10, size=(10, 3), dtype=np.int32)
        np.testing.assert_array_equal(batch.partners, partners)
    # A threshold below every class changes nothing either.
    low = taken(batches(dataset(TEN), PREPROCESSING, batch_size=10, seed=5, balance=0.1), 3)
    assert_same_plan(found, low)


@pytest.mark.parametrize("start", [0, 1, 5, 40])
def test_resumed_plan_goes_on_exactly(start):
    data = dataset(TEN, sizes=[(60, 60), (60, 90)])
    options = {"batch_size": 3, "seed": 2, "short_sides": (48, 64), "balance": 0.4}
    whole = taken(batches(data, PREPROCESSING, **options), 60)
    resumed = taken(batches(data, PREPROCESSING, **options, start_step=start), 15)
    assert_same_plan(whole[start : start + 15], resumed)
    other = taken(batches(data, PREPROCESSING, **{**options, "seed": 3}), 60)
    assert any((one.indices != two.indices).any() for one, two in zip(whole, other, strict=True))


def test_the_option_reaches_the_training_and_the_length_of_an_epoch():
    config = DataConfig(balance=0.4, augment=AugmentConfig(short_sides=(48, 64)))
    options = {"data_config": config, "batch_size": 5, "seed": 0}
    planned = taken(training_plan(dataset(TEN), PREPROCESSING, **options), 20)
    expected = batches(
        dataset(TEN), PREPROCESSING, batch_size=5, seed=0, short_sides=(48, 64), balance=0.4
    )
    assert_same_plan(planned, taken(expected, 20))
    counts = Counter(np.concatenate([batch.indices for batch in planned]).tolist())
    assert counts[8] > 1.5 * counts[0]
    # 11 images a pass: 2 batches of 5, where 10 images without balance fill 10 batches of 1.
    epoch = training_batches(dataset(TEN), PREPROCESSING, **options, epochs=True)
    assert len(epoch) == 2
    single = {**options, "batch_size": 1}
    assert len(training_batches(dataset(TEN), PREPROCESSING, **single, epochs=True)) == 11
