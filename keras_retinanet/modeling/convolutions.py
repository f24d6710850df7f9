"""The last convolution of the class head, which mixed precision shall not slow."""

import keras
from keras import layers


class Conv2D(layers.Conv2D):
    """A convolution that gives float32 whatever it computes in: its bias is added in float32.

    With many classes it is a sixth of the network's work. What bfloat16 rounds is the distance to
    the bias, so that logits near the prior, which nearly all are, keep their digits. It has Keras's
    name because weight files name layers by their class.
    """

    def call(self, inputs):
        if self.compute_dtype == "float32":
            return super().call(inputs)
        outputs = keras.ops.cast(self.convolution_op(inputs, self.kernel), "float32")
        return outputs + keras.ops.cast(self.bias, "float32")
