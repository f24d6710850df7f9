"""The network of a model in use: its own graph and weights, with batch norms folded away.

Shape letters: B images, R anchors, K classes.
"""

import threading
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.modeling.batch_norms import folded_kernel, own_norms


class FoldedNetwork:
    """Run a functional model with batch norms folded into the convolutions before them.

    Only the kernels of these convolutions are kept a second time. Layers that compute in less than
    float32 stay as they are: a folded kernel would be rounded to other values.

    Args:
        model: RGB float32 images (B, H, W, 3) -> {"class_logits": (B, R, K), "box_deltas": (B, R,
            4)}. It may change its weights at any time: call `refresh` before each use.
    """

    def __init__(self, model: Any):
        self._model = model
        self._pairs: dict[int, tuple[Any, Any]] = {}  # id of convolution -> it and its norm
        self._find(model)
        # id of convolution -> the variable of its kernel, and the folded kernel and bias
        self._folded: dict[int, tuple[keras.Variable, tf.Variable, tf.Variable]] = {}
        pairs = self._pairs.values()
        sources = [weight.value for pair in pairs for layer in pair for weight in layer.weights]
        self._read = tf.function(lambda: [tf.identity(source) for source in sources])
        # Values that were folded. While they are held, TensorFlow writes a changed weight to
        # another place in memory: places tell whether a weight has changed, without reading it.
        self._held: list[Any] = []
        self._held_places: list[int] = []
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Return whether there is anything to fold."""
        return bool(self._pairs)

    def _find(self, model: Any) -> None:
        norms = own_norms(model)
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                self._find(layer)
            elif id(layer) in norms and _is_plain(layer):
                self._pairs[id(layer)] = (layer, norms[id(layer)])

    def refresh(self) -> None:
        """Fold again if a weight has changed since."""
        with self._lock:
            values = self._read()
            places = _places(values)
            if places == self._held_places:
                return
            for key, (conv, norm) in self._pairs.items():
                source, *folded = folded_kernel(conv, norm)
                if key in self._folded:
                    for variable, value in zip(self._folded[key][1:], folded, strict=True):
                        variable.assign(value)
                else:
                    kernel, bias = (tf.Variable(value, False, dtype=tf.float32) for value in folded)
                    self._folded[key] = source, kernel, bias
            self._held, self._held_places = values, places

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the outputs of the model as it was at the last `refresh`, in inference."""
        return self._run(self._model, images)

    def _run(self, model: Any, inputs: Any) -> Any:
        norms = {id(norm) for _, norm in self._pairs.values()}

        def call(layer: Any, features: Any, **kwargs: Any) -> Any:
            if isinstance(layer, keras.Model):
                return self._run(layer, features)
            if id(layer) in norms:
                return features
            if id(layer) in self._pairs:
                return self._convolve(layer, features)
            if getattr(layer, "_call_has_training_arg", False):
                kwargs["training"] = False
            return layer(features, **kwargs)

        # Keras's own walk over a functional graph.
        return model._run_through_graph(inputs, call_fn=call)

    def _convolve(self, conv: Any, features: tf.Tensor) -> tf.Tensor:
        source, kernel, bias = self._folded[id(conv)]
        own_bias = [(conv.bias, bias)] if conv.use_bias else []
        with keras.StatelessScope([(source, kernel), *own_bias]):
            outputs = conv(features)
        return outputs if conv.use_bias else tf.nn.bias_add(outputs, bias)


def _is_plain(conv: Any) -> bool:
    """Return whether `conv` computes in float32 and with its kernels and bias alone."""
    names = {"depthwise_kernel", "pointwise_kernel", "kernel", "bias"}
    return conv.compute_dtype == "float32" and {weight.name for weight in conv.weights} <= names


def _places(values: list[Any]) -> list[int]:
    """Return where the values of tensors lie in memory; NumPy's view of them is no copy."""
    return [value._numpy().__array_interface__["data"][0] for value in values]
