"""The command line: an absl app whose subcommands are `commands.COMMANDS`.

Exit codes: 0 for success; 2 for the user's mistakes, with one line on standard error; 130 after
Ctrl-C, 143 after SIGTERM and 129 after SIGHUP, once the command has cleaned up.
"""

import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from types import ModuleType

from absl import app, logging
from absl.flags import argparse_flags

from keras_retinanet.commands import COMMANDS
from keras_retinanet.commands.common import require_there
from keras_retinanet.errors import UserError
from keras_retinanet.files import is_disk_full
from keras_retinanet.processes import signals
from keras_retinanet.terminal import printable, safe_output
from keras_retinanet.version import __version__

PROGRAM = "keras_retinanet"
USER_ERROR = 2


def build_parser() -> argparse_flags.ArgumentParser:
    """Return the parser of all subcommands; it sets `args.run` to the chosen one's function."""
    parser = argparse_flags.ArgumentParser(
        prog=PROGRAM,
        description="Train, evaluate, apply and export RetinaNet object detectors.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    _add_commands(parser, COMMANDS)
    return parser


def _add_commands(parser: argparse_flags.ArgumentParser, commands: Mapping[str, ModuleType]):
    """Add subcommands to `parser`, and to a group its own."""
    choices = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module in commands.items():
        summary, _, examples = (module.__doc__ or "").partition("\n\n")
        group = getattr(module, "COMMANDS", None)
        command = choices.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=None if group else examples,
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
            inherited_absl_flags=None,
        )
        if group:
            _add_commands(command, group)
        else:
            module.add_arguments(command)
            command.set_defaults(run=module.run)


def main(argv: Sequence[str] | None = None) -> None:
    """Run `argv` (without the program's name; default: `sys.argv`) and exit.

    Without a word, list the commands.
    """
    words = [PROGRAM, *((sys.argv[1:] if argv is None else argv) or ["--help"])]
    with safe_output():
        app.run(run, argv=words, flags_parser=_parse)


def _parse(words: Sequence[str]) -> Namespace:
    return build_parser().parse_args(words[1:])


def run(args: Namespace) -> int:
    """Run the parsed command, print the user's mistake on one line, return the exit code."""
    logging.set_verbosity(logging.WARNING)  # TensorFlow reports through absl, step by step
    try:
        with signals.raised():
            require_there(args)
            return args.run(args)
    except UserError as error:
        print(f"{PROGRAM}: error: {printable(str(error))}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        if error.filename is None and not is_disk_full(error):  # not about a file of the user's
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        shown = printable(f"{place}{error.strerror}")
        print(f"{PROGRAM}: error: {shown}.", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt as error:
        print(f"{PROGRAM}: interrupted{f' by {error}' if str(error) else ''}", file=sys.stderr)
        return signals.exit_code(error)
