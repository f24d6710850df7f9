"""The time until all processes of a cluster are there: each waits for the others, not for ever."""

import contextlib
import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator

import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.training.cluster import VARIABLE, Cluster


@contextlib.contextmanager
def joining(cluster: Cluster, hang_minutes: float) -> Iterator[None]:
    """Watch the block, in which TensorFlow waits for the other processes of `cluster`.

    It waits without letting any Python run. So what it waits for is printed before; Ctrl-C ends the
    process as the system does; and after `hang_minutes` a thread of C ends it, which prints where
    the process stands.

    Raises:
        UserError: this process cannot take its address, or TensorFlow gives up.
    """
    own = cluster.addresses[cluster.index]
    others = ", ".join(address for address in cluster.addresses if address != own)
    limit = f" up to {hang_minutes:g} minutes (train.hang_minutes)" if hang_minutes else ""
    print(f"waiting{limit} for the processes at {others}", file=sys.stderr, flush=True)
    if hang_minutes:
        faulthandler.dump_traceback_later(60 * hang_minutes, exit=True, file=sys.__stderr__ or 2)
    try:
        with _interruptible():
            yield
    except tf.errors.OpError as error:
        raise UserError(
            f"Expected the {len(cluster.addresses)} processes of {VARIABLE} to join, this one at "
            f"{own}. Received: {str(error).splitlines()[0][:200]}. Look whether another program "
            f"has that port, and whether {others} can be reached."
        ) from error
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT end the process within the block. Other threads than the main one cannot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
