"""Evaluates, and stops in the middle. Run by test_evaluate_command.

The first word says how: "kill" by SIGKILL; "wait" until a line comes on standard input, after
saying so on standard output. A process of its own: what survives a SIGKILL can only be what lies in
files.
"""

import os
import signal
import sys

from keras_retinanet import cli
from keras_retinanet.evaluation import streaming

STOPPED_AT = 6


class Columns(streaming.Columns):
    """Stops the process when picture number `STOPPED_AT` is about to be written."""

    stopped = False

    def line(self, picture: int) -> str:
        if len(self) >= STOPPED_AT and not self.stopped:
            Columns.stopped = True
            if sys.argv[1] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            print("stopped", flush=True)
            sys.stdin.readline()
        return super().line(picture)


if __name__ == "__main__":
    streaming.Columns = Columns
    cli.main(sys.argv[2:])
