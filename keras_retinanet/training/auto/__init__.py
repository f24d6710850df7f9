"""`auto`: decide a run from the data and the machine, with a reason for each decision."""

from keras_retinanet.training.auto.planning import Plan, plan

__all__ = ["Plan", "plan"]
