"""SIGTERM and SIGHUP in real processes: what is cleaned up, and the exit code."""

import os
import pty
import signal
import subprocess
import sys
import threading
from argparse import Namespace
from pathlib import Path

import pytest

import keras_retinanet
from keras_retinanet import cli
from keras_retinanet.__main__ import main
from keras_retinanet.processes import signals

# A command that waits for a signal. Cleaning up, it waits for a line, so that a second signal can
# come meanwhile, and then tells by a file that it got to its end.
COMMAND = """
import argparse, sys, time
from keras_retinanet import cli

def wait(args):
    try:
        print("waiting", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        sys.stdin.readline()
        print("cleaned", flush=True)
        open(sys.argv[1], "w").close()
    return 0

sys.exit(cli.run(argparse.Namespace(run=wait)))
"""


def start(cleaned: Path, **options) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(cleaned)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])},
        **options,
    )
    assert process.stdout.readline() == "waiting\n"
    return process


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (signal.SIGTERM, 143, "keras_retinanet: interrupted by SIGTERM\n"),
        (signal.SIGHUP, 129, "keras_retinanet: interrupted by SIGHUP\n"),
        (signal.SIGINT, 130, "keras_retinanet: interrupted\n"),
    ],
)
def test_a_command_cleans_up_and_exits_with_the_code_of_the_signal(tmp_path, number, code, told):
    process = start(tmp_path / "cleaned")
    process.send_signal(number)
    assert process.communicate("\n", timeout=20) == ("cleaning\ncleaned\n", told)
    assert process.returncode == code
    assert (tmp_path / "cleaned").exists()


def test_a_signal_that_comes_twice_does_not_break_off_the_cleaning_up(tmp_path):
    process = start(tmp_path / "cleaned")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGHUP)
    process.communicate("\n", timeout=20)
    assert process.returncode == 143
    assert (tmp_path / "cleaned").exists()


def test_nohup_stays_in_force(tmp_path):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start(tmp_path / "cleaned", preexec_fn=ignore)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate("\n", timeout=20)
    assert process.returncode == 143


def test_a_closed_terminal_does_not_stop_the_cleaning_up(tmp_path):
    master, terminal = pty.openpty()

    def take_terminal():
        os.setsid()
        os.close(os.open(os.ttyname(terminal), os.O_RDWR))  # the session's, from here on

    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(tmp_path / "cleaned")],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])},
        preexec_fn=take_terminal,
    )
    assert os.read(master, 100).startswith(b"waiting")
    os.close(terminal)
    os.close(master)  # the kernel sends SIGHUP
    assert process.wait(timeout=20) == 129
    assert (tmp_path / "cleaned").exists()


def test_a_signal_that_was_swallowed_is_raised_the_next_time():
    with signals.raised():
        for _ in range(2):
            with pytest.raises(signals.Terminated, match="SIGTERM") as caught:
                signal.raise_signal(signal.SIGTERM)
            assert caught.value.signal is signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_command_in_another_thread_leaves_the_handlers_alone():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(cli.run(Namespace(run=lambda _: 0))))
    thread.start()
    thread.join()
    assert codes == [0]


def test_ctrl_c_while_the_command_is_loading_is_one_line(monkeypatch, capsys):
    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "keras_retinanet.cli", raising=False)
    monkeypatch.delattr(keras_retinanet, "cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "keras_retinanet: interrupted\n")
