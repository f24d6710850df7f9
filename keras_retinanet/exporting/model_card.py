"""The card of a shared model: a README.md in the form of the hubs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from keras_retinanet.terminal import printable

# Those of which hubs know the license by such a word; all others are "other", with their name.
KNOWN_LICENSES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "gpl-3.0", "agpl-3.0", "unlicense"),
)
UNKNOWN_LICENSES = ("", "none recorded")
# In Markdown these begin a mark, a link, a cell or HTML.
_MARKS = re.compile(r"([\\`*_\[\]<>|#])")


@dataclass(frozen=True)
class Card:
    """What the card says.

    Attributes:
        name: of the model.
        file: name of the model file beside the card.
        sha256: of that file; "" for a folder.
        facts: name -> text, in the order to show.
        figures: metric -> its value as text; empty where nothing was measured.
        measured_on: what the figures were measured on.
        license: its name; "none recorded" where it is unknown.
        images: file names of drawn images, relative to the card.
        address: where it is going to be, such as hf://user/name; None: nowhere yet.
    """

    name: str
    file: str
    sha256: str
    license: str
    facts: Mapping[str, str]
    figures: Mapping[str, str] = field(default_factory=dict)
    measured_on: str = ""
    images: Sequence[str] = ()
    address: str | None = None


def card_text(card: Card) -> str:
    """Return the card as Markdown, with the hubs' fields at its head."""
    stated = "" if card.license in UNKNOWN_LICENSES else card.license
    parts = [
        _head(card, stated),
        f"# {escaped(card.name)}",
        "A RetinaNet object detector of `keras_retinanet`.",
        f"License: {escaped(stated) or 'not stated: ask the author before you use it'}.",
        "## Use it",
        _use(card),
        "## Accuracy",
        _accuracy(card),
    ]
    if card.images:
        shown = [f"![detections {number}]({name})" for number, name in enumerate(card.images, 1)]
        parts += ["## Detections", "\n".join(shown)]
    parts += ["## Facts", _table("fact", card.facts)]
    if card.sha256:
        parts.append(f"SHA-256 of `{card.file}`: `{card.sha256}`")
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Return text from a file on one line, with Markdown's marks escaped."""
    return _MARKS.sub(r"\\\1", printable(text))


def _head(card: Card, license: str) -> str:
    fields: dict[str, object] = {
        "library_name": "keras",
        "pipeline_tag": "object-detection",
        "tags": ["retinanet", "object-detection", "keras_retinanet"],
    }
    if license.lower() in KNOWN_LICENSES:
        fields["license"] = license.lower()
    elif license:
        fields |= {"license": "other", "license_name": printable(license)}
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---"


def _use(card: Card) -> str:
    own = card.file.endswith(".keras")
    room, reader = (
        ("keras_retinanet", "load") if own else ("keras_retinanet.exporting", "load_detector")
    )
    place = f"{card.address}/{card.file}" if card.address else card.file
    return (
        f"```python\nfrom {room} import {reader}\n\n"
        f'model = {reader}("{card.file}")\nfound = model.detect("photo.jpg")[0]\n```\n\n'
        f"On the command line: `keras_retinanet predict photo.jpg --model {place}`"
    )


def _accuracy(card: Card) -> str:
    if not card.figures:
        return "Not measured. `keras_retinanet evaluate --data_dir DIR --model FILE` measures it."
    where = f"On {escaped(card.measured_on)}:\n\n" if card.measured_on else ""
    return where + _table("metric", card.figures)


def _table(first: str, rows: Mapping[str, str]) -> str:
    lines = [f"| {first} | |", "|---|---|"]
    lines += [f"| {escaped(name)} | {escaped(value)} |" for name, value in rows.items()]
    return "\n".join(lines)
