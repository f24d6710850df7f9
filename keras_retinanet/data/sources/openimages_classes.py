"""The classes of Open Images: their names, and which stand above which."""

import json
from pathlib import Path
from typing import Any

from keras_retinanet.data.sources.source_files import csv_rows, excerpt
from keras_retinanet.errors import UserError, shown
from keras_retinanet.files import read_regular

# That of the 600 classes has 90 kB.
MAX_HIERARCHY_BYTES = 16 << 20


def read_classes(file: Path) -> tuple[list[str], dict[str, int]]:
    """Return the class names, and label (MID) -> index. Two labels of one name are one class.

    Raises:
        UserError: it is cut off, not UTF-8, or has other columns.
    """
    names: dict[str, str] = {}
    for line, cells in csv_rows(file):
        if len(cells) != 2 or not all(cells):
            raise UserError(
                f"Expected rows label,name, as /m/0k4j,Car. Received: {file}, line {line}: "
                f"{excerpt(','.join(cells))}. Fix that line."
            )
        names[cells[0]] = cells[1]
    # Version 7 has a header, the older ones have none.
    names.pop("LabelName", None)
    class_names = list(dict.fromkeys(names.values()))
    index = {name: place for place, name in enumerate(class_names)}
    return class_names, {label: index[name] for label, name in names.items()}


def read_hierarchy(file: Path) -> dict[str, list[str]]:
    """Return label -> the labels above it, without the root, which stands for any object.

    Raises:
        UserError: it is cut off, nested too deep or of another form.
    """
    try:
        root = json.loads(read_regular(file, max_bytes=MAX_HIERARCHY_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"Expected a whole JSON file. Received: {file} ({error}).") from error
    above: dict[str, list[str]] = {}
    stack: list[tuple[Any, list[str]]] = [(root, [])]
    while stack:
        node, parents = stack.pop()
        children = node.get("Subcategory", []) if isinstance(node, dict) else None
        if not isinstance(children, list) or not isinstance(node.get("LabelName"), str):
            raise UserError(
                f"Expected nodes of LabelName and Subcategory. Received: {file}, with "
                f"{shown(node)}. Download it again."
            )
        label = node["LabelName"]
        if node is not root:
            # A label may stand below several others.
            above[label] = list(dict.fromkeys([*above.get(label, ()), *parents]))
            parents = [label, *parents]
        stack += [(child, parents) for child in children]
    return above
