"""A process of a cluster whose others do not come, or whose address is taken, ends and says why."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from keras_retinanet.training.cluster import VARIABLE, of_this_machine
from keras_retinanet.training.launching import PORTS, free_ports

pytestmark = pytest.mark.long
WORDS = ["train", "shapes", "--set", "train.hang_minutes={}", "--out"]
# Seconds: TensorFlow starts.
TIMEOUT = 120


def start(out, ports, minutes):
    words = [word.format(minutes) for word in WORDS]
    return subprocess.Popen(
        [sys.executable, "-m", "keras_retinanet", *words, str(out)],
        env={**os.environ, VARIABLE: of_this_machine(ports, 0)},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_others_are_waited_for_as_long_as_a_hang_may_last(tmp_path):
    own, other = free_ports(2)
    process = start(tmp_path / "run", [own, other], minutes=0.05)
    _, printed = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert (
        f"waiting up to 0.05 minutes (train.hang_minutes) for the processes at 127.0.0.1:{other}"
        in printed
    )
    # And where it stands.
    assert "in _multi_worker" in printed and not (tmp_path / "run").exists()


def test_ctrl_c_ends_the_wait(tmp_path):
    process = start(tmp_path / "run", free_ports(2), minutes=10)
    for line in process.stderr:
        if line.startswith("waiting"):
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == -signal.SIGINT


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(tmp_path / "run", [port, *free_ports(1)], minutes=10)
        _, printed = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2
    last = printed.splitlines()[-1]
    assert "processes of TF_CONFIG to join, this one at 127.0.0.1:" in last and str(port) in last


def test_free_ports_are_none_that_outgoing_connections_get():
    ports = free_ports(5)
    assert len(set(ports)) == 5 and set(ports) <= set(PORTS)
