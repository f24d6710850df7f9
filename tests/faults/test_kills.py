"""Runs that are killed at random moments end as one that nothing happened to.

KILLS=25 in the environment kills so often, KILL_SEED=N at other moments.
"""

import os
import signal

import pytest
from equal_runs import assert_equal_runs
from kills import left_behind, moments, unreadable_states
from tiny_command import TINY, finish, run, start, start_cluster, tiny, train_words

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "3"))
SEED = int(os.environ.get("KILL_SEED", "0"))
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


def assert_sound(out, printed):
    """What a kill left behind is whole, and what it left before was."""
    assert unreadable_states(out) == []
    assert "damaged" not in printed and "Traceback" not in printed, printed


def test_killed_at_random_moments(base, tmp_path):
    killed, runs, drawn = 0, 0, moments(SEED)
    while killed < KILLS:
        out, code = tmp_path / f"run{runs}", None
        while code != 0:
            moment = next(drawn)
            at = moment.variable if killed < KILLS else {}
            code, printed = finish(start(*words_for(out), env=os.environ | at))
            assert code in (0, -signal.SIGKILL), printed
            killed += code != 0
            print(f"{killed}: {moment} ended with {code} and left {left_behind(out)}")
            assert_sound(out, printed)
        assert_equal_runs(out, base)
        assert left_behind(out) == []
        runs += 1


def test_one_of_two_processes_killed_at_random_moments(base, tmp_path):
    out, code, killed, drawn = tmp_path / "run", None, 0, moments(SEED + 1)
    while code != 0:
        moment, victim = next(drawn), killed % 2
        at = {victim: moment.variable} if killed < KILLS else {}
        processes = start_cluster(*words_for(out), variables=at)
        # The one that dies first: another that is read before would wait for its own end.
        ended = {index: finish(processes[index]) for index in (victim, 1 - victim)}
        code, printed = ended[victim]
        other, others = ended[1 - victim]
        print(f"{killed}: {moment} of {victim} ended with {code}, {other}; {left_behind(out)}")
        assert (code, other) in ((0, 0), (-signal.SIGKILL, 2)), printed + others
        assert code == 0 or LOST in others, others
        killed += code != 0
        assert_sound(out, printed + others)
    assert_equal_runs(out, base)
