"""The end of a run without mixing: the switch is in the plan, so that a resumed run has it too."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

import keras_retinanet
from keras_retinanet.config import AugmentConfig, DataConfig, TrainConfig
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.plan import batches
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.training.run_state import Clock

PREPROCESSING = Preprocessing(short_side=32, long_side=32)
MIXED = {"mosaic": 1.0, "mixup": 0.5}
STEPS, CLOSE = 10, 0.3


def dataset(count=5):
    """Return images of 32 pixels, each of its own gray level, with one box."""

    def encoded(image):
        stream = io.BytesIO()
        Image.new("RGB", (32, 32), (40 * image.offset + 20,) * 3).save(stream, "PNG")
        return stream.getvalue()

    records = [
        make_record(
            number,
            ImageRef("drawn", number),
            (32, 32),
            file_name=f"{number}",
            objects=[((4, 4, 20 + number, 28), 0, False, None)],
            problems={},
        )
        for number in range(count)
    ]
    return Dataset("set", "train", ["cat"], [1], records, reader=encoded)


def taken(count, *, start_step=0, progress=lambda step: step / STEPS, **augment):
    config = DataConfig(augment=AugmentConfig(**augment), max_boxes=8)
    found = training_batches(
        dataset(),
        PREPROCESSING,
        data_config=config,
        batch_size=2,
        seed=1,
        start_step=start_step,
        progress=progress,
    )
    return list(itertools.islice(found.as_numpy_iterator(), count))


def assert_same(left, right):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        for name in ("boxes", "classes", "ignore"):
            np.testing.assert_array_equal(one[1][name], other[1][name])


@pytest.fixture(scope="module")
def mixed():
    return taken(STEPS, **MIXED)


@pytest.fixture(scope="module")
def plain():
    return taken(STEPS)


@pytest.mark.long
def test_before_the_close_all_is_as_without_the_option_after_it_as_without_mixing(mixed, plain):
    found = taken(STEPS, **MIXED, close_mosaic=CLOSE)
    assert_same(found[:7], mixed[:7])
    assert_same(found[7:], plain[7:])
    # Four boxes each, so that the two ways differ in every step.
    assert all((labels["classes"] >= 0).sum() >= 8 for _, labels in mixed)
    assert all((labels["classes"] >= 0).sum() == 2 for _, labels in plain)


@pytest.mark.long
def test_a_resumed_run_closes_at_the_same_step(mixed, plain):
    resumed = taken(STEPS - 5, start_step=5, **MIXED, close_mosaic=CLOSE)
    assert_same(resumed, [*mixed[5:7], *plain[7:]])


@pytest.mark.long
def test_zero_mixes_to_the_very_end(mixed):
    assert_same(taken(2, **MIXED, progress=lambda step: 1.0), mixed[:2])


def test_the_plan_asks_once_for_each_batch_when_it_is_drawn():
    asked = []
    plan = batches(
        dataset(),
        PREPROCESSING,
        batch_size=2,
        seed=0,
        start_step=3,
        may_mix=lambda step: asked.append(step) or step < 5,
    )
    assert [batch.may_mix for batch in itertools.islice(plan, 4)] == [True, True, False, False]
    assert asked == [3, 4, 5, 6]


@pytest.mark.long
def test_a_run_limited_in_minutes_closes_by_its_clock(mixed, plain):
    train = TrainConfig(minutes=10, steps=STEPS, batch_size=16)
    clock = Clock(train, earlier_seconds=60 * 6.9)
    assert 0.69 <= clock.progress_at(0) < 0.7
    # Steps count too, where they are further on; and the clock of a resumed run goes on.
    assert clock.progress_at(8) == 0.8
    assert Clock(train, earlier_seconds=60 * 7.1).progress_at(0) >= 0.71
    clock.step = 9
    assert clock.progress == clock.progress_at(9) == 0.9

    now = [0.69, 0.69, 0.71, 0.72]
    found = taken(4, **MIXED, close_mosaic=CLOSE, progress=lambda step: now[min(step, 3)])
    assert_same(found, [*mixed[:2], *plain[2:4]])


def test_batches_for_fit_have_no_end_to_close(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("a.png,4,4,20,28,cat\n")
    with pytest.raises(UserError, match=r"Expected close_mosaic=0.*Received: close_mosaic=0\.1"):
        keras_retinanet.data.load(tmp_path, "all", augment=AugmentConfig(close_mosaic=0.1))
