"""What a process says of itself: checked against git and the interpreter."""

import subprocess
import sys
from pathlib import Path

import pytest

from keras_retinanet.processes import machine
from keras_retinanet.version import __version__


def test_the_machine_and_versions_are_named():
    facts = machine.machine()
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["keras_retinanet"] == __version__
    assert facts["cores"] >= 1
    assert facts["memory GiB"] > 0
    assert facts["processor"]


def test_a_command_can_be_pasted_into_a_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/__main__.py", "train", "--data_dir", "my images"])
    assert machine.command() == "keras_retinanet train --data_dir 'my images'"


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone in which the package's file lies."""
    room = tmp_path / "keras_retinanet" / "processes"
    room.mkdir(parents=True)
    file = room / "machine.py"
    file.write_text("first")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr(machine, "__file__", str(file))
    return tmp_path


def test_the_commit_of_a_clone(clone):
    commit = git(clone, "rev-parse", "HEAD")
    assert machine.source_commit() == commit
    (clone / "notes.txt").write_text("beside the package")
    assert machine.source_commit() == commit
    (clone / "keras_retinanet" / "processes" / "machine.py").write_text("second")
    assert machine.source_commit() == f"{commit}+changes"


def test_a_package_below_somebodys_clone_has_no_commit(clone, monkeypatch):
    installed = clone / "venv" / "machine.py"
    installed.parent.mkdir()
    installed.write_text("installed")
    monkeypatch.setattr(machine, "__file__", str(installed))
    monkeypatch.setattr(machine.metadata, "distribution", lambda name: Installed())
    assert machine.source_commit() == "abc123"


class Installed:
    """What pip notes of a package from a repository."""

    def read_text(self, name):
        assert name == "direct_url.json"
        return '{"url": "https://example.org/x.git", "vcs_info": {"commit_id": "abc123"}}'
