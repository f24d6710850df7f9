"""CVAT for images 1.1: of each split a folder, with `annotations.xml` and `images/`.

Source: https://docs.cvat.ai/docs/manual/advanced/xml_format/
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from keras_retinanet.data.records import Dataset, Record
from keras_retinanet.data.writers import lost
from keras_retinanet.data.writers.shared import (
    PictureNames,
    WriteOptions,
    check_class_names,
    copied_pictures,
    decimal,
    split_words,
)

PICTURES = "images"
ANNOTATIONS = "annotations.xml"


def write(splits: Mapping[str, Dataset], folder: Path, options: WriteOptions) -> list[str]:
    """Write a folder a split, since a split is a task of CVAT: upload both of what is in it.

    Image ids count from 0, as CVAT's do. Detected boxes have the source "auto", others "manual".
    """
    class_names = next(iter(splits.values())).class_names
    check_class_names(class_names, "CVAT")
    words = split_words(splits, r"\w.-", "_")
    all_names = []
    ids: dict[lost.PictureKey, int] = {}
    for split, dataset in splits.items():
        names = PictureNames()
        target = folder / words[split]
        target.mkdir()
        with open(target / ANNOTATIONS, "w", encoding="utf-8") as stream:
            stream.write(_head(f"{options.name} {split}", class_names))
            pictures = copied_pictures(dataset, target / PICTURES, names, options)
            for number, (record, name) in enumerate(pictures):
                ids[record.image, record.image_id] = number
                stream.writelines(_image(record, number, name, class_names))
            stream.write("</annotations>\n")
        all_names.append(names)
    return [
        *lost.ignored(splits, "skipped: CVAT has none"),
        *lost.areas(splits),
        *lost.image_ids(splits, ids),
        *lost.class_ids(next(iter(splits.values())), 1),
        *lost.names(all_names),
    ]


def _head(name: str, class_names: Sequence[str]) -> str:
    labels = "".join(
        f"        <label><name>{escape(label)}</name><type>rectangle</type>"
        "<attributes></attributes></label>\n"
        for label in class_names
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
        f"  <meta>\n    <task>\n      <name>{escape(name)}</name>\n      <mode>annotation</mode>\n"
        f"      <labels>\n{labels}      </labels>\n    </task>\n  </meta>\n"
    )


def _image(record: Record, number: int, name: str, class_names: Sequence[str]) -> Iterator[str]:
    yield (
        f'  <image id="{number}" name={quoteattr(name)} width="{record.width}" '
        f'height="{record.height}">\n'
    )
    source = "manual" if record.scores is None else "auto"
    kept = ~record.ignore
    for box, class_index in zip(record.boxes[kept], record.classes[kept], strict=True):
        x1, y1, x2, y2 = map(decimal, box)
        yield (
            f'    <box label={quoteattr(class_names[class_index])} source="{source}" '
            f'occluded="0" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" z_order="0"></box>\n'
        )
    yield "  </image>\n"
