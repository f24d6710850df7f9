"""Locks that end with their process, and temporary files of processes that were killed."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_write, owners, temporary_path
from keras_retinanet.files.owners import folder_lock, remove_leftovers, temporary_name

PACKAGE = Path(owners.__file__).parents[1]
HOLD = """
import sys
from keras_retinanet.files.owners import folder_lock
with folder_lock(sys.argv[1], purpose="train"):
    print("held", flush=True)
    sys.stdin.read()
"""
WRITE = """
import sys
from pathlib import Path
from keras_retinanet.files import temporary_folder, temporary_path
with temporary_path(sys.argv[1], ".keras") as file, temporary_folder(Path(sys.argv[1], "out")) as f:
    file.write_text("half")
    (f / "part").write_text("half")
    print("written", flush=True)
    sys.stdin.read()
"""


def start(script: str, folder: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        text=True,
    )
    assert process.stdout.readline()
    return process


def kill(process: subprocess.Popen) -> None:
    process.kill()
    process.wait(timeout=20)
    process.stdin.close()
    process.stdout.close()


def take(folder: Path, purpose: str = "train") -> None:
    with folder_lock(folder, purpose=purpose):
        pass


@pytest.fixture
def no_locks(monkeypatch):
    """Leaves the file system without locks of the system."""

    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(owners.fcntl, "flock", flock)


# ---------------------------------------------------------------------------------------- locks


def test_a_held_folder_names_its_process_and_is_free_at_its_end(tmp_path):
    process = start(HOLD, tmp_path / "run")
    holder = rf"Received: {tmp_path / 'run'}, which process {process.pid} on \S+ is using since 2"
    with pytest.raises(UserError, match=holder):
        take(tmp_path / "run")
    take(tmp_path / "run", "evaluate")  # another purpose is another lock
    process.communicate("", timeout=20)
    take(tmp_path / "run")
    assert os.listdir(tmp_path / "run") == []


def test_a_killed_process_holds_nothing(tmp_path):
    process = start(HOLD, tmp_path)
    kill(process)
    assert os.listdir(tmp_path) == [".train.lock"]
    take(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_process_cannot_hold_a_folder_twice(tmp_path):
    with folder_lock(tmp_path, purpose="train"):
        with pytest.raises(UserError, match=f"process {os.getpid()} on"):
            take(tmp_path)
        assert os.listdir(tmp_path) == [".train.lock"]  # the refused one removed nothing


def test_a_block_that_raises_lets_go(tmp_path):
    with pytest.raises(KeyboardInterrupt), folder_lock(tmp_path, purpose="train"):
        raise KeyboardInterrupt
    take(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "\x00" * 9])
def test_a_file_that_is_no_lock_of_ours_does_not_hold(tmp_path, content):
    (tmp_path / ".train.lock").write_text(content)
    take(tmp_path)


def test_of_many_that_come_at_once_one_gets_it(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
            text=True,
        )
        for _ in range(6)
    ]
    first_words = [process.stdout.readline() for process in processes]
    for process in processes:
        process.communicate("", timeout=20)
    assert sorted(first_words) == [""] * 5 + ["held\n"]


def test_without_locks_of_the_system_the_file_counts(tmp_path, no_locks):
    holder = rf"process {os.getpid()} on .* delete .*train.lock"
    with folder_lock(tmp_path, purpose="train"), pytest.raises(UserError, match=holder):
        take(tmp_path)
    take(tmp_path)
    kill(start(HOLD, tmp_path))
    take(tmp_path)


@pytest.mark.parametrize("change", [{"start": 1}, {"machine": "0" * 8}])
def test_without_locks_a_process_is_known_by_its_start_and_machine(tmp_path, no_locks, change):
    with folder_lock(tmp_path, purpose="train"):
        owner = json.loads((tmp_path / ".train.lock").read_text())
    (tmp_path / ".train.lock").write_text(json.dumps({**owner, **change}))
    if "start" in change:  # the number is this process's, but it was another one that started then
        take(tmp_path)
    else:
        with pytest.raises(UserError, match="delete"):
            take(tmp_path)


# ------------------------------------------------------------------------------ temporary files


def test_the_next_who_writes_removes_what_a_killed_process_left(tmp_path):
    process = start(WRITE, tmp_path)
    assert len(os.listdir(tmp_path)) == 2
    (tmp_path / "mine").write_text("")
    with temporary_path(tmp_path) as other:
        other.write_text("")
        with atomic_write(tmp_path / "written") as stream:
            stream.write("")
        assert len(os.listdir(tmp_path)) == 5  # of living processes: they stay
    kill(process)
    with atomic_write(tmp_path / "written") as stream:
        stream.write("")
    assert sorted(os.listdir(tmp_path)) == ["mine", "written"]


def test_what_a_stranger_named_stays(tmp_path):
    names = [".tmp-mine", ".tmp-0123-4-5-6", ".hidden", "tmp-01234567-4-5-6", ".tmp-01234567-1-2-z"]
    for name in names:
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_of_another_machine_only_what_nobody_writes_to_any_more_goes(tmp_path):
    folder = tmp_path / f".tmp-{'0' * 8}-1-1-ab.keras"
    (folder / "inner").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert folder.exists()
    long_ago = folder.stat().st_mtime - 2 * owners.ABANDONED_SECONDS
    os.utime(folder, (long_ago, long_ago))
    remove_leftovers(tmp_path)
    assert folder.exists()  # something in it is new
    os.utime(folder / "inner", (long_ago, long_ago))
    remove_leftovers(tmp_path)
    assert not folder.exists()


def test_a_leftover_that_is_a_link_goes_without_what_it_points_to(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("")
    dead = start(HOLD, tmp_path / "lock")
    kill(dead)
    link = temporary_name().replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    (tmp_path / link).symlink_to(tmp_path / "precious")
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["lock", "precious"]
    assert (tmp_path / "precious" / "file").exists()
