"""Runs that are killed at random moments end as one that nothing happened to.

KILLS=25 in the environment kills so often, KILL_SEED=N at other moments.
"""

import contextlib
import os
import signal

import pytest
from equal_runs import assert_equal_runs
from kills import left_behind, moments, unreadable_states
from tiny_command import STEPS, TINY, finish, run, start, start_cluster, tiny, train_words

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "3"))
SEED = int(os.environ.get("KILL_SEED", "0"))
# Seconds: two processes of TensorFlow start at once.
TIMEOUT = 900
LOST = "Received: no answer of one"


@pytest.fixture(scope="module", autouse=True)
def _tiny_backbone():
    from keras_retinanet.modeling.backbones import BACKBONES

    BACKBONES[TINY] = tiny
    yield
    del BACKBONES[TINY]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A run that nothing happened to."""
    out = tmp_path_factory.mktemp("runs") / "base"
    code, printed = run(*train_words(out))
    assert code == 0, printed
    return out


def words_for(out):
    """Return the words that begin the run, or resume it."""
    return ["train", "--resume", out] if (out / "config.yaml").exists() else train_words(out)


def kill_and_resume(folder, base, seed, attempt):
    """Kill and resume runs until `KILLS` processes have died; compare each run that ended.

    Args:
        attempt: takes the words of the command, a moment or None, and the number of kills so far;
            returns the exit code of the process that was to be killed, and what was printed.
    """
    killed, runs, drawn = 0, 0, moments(seed)
    while killed < KILLS:
        out, code = folder / f"run{runs}", None
        while code != 0:
            moment = next(drawn) if killed < KILLS else None
            code, printed = attempt(words_for(out), moment, killed)
            assert code in (0, -signal.SIGKILL), printed
            killed += code != 0
            print(f"{killed}: {moment} ended with {code} and left {left_behind(out)}", flush=True)
            assert unreadable_states(out) == []
            assert "damaged" not in printed and "Traceback" not in printed, printed
        assert_equal_runs(out, base)
        assert left_behind(out) == []
        runs += 1


def test_killed_at_random_moments(base, tmp_path):
    def attempt(words, moment, killed):
        variables = moment.variables if moment else {}
        return finish(start(*words, env=os.environ | variables), timeout=TIMEOUT)

    kill_and_resume(tmp_path, base, SEED, attempt)


def test_one_of_two_processes_killed_at_random_moments(base, tmp_path):
    def attempt(words, moment, killed):
        # Only the first one saves.
        victim = 0 if moment and moment.kind == "save" else killed % 2
        variables = {victim: moment.variables} if moment else {}
        with contextlib.ExitStack() as stack:
            processes = start_cluster(*words, variables=variables)
            for process in processes:
                stack.callback(process.kill)
            code, printed = finish(processes[victim], timeout=TIMEOUT)
            other, others = finish(processes[1 - victim], timeout=TIMEOUT)
        if code != 0:
            # The run is whole if the victim had done its share of the last evaluation.
            is_whole = other == 0 and f"{STEPS} steps in" in others
            assert is_whole or (other == 2 and LOST in others), printed + others
        return code, printed + others

    kill_and_resume(tmp_path, base, SEED + 1, attempt)
