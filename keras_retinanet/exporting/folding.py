"""The network as applications run it: batch norms folded away, weights in the asked precision.

Shape letters: B images, R anchors, K classes, C channels.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.batch_norms import folded_kernel, own_norms, scale_and_shift
from keras_retinanet.modeling.convolutions import Conv2D
from keras_retinanet.modeling.retinanet import RetinaNet

# Precision -> dtype of the stored weights, and of what the network computes in.
PRECISIONS = {
    "float32": ("float32", "float32"),
    "bfloat16": ("bfloat16", "bfloat16"),
    # Few CPUs have half arithmetic, and half cannot hold every activation: it is for storing.
    "float16": ("float16", "float32"),
}
# The heads' last layers (`heads.py`).
_FINAL = {"final", "per_anchor", "joined"}


class StoredPolicy(keras.DTypePolicy):
    """Variables of one dtype, computation in another; Keras names no such pair for half."""

    def __init__(self, stored: str, computed: str):
        super().__init__(computed)
        self._variable_dtype = stored


class ChannelAffine(layers.Layer):
    """x * scale + shift per channel: a batch norm that no convolution can take in."""

    def build(self, input_shape):
        shape = input_shape[-1:]
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")
        self.shift = self.add_weight(name="shift", shape=shape, initializer="zeros")

    def call(self, features):
        return features * self.scale + self.shift


def folded(
    model: RetinaNet, precision: str = "float32", *, compute: str | None = None
) -> keras.Model:
    """Return the same network with every batch norm folded into the convolution before it.

    A norm after a convolution that other norms or layers share becomes a `ChannelAffine`.

    Args:
        model: not changed; its weights are copied.
        precision: "float32"; "bfloat16", in which weights are stored and most is computed, but
            normalization and the boxes' last convolution in float32; or "float16", in which
            weights are stored alone.
        compute: "float16" computes in it what bfloat16 would, for runtimes that have half
            arithmetic; None: as `precision` says.

    Returns:
        A flat functional model, not trainable: RGB float32 images 0..255 (B, H, W, 3) ->
        {"class_logits": (B, R, K), "box_deltas": (B, R, 4)}, float32. Layers are called as in
        `model`, after the part that they are of: "class_head_conv1".

    Raises:
        UserError: unknown `precision`.
    """
    if precision not in PRECISIONS:
        raise UserError(
            f"Expected a precision of {', '.join(PRECISIONS)}. Received: precision={precision!r}."
        )
    images = keras.Input((None, None, 3), name="images", dtype="float32")
    stored, computed = PRECISIONS[precision]
    outputs = _Copy(stored, compute or computed).run(model, images)
    copy = keras.Model(images, outputs, name="network")
    copy.trainable = False
    return copy


class _Copy:
    """Calls a copy of each layer of a model, and of the models in it, on new inputs."""

    def __init__(self, stored: str, computed: str):
        self._stored, self._computed = stored, computed
        self._copies: dict[int, Any] = {}

    def run(self, model: Any, inputs: Any, prefix: str = "") -> Any:
        """Return the outputs of `model` on `inputs`; `prefix` goes before its layers' names."""
        norms = own_norms(model)
        taken = {id(norm) for norm in norms.values()}

        def call(layer: Any, features: Any, **_: Any) -> Any:
            if isinstance(layer, keras.Model):
                return self.run(layer, features, f"{layer.name}_")
            if id(layer) in taken or isinstance(layer, layers.Identity):
                return features
            return self._call(layer, norms.get(id(layer)), prefix, features)

        # Keras's own walk over a functional graph; `call` builds the new one beside it.
        return model._run_through_graph(inputs, call_fn=call)

    def _call(self, layer: Any, norm: Any, prefix: str, features: Any) -> Any:
        if id(layer) in self._copies:  # a head's layer is shared by the levels
            return self._copies[id(layer)](features)
        copy, weights = self._copy(layer, norm, prefix)
        outputs = copy(features)
        copy.set_weights(weights)
        self._copies[id(layer)] = copy
        return outputs

    def _copy(self, layer: Any, norm: Any, prefix: str) -> tuple[Any, list[np.ndarray]]:
        """Return a new layer, not yet built, and its weights."""
        name = prefix + layer.name
        if isinstance(layer, layers.BatchNormalization):
            policy = StoredPolicy(self._stored, "float32")
            return ChannelAffine(name=name, dtype=policy), [*scale_and_shift(layer)]
        config = layer.get_config() | {"name": name, "dtype": self._policy(layer)}
        # They are set right after; drawing them would take longer than all else.
        config |= {key: "zeros" for key in config if key.endswith("_initializer")}
        if norm is None:
            return type(layer).from_config(config), layer.get_weights()
        config["use_bias"] = True
        return type(layer).from_config(config), _folded_weights(layer, norm)

    def _policy(self, layer: Any) -> keras.DTypePolicy:
        if isinstance(layer, Conv2D) and self._computed == "bfloat16":
            return StoredPolicy(self._stored, self._computed)  # it gives float32
        exact = layers.GroupNormalization, layers.Normalization
        is_exact = layer.name in _FINAL or layer.name == "normalization" or isinstance(layer, exact)
        return StoredPolicy(self._stored, "float32" if is_exact else self._computed)


def _folded_weights(conv: Any, norm: Any) -> list[np.ndarray]:
    """Return the weights of `conv` with a bias that do what it and `norm` did."""
    folded = folded_kernel(conv, norm)
    weights = {weight.name: weight.numpy() for weight in conv.weights}
    weights |= {folded.variable.name: folded.kernel, "bias": folded.bias}
    return list(weights.values())
