"""TensorBoard's files, read back by TensorBoard."""

import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as PageAccumulator,
)
from tensorboard.plugins.pr_curve import metadata as pr_curve

from keras_retinanet.evaluation.metrics.curves import THRESHOLDS, OperatingPoints
from keras_retinanet.training.event_log import EventLog, curve_table


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def values(events, tag):
    return {e.step: tf.make_ndarray(e.tensor_proto) for e in events.Tensors(tag)}


def points():
    """Four boxes of class 0, two of them found at .9 and .3, and a wrong one at .5; none of 1."""
    right, wrong = np.zeros((2, 2, len(THRESHOLDS)), int)
    right[0], wrong[0] = (THRESHOLDS <= 0.9) * 1 + (THRESHOLDS <= 0.3), THRESHOLDS <= 0.5
    return OperatingPoints(np.array([4, 0]), right, wrong)


def test_curve_table_counts_by_hand():
    table = curve_table(points().right[0], points().wrong[0], 4)
    assert table.dtype == np.float32
    #                                                 right wrong -  missed precision recall
    np.testing.assert_allclose(table[:, 0], np.float32([2, 1, 0, 2, 2 / 3, 0.5]))
    np.testing.assert_allclose(table[:, 40], np.float32([1, 1, 0, 3, 0.5, 0.25]))
    np.testing.assert_allclose(table[:, 80], np.float32([1, 0, 0, 3, 1, 0.25]))
    np.testing.assert_allclose(table[:, 100], np.float32([0, 0, 0, 4, 0, 0]))


@pytest.fixture
def written(tmp_path):
    log = EventLog(tmp_path / "events", step=0)
    log.scalars({"validation/AP": 0.25, "training/loss": 1.5}, 3)
    log.precision_recall(points(), ["cat", "dog"], 3)
    picture = np.full((40, 60, 3), (200, 30, 30), np.uint8)
    log.picture("pictures/a.png", picture, 3, description="left: truth")
    log.flush()
    return tmp_path / "events"


def test_scalars(written):
    events = read(written)
    assert values(events, "validation/AP") == {3: 0.25}
    assert values(events, "training/loss") == {3: 1.5}
    assert events.SummaryMetadata("validation/AP").plugin_data.plugin_name == "scalars"


def test_precision_recall_curves(written):
    events = read(written)
    tags = events.PluginTagToContent("pr_curves")
    # No box of dog is there to find.
    assert set(tags) == {"precision_recall/all classes", "precision_recall/cat"}
    content = pr_curve.parse_plugin_metadata(tags["precision_recall/cat"])
    assert content.num_thresholds == len(THRESHOLDS)
    for tag in tags:
        table = values(events, tag)[3]
        assert table.shape == (6, len(THRESHOLDS))
        np.testing.assert_allclose(table[pr_curve.RECALL_INDEX, 0], 0.5)
        np.testing.assert_allclose(table[pr_curve.PRECISION_INDEX, 80], 1)


# 2026-11: TensorBoard 2.21's own copy of bleach.
@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated:DeprecationWarning")
def test_tensorboard_serves_the_curves(written):
    """What the page asks for, from TensorBoard's own plugin."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.pr_curve.pr_curves_plugin import PrCurvesPlugin

    multiplexer = EventMultiplexer(tensor_size_guidance={"pr_curves": 0}).AddRunsFromDirectory(
        str(written.parent)
    )
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(written.parent))
    plugin = PrCurvesPlugin(TBContext(data_provider=provider, multiplexer=multiplexer))
    answer = plugin.pr_curves_impl(RequestContext(), "", ["events"], "precision_recall/cat")
    (curve,) = answer["events"]
    assert curve["step"] == 3
    # It stops where nothing is detected any more.
    assert len(curve["thresholds"]) == 91
    assert curve["thresholds"][-1] == pytest.approx(0.9)
    assert curve["precision"][-1] == 1
    assert curve["recall"][0] == 0.5


def test_pictures(written):
    events = read(written)
    metadata = events.SummaryMetadata("pictures/a.png")
    assert metadata.plugin_data.plugin_name == "images"
    assert metadata.summary_description == "left: truth"
    width, height, encoded = values(events, "pictures/a.png")[3]
    assert (width, height) == (b"60", b"40")
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.size == (60, 40)
        np.testing.assert_allclose(np.asarray(image)[20, 30], (200, 30, 30), atol=4)


def test_what_a_killed_run_wrote_past_its_state_is_void(tmp_path):
    folder = tmp_path / "events"
    for begin, factor in ((0, 1), (4, 10)):
        log = EventLog(folder, step=begin)
        for step in range(begin + 1, begin + 8):
            log.scalars({"loss": factor * step}, step)
        log.flush()
        if begin == 0:
            # Files are read in the order of the second in their names; runs are seconds apart.
            for file in list(folder.iterdir()):
                file.rename(folder / re.sub(r"\d{10}", "0000000000", file.name, count=1))
    # The one behind TensorBoard's page; the other one keeps what is void.
    page = PageAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    losses = [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in page.Tensors("loss")]
    expected = [(step, step) for step in range(1, 5)] + [(s, 10 * s) for s in range(5, 12)]
    assert losses == expected
