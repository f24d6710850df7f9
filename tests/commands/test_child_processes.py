"""Child processes end with the one that started them, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import keras_retinanet
from keras_retinanet.config.files import load_config, save_config

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(keras_retinanet.__file__).parents[1])}
ENDS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}
# Two children that never end by themselves.
SCRIPT = """
import multiprocessing, sys, time
from argparse import Namespace
from keras_retinanet import cli
from keras_retinanet.processes import child_processes

def work(reader, queue):
    child_processes.hold(reader)
    queue.put(1)
    time.sleep(600)

def run(args):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with child_processes.lifeline(context) as line:
        for _ in range(2):
            context.Process(target=work, args=(line.reader, queue)).start()
        queue.get(), queue.get()
        print("started", flush=True)
        if sys.argv[1] == "fail":
            raise RuntimeError
        time.sleep(600)

if __name__ == "__main__":
    sys.exit(cli.run(Namespace(run=run)))
"""


def until(condition, seconds: float = 300):
    """Wait until `condition()` is true, and return what it gives."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return value


def session(pid: int) -> list[int]:
    """The processes alive of the session that `pid` began."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == pid:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found += [int(entry.name)] * (state != "Z")
        except OSError:  # it has just ended
            continue
    return found


@pytest.fixture
def start():
    """Starts Python in a session of its own, of which nothing is left after a test that fails."""
    started: list[subprocess.Popen] = []

    def start(*words) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        for pid in session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "parent.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.long
@pytest.mark.parametrize("number", ENDS)
def test_children_end_with_a_signal_to_their_parent(script, start, number):
    process = start(script, "wait")
    assert process.stdout.readline() == b"started\n"
    assert len(session(process.pid)) >= 3
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode == ENDS[number]
    until(lambda: not session(process.pid))


@pytest.mark.long
def test_children_end_with_an_error(script, start):
    process = start(script, "fail")
    process.communicate(timeout=60)
    assert process.returncode == 1
    until(lambda: not session(process.pid))


# ------------------------------------------------------------------------------ the real commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run to evaluate, and its scenes as COCO to convert."""
    from test_evaluate_command import OVERRIDES

    from keras_retinanet.data.loading import load_dataset
    from keras_retinanet.data.writers import write_dataset
    from keras_retinanet.modeling.retinanet import RetinaNet
    from keras_retinanet.modeling.saving import save_model

    folder = tmp_path_factory.mktemp("work")
    config = load_config("shapes", {**OVERRIDES, "data.shapes_val": 300, "data.shapes_train": 40})
    dataset = load_dataset(config.data, "val")
    save_model(RetinaNet(config.model, dataset.class_names), folder / "run" / "best.keras")
    save_config(config, folder / "run" / "config.yaml")
    write_dataset({"train": dataset}, folder / "coco", "coco")
    return folder


def words_of(command: str, folder: Path, out: Path) -> list:
    if command == "evaluate":
        return ["evaluate", "--model", folder / "run", "--out", out / "f.json", "--workers", 2]
    return ["dataset", "convert", folder / "coco", out / "d", "--to", "tfrecord", "--workers", 2,
            "--shards", 100]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize("command", ["evaluate", "convert"])
def test_a_command_with_workers_leaves_no_process_and_no_half_written_file(
    command, number, folder, start, tmp_path
):
    process = start("-m", "keras_retinanet", *words_of(command, folder, tmp_path))

    def is_under_way() -> bool:
        assert process.poll() is None, process.stderr.read()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        # Lines are written, or shards: the workers are at work.
        return any(
            "-of-" in path.name or (path.suffix == ".jsonl" and path.stat().st_size > 1000)
            for path in files
        )

    until(is_under_way)
    os.kill(process.pid, number)
    process.communicate(timeout=120)
    assert process.returncode == ENDS[number]
    until(lambda: not session(process.pid))
    left = {path.name for path in tmp_path.iterdir()}
    if command == "evaluate":
        assert left - {".f.json.partial.jsonl.lock"} == {"f.json.partial.jsonl"}
    elif number != signal.SIGKILL:
        assert left == set()
    again = start("-m", "keras_retinanet", *words_of(command, folder, tmp_path))
    printed, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    if command == "evaluate":
        assert b"Resuming after" in printed
    # What the killed one had left behind is gone.
    assert {path.name for path in tmp_path.iterdir()} in ({"f.json"}, {"d"})
