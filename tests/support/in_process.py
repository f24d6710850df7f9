"""Commands in this process."""

from keras_retinanet import cli


def command(*words: str) -> int:
    """Run a command in this process, which has TensorFlow already; returns the exit code."""
    return cli.run(cli.build_parser().parse_args([str(word) for word in words]))
