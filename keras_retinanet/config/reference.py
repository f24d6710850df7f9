"""The options and recipes as lists that commands and documentation print."""

import dataclasses
from typing import Any, NamedTuple

from keras_retinanet.config.files import config_names, configs_folder, dotted_keys, option_help
from keras_retinanet.config.schema import Config
from keras_retinanet.files.text_files import read_yaml_text

# First words of the lines in a recipe's header that state a fact; its other lines are prose.
HEADER = ("command", "hardware", "duration", "AP")


class OptionRow(NamedTuple):
    """An option: its dotted name, its default as YAML has it, and its description."""

    name: str
    default: str
    text: str


def option_rows() -> list[OptionRow]:
    """Return all options in the order of the configuration."""
    defaults = dataclasses.asdict(Config())
    rows = []
    for key in dotted_keys():
        value: Any = defaults
        for part in key.split("."):
            value = value[part]
        rows.append(OptionRow(key, as_yaml(value), option_help(key)))
    return rows


def as_yaml(value: Any) -> str:
    """Return a default as a recipe would state it, fractions to six digits."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(as_yaml(item) for item in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def recipe_facts() -> dict[str, dict[str, str]]:
    """Return name -> what the header of each recipe states; see `recipe_header`."""
    folder = configs_folder()
    return {name: recipe_header(read_yaml_text(folder / f"{name}.yaml")) for name in config_names()}


def recipe_header(text: str) -> dict[str, str]:
    """Return each fact of HEADER that a recipe states, and under "" its first sentence."""
    facts, key = {"": ""}, ""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words = line.lstrip("#").strip()
        if not words:
            key = "more"
        first, _, rest = words.partition(" ")
        if first in HEADER:
            key, words = first, rest.strip()
        facts[key] = f"{facts.get(key, '')} {words}".strip()
    return facts
