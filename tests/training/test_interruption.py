"""What signals do while a run takes steps, scores and saves."""

import signal

import pytest

from keras_retinanet.processes.signals import Terminated
from keras_retinanet.training.interruption import Interruption, Mode


def test_the_first_signal_waits_for_the_end_of_the_step():
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Terminated, match="SIGTERM"):
            interruption.check()
        interruption.check()  # it was raised once


def test_a_second_signal_ends_a_step_that_hangs():
    with Interruption():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(signal.SIGINT)
    assert not isinstance(caught.value, Terminated)


def test_nothing_breaks_into_a_save():
    with Interruption() as interruption:
        with interruption.mode(Mode.HELD):
            for number in (signal.SIGINT, signal.SIGINT, signal.SIGHUP):
                signal.raise_signal(number)
        with pytest.raises(Terminated, match="SIGHUP"):
            interruption.check()


def test_scoring_is_left_at_once_within_a_held_evaluation():
    with Interruption() as interruption, interruption.mode(Mode.HELD):
        with pytest.raises(KeyboardInterrupt), interruption.mode(Mode.RAISES):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # held again
        with pytest.raises(KeyboardInterrupt), interruption.mode(Mode.RAISES):
            pytest.fail("a signal that waited is raised before the scoring")


def test_handlers_are_put_back_and_ignored_signals_stay_ignored():
    before = signal.getsignal(signal.SIGINT)
    nohup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
            interruption.check()
        assert signal.getsignal(signal.SIGINT) is before
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, nohup)
