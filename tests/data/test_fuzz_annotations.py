"""Fuzzing: whatever an annotation file holds, reading it ends in a data set or a clear error.

By default a fiftieth runs; `pytest -m fuzz` runs all 100,000.
"""

import gc
import random

import numpy as np
import psutil
import pytest
from faults.alarm import alarm
from faults.mutations import MUTATIONS
from faults.small_sets import SETS, config_of, example, write_shard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_retinanet.data.loading import SOURCES
from keras_retinanet.data.problems import KINDS
from keras_retinanet.errors import UserError

# Mutants of each source in the full run: 100,000 and more together. Shards are slow to write.
MUTANTS = {"coco": 40_000, "voc": 20_000, "csv": 12_000, "yolo": 10_000, "kitti": 10_000,
           "openimages": 6_000, "tfrecord": 3_000}  # fmt: skip
FRACTION = 50
# Mutants of one draw of hypothesis, whose own work would otherwise take longer than the reading.
PER_DRAW = 20
# Far above what the interpreter keeps for reuse; a leak of 10 kB a mutant would pass it.
MAX_GROWTH = 200 << 20
SECONDS = 60


def check_dataset(dataset) -> None:
    """Asserts what every later part relies on."""
    assert len(dataset.class_names) == len(dataset.class_ids)
    for record in dataset.records:
        count = len(record.boxes)
        assert record.boxes.shape == (count, 4) and record.boxes.dtype == np.float32
        assert len(record.classes) == len(record.ignore) == len(record.areas) == count
        assert np.isfinite(record.boxes).all() and np.isfinite(record.areas).all()
        assert (record.boxes[:, 2:] > record.boxes[:, :2]).all()
        assert ((record.classes >= 0) & (record.classes < len(dataset.class_names))).all()
        assert 0 < record.height < 1 << 31 and 0 < record.width < 1 << 31
        assert record.file_name is not None
    for kind, what in dataset.problems.items():
        assert kind in KINDS and all(isinstance(name, str) for name in what)
    # Whatever a file calls things, it can be printed.
    "\n".join([*dataset.problems.lines(), *dataset.class_names]).encode()


def check_mutant(config, content: bytes) -> None:
    """Reads a set whose annotation file holds `content`, and checks how that ends."""
    try:
        with alarm(SECONDS):
            check_dataset(read(config))
    except UserError as error:
        message = str(error)
        message.encode()
        if "Received" not in message or "\n" in message:
            raise AssertionError(f"{config.source}: {message!r}, {content!r}") from error
    except Exception as error:
        raise AssertionError(f"{config.source}: {content!r}") from error


def read(config):
    source = SOURCES[config.source]
    names = source.splits(config)
    return source.load(config, names[0] if names else None)


def write_mutant(source: str, path, sound: bytes, rng: random.Random) -> bytes:
    content = rng.choice(MUTATIONS[source])(sound, rng)
    if source == "tfrecord" and rng.random() < 0.8:
        # One damaged Example in a sound shard; else the shard itself is damaged.
        content = MUTATIONS[source][0](example("a.png"), rng)
        write_shard(path, [content, example("b.png")])
    else:
        path.write_bytes(content)
    return content


@pytest.mark.long
@pytest.mark.parametrize(
    "share",
    [
        pytest.param(FRACTION, id="fiftieth"),
        pytest.param(1, id="all", marks=[pytest.mark.fuzz, pytest.mark.slow]),
    ],
)
@pytest.mark.parametrize("source", MUTATIONS)
def test_mutated_annotations_end_in_a_data_set_or_a_clear_error(source, share, tmp_path):
    path = SETS[source](tmp_path)
    config, sound = config_of(source, tmp_path), path.read_bytes()
    dataset = read(config)
    check_dataset(dataset)
    assert sum(len(record.boxes) for record in dataset.records) >= 3 and not dataset.problems
    process, used = psutil.Process(), []
    draws = -(-MUTANTS[source] // (share * PER_DRAW))

    @settings(
        max_examples=draws,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**63))
    def run(seed):
        rng = random.Random(seed)
        for _ in range(PER_DRAW):
            check_mutant(config, write_mutant(source, path, sound, rng))
        used.append(process.memory_info().rss)

    run()
    assert len(used) >= draws
    gc.collect()
    # The first tenth warms the caches up.
    assert process.memory_info().rss - used[len(used) // 10] < MAX_GROWTH
