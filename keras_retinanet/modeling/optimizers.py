"""The paper's SGD and AdamW: decay on kernels only, a slower backbone, one gradient clipped.

Both extend Keras's optimizers where these differ from common practice: Keras's SGD decouples weight
decay from the gradient, and Keras clips each replica's gradient before the replicas are summed.
Both use TensorFlow's fused update: Keras's own update passes over every weight a dozen times, which
costs as much as a small batch on a CPU.
"""

from collections.abc import Collection, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.config import OptimizerConfig


class _DetectorOptimizer(keras.optimizers.Optimizer):
    """Base of both optimizers; precedes a Keras optimizer among the bases.

    Args:
        slow_variables: paths of variables whose learning rate is scaled by `slow_multiplier`.
        clip_norm: maximum global norm of the gradient of the whole batch; 0: no clipping.
        skip_nonfinite: change no weight by a gradient with a value that is not finite.
    """

    def __init__(
        self,
        *args: Any,
        slow_variables: Collection[str] = (),
        slow_multiplier: float = OptimizerConfig.backbone_multiplier,
        clip_norm: float = OptimizerConfig.clip_norm,
        skip_nonfinite: bool = False,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.slow_variables = list(slow_variables)
        self.slow_multiplier = slow_multiplier
        self.clip_norm = clip_norm
        self.skip_nonfinite = skip_nonfinite

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        slow = set(self.slow_variables)
        self._multipliers = [self.slow_multiplier if v.path in slow else 1.0 for v in variables]
        self._is_kernel = [v.name.endswith("kernel") for v in variables]

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[tuple[Any, Any]]:
        # After the sum over replicas, so that two devices clip as one does.
        pairs = super()._all_reduce_sum_gradients(grads_and_vars)
        gradients, variables = zip(*pairs, strict=True)
        if self.skip_nonfinite:
            self._is_finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
        if not self.clip_norm:
            return pairs
        clipped, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
        return list(zip(clipped, variables, strict=True))

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Change a variable and its slots by `update`, or by nothing at all."""
        if not self.skip_nonfinite:
            self.update(gradient, variable, learning_rate)
            return

        def change() -> tf.Tensor:
            self.update(gradient, variable, learning_rate)
            return tf.constant(True)

        tf.cond(self._is_finite, change, lambda: tf.constant(False))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "slow_variables": self.slow_variables,
            "slow_multiplier": self.slow_multiplier,
            "clip_norm": self.clip_norm,
            "skip_nonfinite": self.skip_nonfinite,
        }


@keras.saving.register_keras_serializable(package="keras_retinanet")
class CoupledSGD(_DetectorOptimizer, keras.optimizers.SGD):
    """SGD with momentum whose weight decay is part of the gradient: g + decay * w, on kernels.

    The defaults are the paper's (section 5) for batches of 16 images.
    """

    def __init__(
        self,
        learning_rate: Any = OptimizerConfig.learning_rate,
        momentum: float = OptimizerConfig.momentum,
        *,
        coupled_decay: float = OptimizerConfig.weight_decay,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, momentum, **kwargs)
        self.coupled_decay = coupled_decay

    def update(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        index = self._get_variable_index(variable)
        if self._is_kernel[index]:
            gradient = gradient + self.coupled_decay * variable
        rate = tf.cast(learning_rate * self._multipliers[index], variable.dtype)
        if not self.momentum:  # there is no slot to update
            keras.optimizers.SGD.update_step(self, gradient, variable, rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[index].value.handle,
            lr=rate,
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"coupled_decay": self.coupled_decay}


@keras.saving.register_keras_serializable(package="keras_retinanet")
class DetectorAdamW(_DetectorOptimizer, keras.optimizers.AdamW):
    """AdamW with decoupled decay on kernels only; the backbone decays at its own learning rate."""

    def _apply_weight_decay(self, variables: Any) -> None:
        """Do nothing: `update_step` decays each variable with its own rate."""

    def update(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        index = self._get_variable_index(variable)
        rate = learning_rate * self._multipliers[index]
        if self._is_kernel[index] and self.weight_decay:
            self.assign_sub(variable, variable * self.weight_decay * rate)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
