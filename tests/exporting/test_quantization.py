"""int8 of a network: what is quantised, what stays in float, and how exact both are."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.tflite import flatbuffer as tflite_file
from keras_retinanet.exporting.tflite.quantization import float_operators, int8_flatbuffer

# It advises to install ai-edge-litert.
pytestmark = [
    pytest.mark.conversion,
    pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter:UserWarning"),
]
SIDE = 16
PICTURES = 8


def converter(run, dtype="float32"):
    """Return a converter of `run`, from a picture (1, SIDE, SIDE, 3) to a dict of tensors."""
    spec = tf.TensorSpec((1, SIDE, SIDE, 3), dtype, name="image")
    function = tf.function(run, input_signature=[spec]).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())


def pictures(rng, dtype="float32"):
    return [rng.integers(0, 256, (1, SIDE, SIDE, 3)).astype(dtype) for _ in range(PICTURES)]


def run_file(flatbuffer, picture):
    """Return the outputs of the file by their names in the signature."""
    interpreter = tf.lite.Interpreter(model_content=flatbuffer)
    return interpreter.get_signature_runner()(image=picture)


@pytest.fixture
def kernels(rng):
    """Kernels (3, 3, in, out) of three convolutions."""
    return [
        (rng.normal(size=(3, 3, *channels)) / 9).astype(np.float32)
        for channels in ((3, 8), (8, 8), (8, 6))
    ]


def convolve(x, kernel):
    return tf.nn.conv2d(x, kernel, 1, "SAME")


def group_norm(x, groups=4):
    _, height, width, channels = x.shape
    x = tf.reshape(x, (1, height, width, groups, channels // groups))
    mean, variance = tf.nn.moments(x, (1, 2, 4), keepdims=True)
    return tf.reshape((x - mean) * tf.math.rsqrt(variance + 1e-5), (1, height, width, channels))


def network(kernels):
    """Return a network with each kind of what stands between convolutions."""

    def run(image):
        x = (tf.cast(image, tf.float32) - 127.0) / 128.0
        x = tf.nn.relu(convolve(x, kernels[0]))
        x = tf.nn.relu(x + convolve(x, kernels[1]))
        x = tf.nn.relu(group_norm(convolve(x, kernels[1])))
        x = convolve(x, kernels[2])
        return {"logits": tf.reshape(x, (1, -1, 3))}

    return run


def types_of(flatbuffer):
    """Return (kind, type of the first output) of each operator."""
    graph = tflite_file.read(flatbuffer).subgraphs[0]
    names = {number: name for name, number in vars(schema.TensorType).items()}
    return [
        (kind, names[graph.tensors[operator.outputs[0]].type])
        for kind, operator in zip(tflite_file.operators(flatbuffer), graph.operators, strict=True)
    ]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_network(kernels, rng, dtype):
    run, images = network(kernels), pictures(rng, dtype)
    flatbuffer = int8_flatbuffer(converter(run, dtype), images)
    types = types_of(flatbuffer)
    assert [kind for kind in types if "CONV" in kind[0]] == [("CONV_2D", "INT8")] * 4
    # The residual sum is in int8; of the normalisation and the group norm nothing is.
    assert [kind for kind, type_ in types if type_ == "INT8" and kind != "QUANTIZE"] == [
        *("CONV_2D", "CONV_2D", "ADD", "CONV_2D", "CONV_2D", "RESHAPE")
    ]
    assert {kind for kind, type_ in types if type_ == "FLOAT32"} >= {"SUB", "MEAN", "RSQRT"}

    expected = run(images[0])["logits"].numpy()
    found = run_file(flatbuffer, images[0])["logits"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def test_each_output_channel_has_its_own_scale(rng):
    sizes = np.array([1, 0.1, 0.01, 0.001], np.float32)
    kernel = rng.normal(size=(3, 3, 3, 4)).astype(np.float32) * sizes

    def run(image):
        return {"logits": tf.nn.relu(convolve(image, kernel))}

    graph = tflite_file.read(int8_flatbuffer(converter(run), pictures(rng))).subgraphs[0]
    (weights,) = [tensor for tensor in graph.tensors if list(tensor.shape) == [4, 3, 3, 3]]
    expected = np.abs(kernel).max(axis=(0, 1, 2)) / 127
    np.testing.assert_allclose(weights.quantization.scale, expected, rtol=1e-5)


def test_group_norm_of_channels_of_unlike_sizes(kernels, rng):
    """With the norm in int8 too the error is .057."""
    sizes = np.repeat([1.0, 0.2], 4).astype(np.float32)
    images = pictures(rng)

    def run(image):
        x = convolve(image / 255.0, kernels[0] * sizes)
        return {"logits": convolve(group_norm(x, groups=2), kernels[2])}

    expected = run(images[0])["logits"].numpy()
    found = run_file(int8_flatbuffer(converter(run), images), images[0])["logits"]
    assert np.abs(found - expected).mean() < 0.04 * np.abs(expected).mean()


def test_float_operators_of_a_network_without_norms(kernels):
    def run(image):
        x = convolve(image, kernels[0])
        return {"logits": convolve(tf.nn.relu(x + convolve(x, kernels[1])), kernels[2])}

    assert float_operators(converter(run).convert()) == []


def test_sum_of_nothing_stays_float(kernels, rng):
    """As in a group norm of one cell: in int8 it would end the interpreter's process."""
    images = pictures(rng)

    def run(image):
        x = convolve(image / 255.0, kernels[0])
        nothing = x - tf.abs(x) * tf.sign(x)
        return {"logits": convolve(x, kernels[2]) + convolve(nothing, kernels[2])}

    flatbuffer = int8_flatbuffer(converter(run), images)
    assert ("SUB", "FLOAT32") in types_of(flatbuffer)
    expected = run(images[0])["logits"].numpy()
    found = run_file(flatbuffer, images[0])["logits"]
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def test_pictures_are_needed(kernels):
    with pytest.raises(UserError, match="Expected images to calibrate"):
        int8_flatbuffer(converter(network(kernels)), [])
