"""Configurations that Keras writes into its files, looked at as plain JSON.

Keras builds objects from them, by module and name: its safe mode refuses Lambda layers, but
looks functions up among whatever is registered or importable. Nothing here builds anything. A
configuration that asks for code is refused, so that nobody passes the file on to what does.
"""

import json
import zipfile
from typing import Any

from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import Damaged
from keras_retinanet.weight_files.mapped_file import zip_member

# In a `.keras` file.
KERAS_CONFIG = "config.json"
# Real ones have some 100 KB.
MAX_CONFIG = 16 << 20
# Packages whose objects the families here are made of.
KNOWN_PACKAGES = ("keras", "tf_keras", "keras_hub", "keras_cv", "keras_nlp", "keras_retinanet")
# Of Keras, what its files never name: functions that fetch, read and write, and those that
# switch its safe mode off.
CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "__lambda__", "get_file")


def config_text(view: memoryview, info: zipfile.ZipInfo) -> str:
    """Return the text of a configuration in a zip, whose size is looked at before it is unpacked.

    Raises:
        Damaged, UnicodeDecodeError: it is too large, damaged or no text.
    """
    if info.file_size > MAX_CONFIG:
        raise Damaged("a configuration larger than any model's")
    return bytes(zip_member(view, info)).decode()


def parse_config(text: bytes | str) -> Any:
    """Return the JSON of a configuration after a look at every object that it describes.

    Raises:
        UserError: it describes a function of its own, or names an object of a module that is
            not Keras's or this package's.
        Damaged, ValueError, RecursionError: it is no JSON of a plausible size.
    """
    if len(text) > MAX_CONFIG:
        raise Damaged("a configuration larger than any model's")
    config = json.loads(text)
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            _check_object(node)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return config


def _check_object(node: dict[str, Any]) -> None:
    """Refuse the description of an object that would run code."""
    names = [node.get("class_name"), node.get("registered_name")]
    found = next((str(name) for name in names if _ends(name) in CODE), None)
    if found is None and "class_name" in node:
        module = node.get("module")
        if module is not None and not _known(module):
            found = f"{module}.{node['class_name']}"
        # How Keras describes functions; those it knows are given by their name alone.
        elif node["class_name"] == "function" and not _known(module):
            found = f"function {node.get('config')}"
    if found is not None:
        shown = found.encode("unicode_escape").decode()[:100]
        raise UserError(
            "expected a model of plain layers. Received: a configuration that asks for code "
            f"({shown}), which is not run. Save the weights alone, or take another file."
        )


def _ends(name: Any) -> str:
    return name.rpartition(">")[2] if isinstance(name, str) else ""


def _known(module: Any) -> bool:
    return isinstance(module, str) and module.split(".")[0] in (*KNOWN_PACKAGES, "builtins")
