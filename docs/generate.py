"""Pages generated from the code: configuration, recipes and command line, as Markdown.

`conf.py` inserts each at its mark (`PAGES`) when the site is built, so that no list is written
twice.
"""

import dataclasses
import functools
import inspect
import os
import re
import types
import typing
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo import zoo

from keras_retinanet.config import Config
from keras_retinanet.config.reference import as_yaml, option_rows, recipe_facts

ROOT = Path(__file__).resolve().parents[1]
PLAIN = {bool: "true or false", int: "integer", float: "number", str: "text"}
PLURAL = {
    int: "integers",
    float: "numbers",
    str: "texts",
    str | dict[str, dict[str, Any]]: "layers",
}

# ---------------------------------------------------------------------------------- configuration


@dataclasses.dataclass(frozen=True)
class Option:
    """One field of the configuration.

    Attributes:
        name: dotted, as `--set` takes it.
        kind: the values it takes, in words.
        default: as YAML has it.
        text: its description.
    """

    name: str
    kind: str
    default: str
    text: str


def options(section: type, prefix: str) -> list[Option]:
    """Return the options of a dataclass in order, without those of its sections."""
    hints = typing.get_type_hints(section, include_extras=True)
    return [
        Option(
            name=f"{prefix}.{field.name}",
            kind=kind_in_words(hints[field.name]),
            default=as_yaml(field.default),
            text=field.metadata.get("description", ""),
        )
        for field in dataclasses.fields(section)
        if not dataclasses.is_dataclass(hints[field.name])
    ]


def sections(section: type = Config, prefix: str = "") -> list[tuple[str, type]]:
    """Return (dotted name, dataclass) of all sections below `section`, parents first."""
    found = []
    for name, hint in typing.get_type_hints(section).items():
        if dataclasses.is_dataclass(hint):
            dotted = f"{prefix}.{name}".lstrip(".")
            found += [(dotted, hint), *sections(hint, dotted)]
    return found


def kind_in_words(hint: Any) -> str:
    """Return what a field's type takes: "number, 0 to 1", "`c5` or `p5`", "text, or none"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        bounds = [bound for field in arguments[1:] for bound in field.metadata]
        if typing.get_origin(arguments[0]) is tuple:
            return _list_in_words(typing.get_args(arguments[0]), bounds)
        return kind_in_words(arguments[0]) + _range_in_words(bounds)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return _list_in_words(arguments, [])
    if origin in (typing.Union, types.UnionType):
        parts = [kind_in_words(part) for part in arguments if part is not type(None)]
        return "; or ".join([*parts, *(["none"] if type(None) in arguments else [])])
    return PLAIN[hint]


def _list_in_words(items: tuple, bounds: list) -> str:
    lengths = _limits(bounds)
    if Ellipsis not in items:
        count = f"{len(items)} "
    elif "MaxLen" in lengths:
        count = f"{lengths['MaxLen']} "
    else:
        count = "one or more " if "MinLen" in lengths else "list of "
    item, item_bounds = items[0], []
    if typing.get_origin(item) is typing.Annotated:
        item, *fields = typing.get_args(item)
        item_bounds = [bound for field in fields for bound in field.metadata]
    return count + PLURAL[item] + _range_in_words(item_bounds)


def _range_in_words(bounds: list) -> str:
    limits = _limits(bounds)
    if {"Ge", "Le"} <= limits.keys():
        return f", {limits['Ge']} to {limits['Le']}"
    words = {"Ge": "{} or more", "Gt": "over {}", "Le": "up to {}", "Lt": "below {}"}
    said = [words[name].format(value) for name, value in limits.items()]
    return ", " + ", ".join(said) if said else ""


def _limits(bounds: list) -> dict[str, Any]:
    """Return kind of bound ("Ge", "MaxLen", ...) -> its value, of pydantic's metadata."""
    return {type(bound).__name__: dataclasses.astuple(bound)[0] for bound in bounds}


def configuration() -> str:
    """Return the reference of every option, with one heading per section."""
    parts = []
    for name, section in sections():
        parts.append(f"{'#' * (name.count('.') + 2)} {name}\n")
        if not (section.__doc__ or "").startswith(f"{section.__name__}("):  # the dataclass's own
            parts.append(inspect.cleandoc(section.__doc__ or "") + "\n")
        for option in options(section, name):
            parts.append(
                f"```{{confval}} {option.name}\n:type: {option.kind}\n"
                f":default: `{option.default}`\n\n{option.text}\n```\n"
            )
    return "\n".join(parts)


# ---------------------------------------------------------------------------------------- recipes


def recipes() -> str:
    """Return a table of `configs/*.yaml` with what their headers state."""
    rows = ["| recipe | what for | duration | AP |", "|---|---|---|---|"]
    for name, facts in recipe_facts().items():
        said = [facts.get(key, "") for key in ("", "duration", "AP")]
        said = [re.sub(r"--\w+ \w+", r"`\g<0>`", text) for text in said]  # flags are code
        cells = [f"`{name}`", *said]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


# ------------------------------------------------------------------------------------ command line


def commands() -> str:
    """Return the help of every command, with one heading per command."""
    from keras_retinanet.cli import build_parser

    return "\n".join(
        f"## {name}\n\n```text\n{parser.format_help().rstrip()}\n```\n"
        for name, parser in subparsers(build_parser())
    )


def subparsers(parser: ArgumentParser, prefix: str = "") -> list[tuple[str, ArgumentParser]]:
    """Return (words, parser) of every command that has no commands below it."""
    found = []
    for action in parser._actions:
        if not isinstance(action, _SubParsersAction):
            continue
        for name, child in action.choices.items():
            words = f"{prefix} {name}".strip()
            found += subparsers(child, words) or [(words, child)]
    return found


# ------------------------------------------------------------------------ pages of the repository

LISTS = ROOT / "docs" / "options.md"
ZOO = ROOT / "docs" / "model_zoo.md"


def lists() -> str:
    """Return `docs/options.md`: recipes and options, for readers of the repository."""
    rows = [
        f"| `{row.name}` | `{row.default}` | {row.text.replace('|', '')} |" for row in option_rows()
    ]
    return (
        "# Recipes and options\n\n"
        "Written by `python docs/generate.py`; `keras_retinanet recipes` and `keras_retinanet "
        "options` print the same.\n\n"
        f"## Recipes, for `--config`\n\n{recipes()}\n"
        "## Options, for `--set` and recipes\n\n| option | default | meaning |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


# --------------------------------------------------------------------------- files outside of docs/

# Files of the repository -> the page that shows them.
SHOWN = {
    "README.md": "index.md",
    "export/README.md": "applications.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "keras_retinanet/config/schema.py": "configuration.md",
    "keras_retinanet/config/model.py": "configuration.md",
}
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def repository_file(name: str) -> str:
    """Return a Markdown file of the repository, with its links rewritten for a page in docs/."""
    file = ROOT / name
    return relinked(file.read_text(encoding="utf-8"), file.parent)


def relinked(text: str, folder: Path) -> str:
    """Return Markdown from `folder` with its links to files rewritten for a page in docs/."""

    def moved(match: re.Match[str]) -> str:
        file = (folder / match[2]).resolve()
        if not file.is_relative_to(ROOT):
            return match[0]
        name = file.relative_to(ROOT).as_posix()
        return match[1] + SHOWN.get(name, os.path.relpath(file, ROOT / "docs")) + match[3]

    return LINK.sub(moved, text)


# Mark in a page -> function that returns its replacement.
PAGES: dict[str, Callable[[], str]] = {
    "<!-- readme -->": functools.partial(repository_file, "README.md"),
    "<!-- export/README -->": functools.partial(repository_file, "export/README.md"),
    "<!-- changelog -->": functools.partial(repository_file, "CHANGELOG.md"),
    "<!-- security -->": functools.partial(repository_file, "SECURITY.md"),
    "<!-- configuration -->": configuration,
    "<!-- recipes -->": recipes,
    "<!-- commands -->": commands,
}


if __name__ == "__main__":
    LISTS.write_text(lists(), encoding="utf-8")
    ZOO.write_text(zoo(), encoding="utf-8")
