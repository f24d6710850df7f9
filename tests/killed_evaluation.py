"""Evaluates, and kills itself (SIGKILL) in the middle. Run by test_evaluate_command.

A process of its own: what survives a SIGKILL can only be what lies in files.
"""

import os
import signal
import sys

from keras_retinanet import cli
from keras_retinanet.evaluation import streaming

KILLED_AT = 6


class Columns(streaming.Columns):
    """Kills the process when picture number `KILLED_AT` is about to be written."""

    def line(self, picture: int) -> str:
        if len(self) >= KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().line(picture)


if __name__ == "__main__":
    from keras_retinanet.evaluation import runner

    runner.Columns = Columns
    cli.main(sys.argv[1:])
