"""What the tests of TensorFlow Lite files share."""

import warnings

import tensorflow as tf

from keras_retinanet.exporting.tflite import conversion


def interpreter(file, threads=1):
    """An interpreter of a path or of bytes, ready to run."""
    given = {"model_content": file} if isinstance(file, bytes) else {"model_path": str(file)}
    with warnings.catch_warnings():
        # It advises to install ai-edge-litert, which runs the same files.
        warnings.simplefilter("ignore", UserWarning)
        made = tf.lite.Interpreter(**given, num_threads=threads)
    made.allocate_tensors()
    return made


def converted(function):
    """The flatbuffer of a concrete function without variables."""
    return conversion._converter(function, custom=True).convert()
