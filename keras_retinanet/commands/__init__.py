"""The subcommands by name: modules with `add_arguments(parser)` and `run(args) -> exit code`.

A module's docstring is its help: a line, then examples. TensorFlow is imported inside `run`, so
that `--help` answers at once.
"""

from keras_retinanet.commands import evaluate, info, predict, train

COMMANDS = {"train": train, "evaluate": evaluate, "predict": predict, "info": info}
