"""Kill a run by SIGKILL at random moments and resume it, again and again.

The moments are drawn from a seed: the Nth step, save or evaluation of the process, and a delay
after its beginning. What is left behind must not depend on the moment.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VARIABLE = "KILL_AT"
# Kind of moment -> seconds that such a thing takes, and more.
SECONDS = {"step": 0.1, "save": 0.05, "evaluation": 2.0}


class Moment(NamedTuple):
    """The end of a process: in its Nth step, save or evaluation, so long after that began."""

    kind: str
    number: int
    delay: float

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment by which `kill_where_asked` gets to know it."""
        return {VARIABLE: f"{self.kind} {self.number} {self.delay}"}


def moments(seed: int) -> Iterator[Moment]:
    """Draw moments for ever, each kind as often as the others."""
    draw = random.Random(seed)
    while True:
        kinds = [*SECONDS]
        draw.shuffle(kinds)
        for kind in kinds:
            last = 3 if kind == "step" else 2
            yield Moment(kind, draw.randint(1, last), draw.uniform(0, SECONDS[kind]))


def kill_where_asked() -> None:
    """Have this process kill itself at the moment of the environment. Called once, at its start."""
    kind, number, delay = os.environ[VARIABLE].split()
    from keras_retinanet.training import callbacks, run_callbacks, run_state, validation

    def die():
        time.sleep(float(delay))
        os.kill(os.getpid(), signal.SIGKILL)

    left = int(number)

    def begins(what):
        nonlocal left
        left -= what == kind
        if what == kind and left == 0:
            threading.Thread(target=die, daemon=True).start()

    class Pace(callbacks.Pace):
        def on_train_batch_begin(self, batch, logs=None):
            begins("step")
            super().on_train_batch_begin(batch, logs)

    class Validation(validation.Validation):
        def __call__(self, model):
            begins("evaluation")
            return super().__call__(model)

    write_state = run_state.write_state

    def write(*args, **options):
        begins("save")
        write_state(*args, **options)

    callbacks.Pace, run_callbacks.Validation, run_state.write_state = Pace, Validation, write


def unreadable_states(out: Path) -> list[str]:
    """Return the names of the states of a run that do not match their checksums."""
    from keras_retinanet.training.run_state import saved_states
    from keras_retinanet.training.state_file import StateFile

    bad = []
    for path in saved_states(out).values():
        try:
            StateFile(path)
        except Exception as error:
            bad.append(f"{path.name}: {error}")
    return bad


def left_behind(out: Path) -> list[str]:
    """Return the kinds of temporary files of a run, by the name of their folder."""
    return sorted(
        str(path.parent.relative_to(out) / f"*{path.suffix}") for path in out.rglob(".tmp-*")
    )
