"""Import TensorFlow as a command needs it: quietly, and told what the process will do."""

import logging
import os
import sys

from keras_retinanet.lazy import require_tensorflow_backend

# TensorFlow's variable for processes that change no weight.
FROZEN_WEIGHTS = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"


def import_tensorflow() -> None:
    """Import TensorFlow without its start messages, unless TF_CPP_MIN_LOG_LEVEL asks for them.

    They are printed before it reads that variable, so standard error is closed meanwhile.

    Raises:
        UserError: Keras was told to use another backend.
    """
    require_tensorflow_backend()
    logging.getLogger("tensorflow").addFilter(_is_no_advice)
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # errors alone
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _is_no_advice(record: logging.LogRecord) -> bool:
    """Return whether a message is other than on functions that are traced often.

    A process that trains or asks several models traces the same functions for each.
    """
    return "triggered tf.function retracing" not in str(record.msg)


def import_for_inference() -> None:
    """Import TensorFlow as `import_tensorflow`, for a process that changes no weight.

    oneDNN then lays out the weights of a convolution once, and not at each call: a quarter less
    processor time for one image, the same detections, and the weights twice in memory. It holds
    within graphs alone: called eagerly, convolutions of one shape share what was laid out first.
    A user's own setting stays.
    """
    import_tensorflow()
    os.environ.setdefault(FROZEN_WEIGHTS, "1")  # read at the first convolution
