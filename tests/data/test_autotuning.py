"""No iterator of the package has a thread that autotunes: its end would wait for that thread."""

import pytest
import tensorflow as tf
from tensorflow.python.data.ops.iterator_ops import OwnedIterator

from keras_retinanet.config import DataConfig
from keras_retinanet.data import load
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.pipeline.batches import evaluation_dataset
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.sources.shards import read_records
from keras_retinanet.modeling.preprocessing import Preprocessing


@pytest.fixture
def autotuned(monkeypatch):
    """Return a list that receives of each iterator whether its dataset is autotuned."""
    seen = []
    create = OwnedIterator._create_iterator

    def note(self, dataset):
        seen.append(dataset.options().autotune.enabled is not False)
        return create(self, dataset)

    monkeypatch.setattr(OwnedIterator, "_create_iterator", note)
    return seen


def test_batches_of_a_training(autotuned, bccd):
    next(iter(load(bccd, batch_size=1)))
    assert autotuned == [False]


def test_inputs_of_an_evaluation(autotuned, bccd):
    config = DataConfig(source="voc", data_dir=str(bccd))
    dataset = load_dataset(config, "val", seed=0)
    next(iter(evaluation_dataset(dataset, Preprocessing(), batch_size=1)))
    assert autotuned == [False]


def test_records_of_a_shard(autotuned, tmp_path):
    path = str(tmp_path / "shard")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(b"one")
    assert [content for _, content in read_records(path, Problems())] == [b"one"]
    assert autotuned == [False]


def test_the_iterators_of_others_are_seen(autotuned):
    next(iter(tf.data.Dataset.range(1)))
    assert autotuned == [True]
