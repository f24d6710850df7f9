"""The upload folder of `ui`: gone however its process ends."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from ui_server import DEADLINE, ROOT, start, upload_folders, wait_for


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_the_folder_goes_however_the_command_ends(name, tmp_path):
    """Before any model is loaded, which takes the longest."""
    (tmp_path / "model.keras").write_bytes(b"")
    server = start(["--model", str(tmp_path / "model.keras")], tmp_path)
    try:
        wait_for(lambda: upload_folders(tmp_path))
        (folder,) = upload_folders(tmp_path)
        (folder / "dropped.png").write_bytes(b"x")
        server.send_signal(getattr(signal, name))
        assert server.wait(timeout=DEADLINE) != 2  # no error of the command itself
        wait_for(lambda: not folder.exists())
    finally:
        server.kill()
        server.communicate()


HOLD = """
import sys
from keras_retinanet.ui.uploads import upload_folder
with upload_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> tuple[subprocess.Popen, Path]:
    """Starts a process that has an upload folder in `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
    )
    return process, Path(process.stdout.readline().strip())


def test_a_start_removes_what_dead_starts_left_and_nothing_else(tmp_path):
    dead, other = tmp_path / "keras_retinanet_ui_dead", tmp_path / "other"
    for folder in (dead, other):
        folder.mkdir()
        (folder / "dropped.png").write_bytes(b"x")
    (tmp_path / "keras_retinanet_ui_link").symlink_to(other)
    (tmp_path / "keras_retinanet_ui_file").write_bytes(b"x")
    (first, living), (second, newer) = hold(tmp_path), hold(tmp_path)
    assert living.is_dir() and newer.is_dir() and not dead.exists()
    assert (other / "dropped.png").exists() and (tmp_path / "keras_retinanet_ui_file").exists()
    first.communicate()
    assert not living.exists() and newer.is_dir()  # by itself, before it ends
    second.kill()
    second.communicate()
    wait_for(lambda: not newer.exists())


KILLED = """
import os, signal
from pathlib import Path
from keras_retinanet.ui import uploads
make = Path.mkdir
def make_and_die(folder, **options):
    make(folder, **options)
    os.kill(os.getpid(), signal.SIGKILL)
Path.mkdir = make_and_die
print(os.getpid(), flush=True)
with uploads.upload_folder():
    print("not killed", flush=True)
"""


def test_a_kill_right_after_it_is_made_leaves_no_folder(tmp_path):
    command = [sys.executable, "-c", KILLED]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.returncode == -signal.SIGKILL and process.stdout.strip().isdigit()
    wait_for(lambda: not upload_folders(tmp_path))


def watchers(folder: Path) -> list[Path]:
    """Return the /proc folders of the processes that watch `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            if str(folder).encode() in path.read_bytes():
                found.append(path.parent)
    return found


def test_the_watcher_ends_with_its_process(tmp_path):
    process, folder = hold(tmp_path)
    try:
        wait_for(lambda: watchers(folder))  # for a moment after it starts it has no command line
        assert len(watchers(folder)) == 1
    finally:
        process.communicate()
    wait_for(lambda: not watchers(folder))
