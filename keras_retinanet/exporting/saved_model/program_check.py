"""A SavedModel's program, read without running any of it: is it such as we export?

`tf.saved_model.load` runs the functions of its resources, and a signature runs whatever operators
its author chose. Our facts beside it prove nothing, for anybody can copy them; the operators do.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import FACTS_FILE, MAX_FACTS, SAVED_MODEL_FILE
from keras_retinanet.exporting.saved_model.operators import OPERATORS, SAVER_OPERATORS
from keras_retinanet.files import sha256_of

# Of `saved_model.pb`; real ones have 1 to 10 MB.
MAX_GRAPH = 64 << 20
# Of one constant: a few bytes can stand for any number of equal elements.
MAX_ELEMENTS = 1 << 24
# Of the object graph, what `Serving` becomes. Others run functions or build objects at loading.
OBJECT_KINDS = {
    *("user_object", "function", "bare_concrete_function", "variable", "constant"),
    "captured_tensor",
}
OBJECTS = {
    *("_generic_user_object", "signature_map", "trackable_list_wrapper"),
    *("trackable_dict_wrapper", "trackable_tuple_wrapper"),
}
# TensorFlow numbers its functions; no operator has such a name, which a call could mean instead.
FUNCTION_NAME = re.compile(r"\S+_\d+")
# TensorFlow would also read these.
OTHER_FILES = ("saved_model.pbtxt", "saved_model.cpb", "debug/saved_model_debug_info.pb")


def saved_model_facts(path: Path) -> bytes:
    """Return the text of the facts in the folder `path`; nothing if there is none."""
    file = path / "assets" / FACTS_FILE
    if not file.is_file() or file.stat().st_size > MAX_FACTS:
        return b""
    return file.read_bytes()


def strange_parts(path: Path) -> list[str]:
    """Return what the SavedModel in the folder `path` has and no export of ours, each once.

    Raises:
        UserError: its graph is larger than any.
        DecodeError: its graph is damaged.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = path / SAVED_MODEL_FILE
    size = file.stat().st_size
    if size > MAX_GRAPH:
        raise UserError(
            f"Expected {SAVED_MODEL_FILE} of at most {MAX_GRAPH:,} bytes. Received: {file} of "
            f"{size:,}, which no export of keras_retinanet has."
        )
    saved = SavedModel.FromString(file.read_bytes())
    found = [f"the file {name}" for name in OTHER_FILES if (path / name).exists()]
    if len(saved.meta_graphs) != 1:
        found.append(f"{len(saved.meta_graphs)} graphs")
    for graph in saved.meta_graphs:
        found += _strange_objects(graph)
        found += _strange_functions(graph)
    return list(dict.fromkeys(found))


def _strange_objects(graph: Any) -> Iterator[str]:
    if not graph.HasField("object_graph_def"):
        yield "no object graph"
    if graph.asset_file_def:
        yield "asset files"
    for node in graph.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind not in OBJECT_KINDS:
            yield f"an object of the kind {kind}"
        elif kind == "user_object" and node.user_object.identifier not in OBJECTS:
            yield f"an object of the kind {node.user_object.identifier}"
        elif node.registered_name or node.registered_saver:
            yield f"an object of the kind {node.registered_name or node.registered_saver}"
        elif node.saveable_objects or node.slot_variables:
            yield "an object that restores itself"


def _strange_functions(graph: Any) -> Iterator[str]:
    library = graph.graph_def.library
    if library.gradient or library.registered_gradients:
        yield "gradients of its own"
    defined = {function.signature.name for function in library.function}
    named = _named_by_objects(graph.object_graph_def)
    for function in library.function:
        if not FUNCTION_NAME.fullmatch(function.signature.name):
            yield f"a function {function.signature.name}"
        named.update(_called([function.attr, *(node.attr for node in function.node_def)]))
    in_graph = set(_called(node.attr for node in graph.graph_def.node))
    for name in sorted((named | in_graph) - defined):
        yield f"a call of {name}"
    yield from _strange_nodes(graph.graph_def.node, OPERATORS | SAVER_OPERATORS)
    for function in library.function:
        is_saver = function.signature.name not in named
        known = OPERATORS | SAVER_OPERATORS if is_saver else OPERATORS
        yield from _strange_nodes(function.node_def, known)


def _named_by_objects(objects: Any) -> set[str]:
    """Return the functions that a loaded object has or captures from."""
    named = set(objects.concrete_functions)
    for node in objects.nodes:
        named.update(node.function.concrete_functions)
        named.add(node.bare_concrete_function.concrete_function_name)
        named.add(node.captured_tensor.concrete_function)
    return named - {""}


def _called(attributes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Return the functions that attributes of operators name."""
    waiting = list(attributes)
    while waiting:
        for value in waiting.pop().values():
            for function in [value.func, *value.list.func]:
                if function.name:
                    yield function.name
                if function.attr:
                    waiting.append(function.attr)


def _strange_nodes(nodes: Iterable[Any], known: frozenset[str]) -> Iterator[str]:
    for node in nodes:
        if node.op not in known:
            yield f"the operator {node.op}"
        for value in node.attr.values():
            for tensor in [value.tensor, *value.list.tensor]:
                sizes = [max(dimension.size, 0) for dimension in tensor.tensor_shape.dim]
                if math.prod(sizes) > MAX_ELEMENTS:
                    yield f"a constant of more than {MAX_ELEMENTS:,} elements"


# ------------------------------------------------------------------------------------- integrity


def digests(path: Path) -> dict[str, str]:
    """Return file -> SHA-256 of what a SavedModel's folder is loaded from."""
    found = {}
    for file in [path / SAVED_MODEL_FILE, *sorted((path / "variables").iterdir())]:
        name = file.relative_to(path).as_posix()
        if not file.is_file():  # a pipe would never end
            found[name] = "no regular file"
            continue
        found[name] = sha256_of(file)
    return found


def changed_files(found: Mapping[str, str], stored: Any) -> list[str]:
    """Return the files whose digest in `found` is not the one in `stored`, an earlier `digests`."""
    stored = stored if isinstance(stored, dict) else {}
    return sorted(name for name in {*stored, *found} if stored.get(name) != found.get(name))
