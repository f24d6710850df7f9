"""A process in which nothing happens any more ends, and says where it stands."""

import subprocess
import sys
import threading

import pytest

from keras_retinanet.training.watchdog import HUNG, Watchdog

SCRIPT = """
import sys, threading
from keras_retinanet.training.watchdog import Watchdog

def waits_for_images():
    threading.Event().wait(60)

with Watchdog(0.01) as dog:
    {watch}
    waits_for_images()
"""


def run(watch):
    script = SCRIPT.format(watch=watch)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )


def test_a_step_that_hangs_ends_the_process_with_the_places_of_its_threads():
    ended = run("dog.begin()")
    assert ended.returncode == HUNG
    assert "Expected a step to end within 0.01 minutes (train.hang_minutes)" in ended.stderr
    assert "in waits_for_images" in ended.stderr


@pytest.mark.parametrize(("minutes", "threads"), [(0, 0), (10, 1)])
def test_a_watchdog_has_a_thread_as_long_as_it_watches(minutes, threads):
    def count():
        return sum(thread.name == "watchdog" for thread in threading.enumerate())

    with Watchdog(minutes) as dog:
        dog.begin()
        assert count() == threads
    assert count() == 0
