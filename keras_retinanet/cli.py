"""The command line: an absl app whose subcommands are `commands.COMMANDS`.

With --json, standard output has one object and nothing else (`commands.json_output`).

Exit codes: 0 for success; 2 for the user's mistakes, with one line on standard error; 130 after
Ctrl-C, 143 after SIGTERM and 129 after SIGHUP, once the command has cleaned up.
"""

import contextlib
import io
import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from types import ModuleType

from absl import app, logging
from absl.flags import argparse_flags

from keras_retinanet.commands import COMMANDS, json_output
from keras_retinanet.commands.common import require_there
from keras_retinanet.errors import UserError
from keras_retinanet.files import is_disk_full
from keras_retinanet.processes import signals
from keras_retinanet.terminal import printable, safe_output
from keras_retinanet.version import __version__

PROGRAM = "keras_retinanet"
USER_ERROR = 2
# Python's own exit code after a traceback.
CRASHED = 1


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
            if not json_output.takes_json(command):
                json_output.add_json_argument(command)
            full_name = command.prog.removeprefix(f"{PROGRAM} ")
            command.set_defaults(run=module.run, command_name=full_name)


def main(argv: Sequence[str] | None = None) -> None:
    """Run `argv` (without the program's name; default: `sys.argv`) and exit.

    Without a word, list the commands.
    """
    words = [PROGRAM, *((sys.argv[1:] if argv is None else argv) or ["--help"])]
    with safe_output():
        app.run(run, argv=words, flags_parser=_parse)


def _parse(words: Sequence[str]) -> Namespace:
    if json_output.FLAG not in words:
        return build_parser().parse_args(words[1:])
    said = io.StringIO()  # what is wrong with the words
    try:
        with contextlib.redirect_stderr(said):
            return build_parser().parse_args(words[1:])
    except SystemExit as end:
        text = said.getvalue()
        print(text, end="", file=sys.stderr)
        if end.code == USER_ERROR:
            program, _, message = text.strip().rpartition("\n")[2].partition(": error: ")
            command = program.removeprefix(PROGRAM).strip()
            json_output.print_object(command, USER_ERROR, error=message)
        raise


def run(args: Namespace) -> int:
    """Run the parsed command, print the user's mistake on one line, return the exit code."""
    logging.set_verbosity(logging.WARNING)  # TensorFlow reports through absl, step by step
    if not json_output.ask_for_result(args):
        return _run(args)[0]
    try:
        with json_output.text_on_standard_error():
            code, message = _run(args)
    except Exception as error:
        name = type(error).__name__
        json_output.print_object(args.command_name, CRASHED, error=f"{name}: {error}")
        raise
    json_output.print_object(args.command_name, code, error=message, result=args.result)
    return code


def _run(args: Namespace) -> tuple[int, str | None]:
    """Return the exit code, and the message of an error, which is printed too."""
    try:
        with signals.raised():
            require_there(args)
            return args.run(args), None
    except UserError as error:
        code, message = USER_ERROR, printable(str(error))
    except OSError as error:
        if error.filename is None and not is_disk_full(error):  # not about a file of the user's
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        code, message = USER_ERROR, printable(f"{place}{error.strerror}") + "."
    except KeyboardInterrupt as error:
        message = f"interrupted{f' by {error}' if str(error) else ''}"
        print(f"{PROGRAM}: {message}", file=sys.stderr)
        return signals.exit_code(error), message
    print(f"{PROGRAM}: error: {message}", file=sys.stderr)
    return code, message
