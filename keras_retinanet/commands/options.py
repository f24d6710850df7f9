"""List the options for --set and recipes: name, default and description.

Examples:
    keras_retinanet options
    keras_retinanet options train.optimizer
    keras_retinanet train --set train.optimizer.name=adamw
"""

from argparse import ArgumentParser, Namespace

from keras_retinanet.commands.json_output import add_result
from keras_retinanet.config.reference import option_rows
from keras_retinanet.errors import UserError


def add_arguments(parser: ArgumentParser) -> None:
    """Add the prefix."""
    parser.add_argument(
        "prefix", nargs="?", default="", metavar="PREFIX", help="only those whose name begins so"
    )


def run(args: Namespace) -> int:
    """Print the options of a prefix."""
    rows = [row for row in option_rows() if row.name.startswith(args.prefix)]
    if not rows:
        sections = dict.fromkeys(row.name.partition(".")[0] for row in option_rows())
        raise UserError(
            f"Expected the beginning of an option's name ({', '.join(sections)}). Received: "
            f"{args.prefix}. `keras_retinanet options` lists all."
        )
    add_result(args, options=[row._asdict() for row in rows])
    for row in rows:
        print(f"{row.name} = {row.default}\n    {row.text}")
    return 0
