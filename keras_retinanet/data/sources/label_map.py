"""`label_map.pbtxt`, the TF Object Detection API's list of classes, and `labels.txt`.

The message is `StringIntLabelMap` of object_detection/protos/string_int_label_map.proto, in
protobuf's text format; of its fields only the id and the names are read.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from keras_retinanet.errors import UserError
from keras_retinanet.files import read_regular
from keras_retinanet.files.names import name_key

LABEL_MAP_SUFFIX = ".pbtxt"
# The 1,203 classes of LVIS take 100 kB, and parsing takes a second a megabyte.
MAX_BYTES = 4 << 20


class LabelMap(NamedTuple):
    """The classes of a set of TFRecords, in the order of their ids.

    Attributes:
        names: what the classes are called.
        ids: the number of each in `image/object/class/label`; 0 is the background's.
        by_text: `name_key` of `image/object/class/text` -> index in `names`: its own name, and in a
            .pbtxt file `name` (such as /m/01g317) beside `display_name` (such as person).
    """

    names: list[str]
    ids: list[int]
    by_text: dict[str, int]


def read_label_map(path: Path) -> LabelMap:
    """Read the classes of a .pbtxt, or of a text file with a name a line, the first with id 1.

    Raises:
        UserError: the file cannot be parsed, has no class, or a name or id twice.
    """
    try:
        text = read_regular(path, max_bytes=MAX_BYTES).decode("utf-8-sig")
        if path.suffix == LABEL_MAP_SUFFIX:
            message = text_format.Parse(text, _message(), allow_unknown_field=True)
            items = [(item.id, item.display_name or item.name, item.name) for item in message.item]
            items.sort(key=lambda item: item[0])
        else:
            lines = [line.strip() for line in text.splitlines()]
            items = [(number, line, line) for number, line in enumerate(lines, 1) if line]
    except (OSError, text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"Expected a label map. Received: {path} ({error}). Fix it.") from error
    ids = [class_id for class_id, *_ in items]
    names = [shown for _, shown, _ in items]
    if not items or len(set(ids)) < len(ids) or len(set(names)) < len(names) or "" in names:
        raise UserError(
            f"Expected classes with different ids and names. Received: {path}, with {len(items)} "
            f"items, {len(set(ids))} ids and {len(set(names))} names. Fix it."
        )
    by_text = {name_key(name): index for index, (*_, name) in enumerate(items) if name}
    by_text |= {name_key(shown): index for index, shown in enumerate(names)}
    return LabelMap(names, ids, by_text)


def label_map_text(names: Sequence[str], ids: Sequence[int]) -> str:
    """Return the content of the .pbtxt that `read_label_map` reads back."""
    message = _message()
    for name, class_id in zip(names, ids, strict=True):
        message.item.add(name=name, id=class_id)
    return text_format.MessageToString(message, as_utf8=True)


def _message() -> Any:
    return _message_class()()


@functools.cache
def _message_class() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    item = descriptor_pb2.DescriptorProto(name="StringIntLabelMapItem")
    for name, number, kind in (
        ("name", 1, field.TYPE_STRING),
        ("id", 2, field.TYPE_INT32),
        ("display_name", 3, field.TYPE_STRING),
    ):
        item.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    label_map = descriptor_pb2.DescriptorProto(name="StringIntLabelMap")
    label_map.field.add(
        name="item",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".keras_retinanet.StringIntLabelMapItem",
        label=field.LABEL_REPEATED,
    )
    file = descriptor_pb2.FileDescriptorProto(
        name="keras_retinanet_label_map.proto",
        package="keras_retinanet",
        syntax="proto2",
        message_type=[item, label_map],
    )
    # A pool of its own: the program's may hold the original message.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("keras_retinanet.StringIntLabelMap")
    return message_factory.GetMessageClass(descriptor)
