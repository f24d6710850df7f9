"""YAML and JSON from anywhere -> plain values, within bounds.

A few bytes of YAML can stand for gigabytes (aliases of aliases), for what has no end (an alias of
what it lies in) or for an integer that takes hours to read. Nobody's configuration needs these.
"""

import json
import math
import os
import re
from typing import Any

import yaml

from keras_retinanet.errors import UserError, shown
from keras_retinanet.files import read_regular
from keras_retinanet.files.collector import collector_at_rest

# PyYAML takes half a minute for this many.
MAX_BYTES = 1 << 19
# Sections, keys, lists of lists: far below where Python's stack ends.
MAX_DEPTH = 32
# Characters of the longest number that any key can take, and some.
MAX_NUMBER = 64
# The largest public annotation files and lists of detections have some gigabytes.
MAX_JSON_BYTES = 8 << 30


class _Bounds:
    """What a loader refuses: aliases, deep nesting, endless numbers."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark  # type: ignore[attr-defined]
        if self.check_event(yaml.AliasEvent):  # type: ignore[attr-defined]
            raise yaml.MarkedYAMLError(problem="an alias (*name)", problem_mark=mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            problem = f"nested more than {MAX_DEPTH} deep"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        node = super().compose_node(parent, index)  # type: ignore[misc]
        self._depth -= 1
        return node


class TextLoader(_Bounds, yaml.BaseLoader):
    """Texts, lists and mappings alone, so that `no` is a name."""


class TypedLoader(_Bounds, yaml.SafeLoader):
    """YAML's safe types, with floats as in YAML 1.2: `1e-4` is a number, not a text."""

    def construct_number(self, node: Any) -> int | float:
        """Return a finite number; of any more than `MAX_NUMBER` characters, none is needed."""
        text = self.construct_scalar(node)
        is_float = node.tag.endswith("float")
        if len(text) <= MAX_NUMBER:
            number = self.construct_yaml_float(node) if is_float else self.construct_yaml_int(node)
            if math.isfinite(number):
                return number
        problem = f"{shown(text)}, which is too long or too large for a number"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


TypedLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)
for _kind in ("int", "float"):
    TypedLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", TypedLoader.construct_number)


def parse_yaml(text: str, origin: str, *, loader: type = TypedLoader) -> Any:
    """Return the value that `text` holds; `origin` names it in the UserError for bad YAML."""
    try:
        if len(text) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} characters")
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        # PyYAML's messages span lines; the problem and its place fit on one.
        problem = getattr(error, "problem", None) or (str(error).splitlines() or ["?"])[0]
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"{origin}{place}: expected valid YAML. Received: {problem[:200]}."
        ) from error


def read_yaml_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a YAML file in UTF-8.

    Raises:
        UserError: it cannot be read, is no regular file, is too large or not in UTF-8.
    """
    try:
        return read_regular(path, max_bytes=MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        why = f"line {line}: not UTF-8 text"
        raise UserError(f"Expected a readable YAML file. Received: {path}, {why}.") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"Expected a readable YAML file. Received: {path} ({why}).") from error


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Return what `json.loads` does, in less time."""
    with collector_at_rest():
        return json.loads(text, **options)


def read_json(path: str | os.PathLike[str], *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Return the value that a JSON file holds.

    Raises:
        UserError: it cannot be read, is no regular file, is too large or no JSON in UTF-8.
    """
    try:
        return parse_json(read_regular(path, max_bytes=max_bytes))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} must be a JSON file. Received: {error}.") from error
