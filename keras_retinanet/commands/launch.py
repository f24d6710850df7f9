"""Run a command as several processes of this machine that train together, to try it out.

On several machines, a cluster manager or a script sets TF_CONFIG and starts `train` on each: see
docs/clusters.md.

Examples:
    keras_retinanet launch -n 2 train voc --data_dir bccd --config bccd --out runs/two
"""

import argparse
from argparse import ArgumentParser, Namespace

from keras_retinanet.errors import UserError

# More processes than this are probably a typing error: each one holds the model.
MAX_PROCESSES = 16


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `launch` to its parser."""
    add = parser.add_argument
    add("-n", type=int, default=2, metavar="N", help="number of processes (default: 2)")
    add("words", nargs=argparse.REMAINDER, metavar="train ...", help="the command and its flags")


def run(args: Namespace) -> int:
    """Start the processes and wait for them; return the first exit code that is not 0."""
    if not 2 <= args.n <= MAX_PROCESSES:
        raise UserError(f"Expected -n of 2 to {MAX_PROCESSES} processes. Received: {args.n}.")
    if args.words[:1] != ["train"]:
        received = " ".join(args.words[:1]) or "nothing"
        raise UserError(f"Expected `train` and its flags after -n. Received: {received}.")
    from keras_retinanet.training.launching import launch

    return launch(args.words, count=args.n)
