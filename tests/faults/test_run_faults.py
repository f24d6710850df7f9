"""What happens to the folder, disk, clock and data of a run while it trains.

Each fault ends the run with one line or is survived, and after a fault that ended it the run
resumes and ends as one that nothing happened to.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from functools import partial

import keras
import pytest
from equal_runs import assert_equal_runs
from faults.small_sets import write_tfrecord
from faults.table import flip
from kills import left_behind, unreadable_states
from tiny_command import SETTINGS, TINY, tiny

from keras_retinanet import files
from keras_retinanet.config.files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.processes.signals import Terminated
from keras_retinanet.training.run import train
from keras_retinanet.training.run_folder import stored_config
from keras_retinanet.training.run_state import saved_states, saved_steps

pytestmark = pytest.mark.slow

# Between the states of the steps 3 and 6.
FAULT_STEP = 5
DISK = "16m"
DAY = 86_400


class At(keras.callbacks.Callback):
    """Call something after a step."""

    def __init__(self, actions):
        super().__init__()
        self.actions = actions

    def on_train_batch_end(self, batch, logs=None):
        self.actions.get(batch + 1, lambda: None)()


def go(out, actions=None, **settings):
    """Begin the run; after each step of `actions` its action is called."""
    # Without evaluations, which test_kills.py has: most of the time of such a run.
    fixed = {"data.val_split": "none", "train.keep_states": 3}
    config = load_config("shapes", {**SETTINGS, **fixed, **settings})
    return train(config, out, callbacks=[At(actions or {})])


def resume(out):
    return train(stored_config(out), out, resume=True)


@pytest.fixture(scope="module", autouse=True)
def _tiny_backbone():
    BACKBONES[TINY] = tiny
    yield
    del BACKBONES[TINY]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A run that nothing happened to."""
    out = tmp_path_factory.mktemp("runs") / "base"
    go(out)
    return out


def unmount(folder):
    subprocess.run(["umount", "--lazy", folder], capture_output=True, check=False)


@pytest.fixture
def mount():
    """Mount something over a folder until the end of the test, or skip where nobody may."""
    with contextlib.ExitStack() as mounted:

        def mount(*words, on):
            try:
                subprocess.run(["mount", *words, on], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"needs the right to mount: {getattr(error, 'stderr', error)}")
            mounted.callback(unmount, on)

        yield mount


def assert_resumes(out, base, step, printed):
    """The fault left the states before it; from the newest the run ends as it would have."""
    assert unreadable_states(out) == [] and left_behind(out) == []
    assert saved_steps(out)[0] == step
    printed.readouterr()
    resume(out)
    assert f"resuming at step {step}\n" in printed.readouterr().out
    assert_equal_runs(out, base)


def test_full_disk(base, tmp_path, mount, capsys):
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", on=place)
    filler = place / "filler"

    def fill():
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as stream:
            while True:
                stream.write(bytes(1024))

    with pytest.raises(UserError, match=r"Received: a full disk.* continues at step 3"):
        go(place / "run", {FAULT_STEP: fill})
    filler.unlink()
    assert_resumes(place / "run", base, 3, capsys)


def test_folder_becomes_read_only(base, tmp_path, mount, capsys):
    out = tmp_path / "run"

    def lock():
        mount("--bind", out, on=out)
        mount("-o", "remount,ro,bind", on=out)

    with pytest.raises(UserError, match=r"Expected to write to .*Read-only.* continues at step 3"):
        go(out, {FAULT_STEP: lock})
    unmount(out)
    assert_resumes(out, base, 3, capsys)


def test_folder_is_gone(base, tmp_path, capsys):
    out, elsewhere = tmp_path / "run", tmp_path / "moved"
    with pytest.raises(UserError, match="Received: no such folder any more"):
        go(out, {FAULT_STEP: partial(out.rename, elsewhere)})
    assert not out.exists()  # nor was it made again
    elsewhere.rename(out)
    assert_resumes(out, base, 3, capsys)


def test_states_cut_off_and_with_a_flipped_bit(base, tmp_path, capsys):
    out = shutil.copytree(base, tmp_path / "run")
    states = saved_states(out)
    assert [*states] == [12, 9, 6]
    os.truncate(states[12], 100_000)
    content = bytearray(states[9].read_bytes())
    content[200_000] ^= 1
    states[9].write_bytes(content)
    resume(out)
    printed = capsys.readouterr().out
    for step in (12, 9):
        assert printed.count(f"the state of step {step} is damaged") == 1
    assert "that of 6 is used" in printed and "resuming at step 6\n" in printed
    assert_equal_runs(out, base)


def test_clock_set_back(base, tmp_path, monkeypatch, capsys):
    out, real = tmp_path / "run", time.time

    def jump():
        monkeypatch.setattr(time, "time", lambda: real() - DAY)

    with pytest.raises(Terminated):
        go(out, {FAULT_STEP: jump, 7: partial(signal.raise_signal, signal.SIGTERM)})
    for step, path in saved_states(out).items():
        os.utime(path, (real() - step * DAY,) * 2)  # the newest looks like the oldest
    assert_resumes(out, base, 7, capsys)


def test_slow_disk(base, tmp_path, monkeypatch, capsys):
    """Signals that come while a state is being written wait for its end."""
    out, real, steps = tmp_path / "run", files.sync, []

    def slow(path):
        if not steps and saved_steps(out) == [0]:
            steps.append(3)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
                signal.raise_signal(number)
        real(path)

    def begins():
        monkeypatch.setattr(files, "sync", slow)

    with pytest.raises(Terminated):
        go(out, {3: begins})
    assert steps == [3] and saved_steps(out) == [4, 3, 0]
    assert_resumes(out, base, 4, capsys)


def test_damaged_record(tmp_path, capsys):
    folder = tmp_path / "set"
    flip(folder, write_tfrecord(folder))
    data = {"data.source": "tfrecord", "data.data_dir": str(folder)}
    result = go(tmp_path / "run", **data, **{"train.batch_size": 2, "train.steps": 1})
    assert result["steps"] == 8
    assert "damaged record, skipped: 1" in capsys.readouterr().out
    assert saved_steps(tmp_path / "run")[0] == 8
