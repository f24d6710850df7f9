"""Detection with Ray Data on this machine: every image once, also when an actor is killed."""

import builtins
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.checkpoints.built_in import default_model
from keras_retinanet.errors import UserError
from keras_retinanet.inference import ray_data
from keras_retinanet.inference.detector import Detector

IMAGES, BATCH = 24, 4


@pytest.fixture
def paths(tmp_path, rng) -> list[Path]:
    """Small images of blobs, and a file that is none."""
    files = [tmp_path / "images" / f"{number:02d}.png" for number in range(IMAGES)]
    files[0].parent.mkdir()
    for file in files[1:]:
        pixels = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 72), Image.Resampling.BICUBIC).save(file)
    files[0].write_bytes(b"no image")
    return files


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray", reason="the extra `ray`")
    # Its workers read this module by its content; they do not find the tests.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    # No report over the network; and Ray's niceness of 15 waits for all else that runs.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 << 20,
        logging_level="error",
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    yield ray
    ray.shutdown()


class Killed(ray_data.Actor):
    """An actor that is killed once, with its second batch detected and not handed over."""

    def __init__(self, model, threads, options):
        self.mark, self.calls = Path(options.pop("mark")), 0
        super().__init__(model, threads, options)

    def __call__(self, batch):
        table = super().__call__(batch)
        self.calls += 1
        if self.calls == 2 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return table


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_two_actors_of_which_one_is_killed_lose_and_double_nothing(
    ray, paths, tmp_path, monkeypatch
):
    from pyarrow import parquet

    monkeypatch.setattr(ray_data, "Actor", Killed)
    monkeypatch.setattr(ray_data, "RAY_BATCH", BATCH)
    model, mark = default_model().path, tmp_path / "killed"
    ray_data.detect_files(
        paths, model, tmp_path / "out", actors=2, mark=str(mark), batch_size=BATCH
    )
    assert mark.exists()

    table = parquet.read_table(tmp_path / "out").to_pylist()
    assert sorted(row["path"] for row in table) == [str(path) for path in paths]
    found = {row["path"]: row for row in table}
    wanted = Detector(model, batch_size=BATCH).rows(paths)
    assert sum(len(row["scores"]) for row in wanted) > IMAGES
    for path, row in zip(paths, wanted, strict=True):
        other = found[str(path)]
        assert (other["names"], other["error"]) == (row["names"], row["error"])
        assert (other["height"], other["width"]) == (row["height"], row["width"])
        np.testing.assert_allclose(other["scores"], row["scores"], atol=1e-5)
        np.testing.assert_allclose(
            np.reshape(other["boxes"], (-1, 4)), row["boxes"], atol=1e-2, rtol=0
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_bytes_that_ray_has_read(ray, paths):
    images = ray.data.read_binary_files([str(path) for path in paths[:3]], include_paths=True)
    model = default_model().path
    rows = ray_data.ray_detections(images, model, threshold=0.2).take_all()
    found = {row["path"]: row["scores"] for row in rows}
    wanted = Detector(model, threshold=0.2).rows(paths[:3])
    assert sorted(found) == [str(path) for path in paths[:3]]
    assert {"bytes"}.isdisjoint(rows[0]) and max(len(row["scores"]) for row in wanted) > 0
    for path, row in zip(paths, wanted, strict=False):
        np.testing.assert_allclose(found[str(path)], row["scores"], atol=1e-5)


def test_the_users_mistakes(tmp_path):
    pytest.importorskip("ray", reason="the extra `ray`")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes").touch()
    with pytest.raises(UserError, match="Received: none"):
        ray_data.detect_files([], "m.keras", tmp_path / "new")
    with pytest.raises(UserError, match="new or empty folder"):
        ray_data.detect_files(["a.jpg"], "m.keras", tmp_path / "out")


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without_ray(name, *args, **options):
        if name.partition(".")[0] == "ray":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(UserError, match=r"pip install 'ray\[data\]'"):
        ray_data.detect_files(["a.jpg"], "m.keras", "out")
