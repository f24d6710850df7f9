"""Convert YAML recipes, dotted overrides and plain dicts to `Config` and back; check every key.

A recipe states only its differences from the paper (the defaults of the dataclasses), or from
another recipe, which its key `base` names.
"""

import contextlib
import dataclasses
import difflib
import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from keras_retinanet.config.model import ModelConfig
from keras_retinanet.config.options import describe, section_of
from keras_retinanet.config.schema import Config
from keras_retinanet.errors import MAX_SHOWN, UserError, shown
from keras_retinanet.files import atomic_write
from keras_retinanet.files.text_files import parse_yaml, read_yaml_text

# Model files written before version 0.1.0 have the key in British spelling.
OLD_METADATA_KEYS = {"licence": "license"}

_adapter = functools.cache(TypeAdapter)  # a quarter of a second for `Config`

# ------------------------------------------------------------------------------- dict <-> Config


def config_to_dict(config: Config | ModelConfig) -> dict[str, Any]:
    """Return all keys of `config` in nested plain dicts; the inverse of `config_from_dict`."""
    # Through JSON, where tuples are lists.
    return json.loads(json.dumps(dataclasses.asdict(config)))


def config_from_dict(values: Mapping[str, Any]) -> Config:
    """Build a Config from nested dicts; missing keys have the paper's values.

    Raises:
        UserError: unknown key (with the nearest one) or wrong type (with the expected one).
    """
    return _from_dict(Config, values)


def model_config_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """Build the `model` section, as a model file stores it; raises like `config_from_dict`."""
    return _from_dict(ModelConfig, values)


def metadata_from_dict(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's metadata as files store it, under today's keys."""
    return {OLD_METADATA_KEYS.get(key, key): value for key, value in values.items()}


def _from_dict(kind: type, values: Any) -> Any:
    values = _checked_sections(kind, values, "", dotted_keys(kind))
    # Through JSON, because only there strict validation accepts a list for a tuple.
    text = json.dumps(values, default=str)
    try:
        return _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        raise UserError(_type_message(error, kind)) from error


@functools.cache
def dotted_keys(kind: type = Config) -> tuple[str, ...]:
    """Return the dotted keys of all options below `kind`, such as "train.optimizer.name"."""
    keys: list[str] = []
    for entry in dataclasses.fields(kind):
        section = section_of(entry)
        keys += [f"{entry.name}.{key}" for key in dotted_keys(section)] if section else [entry.name]
    return tuple(keys)


def _checked_sections(kind: type, values: Any, prefix: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return `values` as nested dicts, after each key is checked against the fields of `kind`."""
    if values is None:  # a section in which every line is commented out
        return {}
    entries = {entry.name: section_of(entry) for entry in dataclasses.fields(kind)}
    if not isinstance(values, Mapping):
        where = f"Section {prefix[:-1]}" if prefix else "A configuration"
        raise UserError(
            f"{where} should hold keys ({', '.join(entries)}). Received: {_shown(values)}."
        )
    checked = {}
    for name, value in values.items():
        key = f"{prefix}{str(name)[:MAX_SHOWN]}"
        if name not in entries:
            raise UserError(f"Unknown key {key}. The nearest valid key is {_nearest(key, keys)}.")
        section = entries[name]
        checked[name] = (
            _checked_sections(section, value, f"{key}.", keys) if section else _plain(value, key)
        )
    return checked


def _plain(value: Any, key: str) -> Any:
    """Return `value` after checking that JSON, UTF-8 and file paths can hold it."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError, MemoryError):
        text = "\\u0000"
    if "\\u0000" in text:
        raise UserError(f"{key}: expected a plain value. Received: {_shown(value)}.")
    return value


def _nearest(key: str, keys: Sequence[str]) -> str:
    # The right name in a wrong or missing section is the most common mistake.
    leaf = key.rpartition(".")[2]
    same_leaf = [valid for valid in keys if valid.rpartition(".")[2] == leaf]
    return difflib.get_close_matches(key, same_leaf or keys, n=1, cutoff=0)[0]


def option_help(key: str) -> str:
    """Return the description of an option, such as "train.batch_size", for help and errors."""
    return describe(Config, key)


def _type_message(error: ValidationError, kind: type) -> str:
    """Return the message for the first invalid key: expected, received and its description."""
    keys = dotted_keys(kind)
    problems = error.errors(include_url=False)
    key = _key_of(problems[0]["loc"], keys)
    # A union reports one problem per type; the deepest is that of the best fit.
    problems = [problem for problem in problems if _key_of(problem["loc"], keys) == key]
    depth = max(len(problem["loc"]) for problem in problems)
    problems = [problem for problem in problems if len(problem["loc"]) == depth]
    wanted = dict.fromkeys(_expected(problem["msg"]) for problem in problems)
    received = _shown(problems[0]["input"])
    return f"{key}: expected {' or '.join(wanted)}. Received: {received}. {describe(kind, key)}"


def _expected(message: str) -> str:
    """Return the expected value of pydantic's "Input should be a valid integer, ..."."""
    if message == "Field required":
        return "more items"
    message = message.removesuffix(" or an object").split(" after validation")[0]
    return re.sub(r"^\w+ should (be|have) ", "", message).replace("valid array", "list")


def _key_of(location: tuple[int | str, ...], keys: Sequence[str]) -> str:
    """Return the dotted key of `location`, which may continue with items and types of unions."""
    parts = [str(part) for part in location]
    ends = range(len(parts), 0, -1)
    return next((k for end in ends if (k := ".".join(parts[:end])) in keys), ".".join(parts))


def _shown(value: Any) -> str:
    return f"{shown(value)} ({type(value).__name__})"


# -------------------------------------------------------------------------------------- overrides


def with_overrides(config: Config, overrides: Sequence[str] | Mapping[str, Any]) -> Config:
    """Return `config` with some keys replaced.

    Args:
        config: the configuration to change.
        overrides: strings such as "train.batch_size=8" with YAML values, or a dict of dotted key
            to value.

    Raises:
        UserError: a string without "=", an unknown key or a wrong type.
    """
    values = config_to_dict(config)
    if not isinstance(overrides, Mapping):
        overrides = dict(_parsed_override(text) for text in overrides)
    for key, value in overrides.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        values = _merged(values, value)
    return config_from_dict(values)


def _parsed_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(
            f"An override should read key=value. Received: {shown(text)}. "
            "Write for example train.batch_size=8."
        )
    return key.strip(), parse_yaml(value, f"--set {key}")


def _merged(below: Any, above: Any) -> Any:
    """Return `below` updated by `above`: dicts are merged key by key, other values replaced."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}


# ---------------------------------------------------------------------------------------- recipes


def configs_folder() -> Path:
    """Return the folder of the recipes: inside an installed package, or beside its checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def config_names() -> list[str]:
    """Return the names of the recipes, sorted."""
    return sorted(path.stem for path in configs_folder().glob("*.yaml"))


def load_config(
    name_or_path: str | Path | None = None, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Config:
    """Load a recipe by name, or a YAML file.

    Args:
        name_or_path: such as "bccd" or "my/own.yaml"; None: the paper's configuration.
        overrides: see `with_overrides`.

    Raises:
        UserError: no such recipe or file, invalid YAML, an unknown key or a wrong type.
    """
    config = Config()
    if name_or_path is not None:
        path = _recipe_path(str(name_or_path), Path())
        values = _read_recipe(path, ())
        try:
            config = config_from_dict(values)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    return with_overrides(config, overrides) if overrides else config


def _recipe_path(name: str, folder: Path) -> Path:
    """Return the file of recipe `name`; a path is taken relative to `folder`."""
    if name in config_names():
        return configs_folder() / f"{name}.yaml"
    path = folder / name
    with contextlib.suppress(OSError, ValueError):  # a name that no file system has
        if path.is_file():
            return path
    nearest = difflib.get_close_matches(name, config_names(), n=1, cutoff=0)
    hint = f" The nearest recipe is {nearest[0]}." if nearest else ""
    raise UserError(f"Expected a recipe's name or a YAML file. Received: {shown(name)}.{hint}")


def _read_recipe(path: Path, above: tuple[Path, ...]) -> Any:
    """Return the keys of the recipe at `path`, merged over those of its base."""
    path = path.resolve()
    if path in above:
        chain = " -> ".join(step.name for step in (*above, path))
        raise UserError(f"A recipe cannot be its own base. Received: {chain}.")
    values = parse_yaml(read_yaml_text(path), str(path))
    if not isinstance(values, Mapping) or values.get("base") is None:
        return values
    values = dict(values)
    try:
        base = _recipe_path(str(values.pop("base")), path.parent)
    except UserError as error:
        raise UserError(f"{path}: base: {error}") from error
    return _merged(_read_recipe(base, (*above, path)), values)


def save_config(config: Config, path: str | Path) -> None:
    """Write all keys of `config` to a YAML file from which `load_config` returns an equal one."""
    with atomic_write(path) as file:
        yaml.safe_dump(config_to_dict(config), file, sort_keys=False, allow_unicode=True)
