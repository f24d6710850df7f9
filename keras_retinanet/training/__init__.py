"""`train(config)`: one run around `model.fit`."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.training.auto import Plan, plan
    from keras_retinanet.training.building import build_model, build_optimizer, compile_model
    from keras_retinanet.training.distribution import strategy
    from keras_retinanet.training.run import train
    from keras_retinanet.training.schedules import rate_factor, scaled_learning_rate, total_steps
    from keras_retinanet.training.validation import Score, Validation

__all__ = [
    "Plan",
    "Score",
    "Validation",
    "build_model",
    "build_optimizer",
    "compile_model",
    "plan",
    "rate_factor",
    "scaled_learning_rate",
    "strategy",
    "total_steps",
    "train",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "auto": "Plan plan",
        "building": "build_model build_optimizer compile_model",
        "distribution": "strategy",
        "run": "train",
        "schedules": "rate_factor scaled_learning_rate total_steps",
        "validation": "Score Validation",
    },
)
