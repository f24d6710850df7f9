"""A folder of OpenVINO's IR, read as text and bytes: its facts, digests, what ours never hold."""

import re
from pathlib import Path
from xml.parsers import expat

from keras_retinanet.exporting.facts import FACTS_FILE, MAX_FACTS, OPENVINO_FILE, OPENVINO_WEIGHTS
from keras_retinanet.files import sha256_of

# Of operators: OpenVINO's own. Others' are in libraries that a file can ask for.
OPSET = re.compile(r"opset\d{1,2}")


def openvino_facts(path: Path) -> bytes:
    """Return the text of the facts in the folder `path`; nothing if there is none."""
    file = path / FACTS_FILE
    if not file.is_file() or file.stat().st_size > MAX_FACTS:
        return b""
    return file.read_bytes()


def strange_parts(path: Path) -> list[str]:
    """Return what the graph in the folder `path` has and no export of ours: foreign operators.

    Raises:
        ExpatError: it is no XML.
    """
    found: dict[str, None] = {}

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "layer" and OPSET.fullmatch(attributes.get("version", "")) is None:
            found[f"the operator {attributes.get('type')}"] = None

    def entity(*_: object) -> None:
        found["entities of XML"] = None

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EntityDeclHandler = entity
    with open(path / OPENVINO_FILE, "rb") as stream:
        parser.ParseFile(stream)
    return list(found)


def digests(path: Path) -> dict[str, str]:
    """Return file -> SHA-256 of what is loaded from the folder `path`."""
    names = (OPENVINO_FILE, OPENVINO_WEIGHTS)
    return {
        name: sha256_of(path / name) if (path / name).is_file() else "no regular file"
        for name in names
    }
