"""Which public weight files there are: name -> family, figures, license, address, hash."""

import difflib
import functools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from keras_retinanet.errors import UserError
from keras_retinanet.files.downloads import Source
from keras_retinanet.files.text_files import parse_yaml

FILE = "catalogue.yaml"
NEAR_NAMES = 3


@dataclass(frozen=True)
class Entry:
    """One public file.

    Attributes:
        name: the maker's name and the maker's own name of the file.
        family: key of `checkpoints.FAMILIES`.
        backbone: key of `backbones.BACKBONES`.
        address: https; a page if `by_hand`.
        license: what the maker's repository says.
        source: where the address was read.
        file: name in the cache.
        ap: box AP on COCO val2017 as published, in percent.
        score: what was published instead of an AP.
        hash: "algorithm:leading hex digits", or "" where none is published.
        bytes: exact size where published.
        by_hand: the file can only be fetched in a browser.
    """

    name: str
    family: str
    backbone: str
    address: str
    license: str
    source: str
    file: str
    ap: float | None = None
    score: str = ""
    hash: str = ""
    bytes: int | None = None
    by_hand: bool = False

    @property
    def download(self) -> Source:
        """What is needed to fetch it."""
        return Source(self.name, self.address, self.file, self.hash, self.bytes, self.by_hand)

    @property
    def figure(self) -> str:
        """What was published of its accuracy, as text; "-" for nothing."""
        return f"{self.ap:.1f}" if self.ap is not None else self.score or "-"


@functools.cache
def catalogue() -> dict[str, Entry]:
    """Return name -> entry, in the order of the file."""
    text = (resources.files(__package__) / FILE).read_text(encoding="utf-8")
    stored = parse_yaml(text, FILE)
    entries = {}
    for values in stored["files"]:
        family = stored["families"][values["family"]]
        values = {"file": values["address"].rpartition("/")[2], **family, **values}
        entries[values["name"]] = Entry(**values)
    return entries


def find_entry(name: str) -> Entry:
    """Return the entry of that name.

    Raises:
        UserError: there is none; the message names near ones.
    """
    if name not in catalogue():
        near = near_names(name)
        hint = f"Near: {', '.join(near)}. " if near else ""
        raise UserError(
            f"Expected the name of a public file. Received: {name}. {hint}"
            "See `keras_retinanet weights list`."
        )
    return catalogue()[name]


def near_names(name: str) -> list[str]:
    """Return names of the catalogue that `name` may stand for, the nearest first."""
    lower = name.lower()
    near = difflib.get_close_matches(lower, catalogue(), n=NEAR_NAMES, cutoff=0.5)
    return near or [known for known in catalogue() if lower and lower in known][:NEAR_NAMES]


def entry_for(path: str | Path) -> Entry | None:
    """Return the entry whose file has the name of `path`; None where there is none."""
    named = (entry for entry in catalogue().values() if entry.file == Path(path).name)
    return next(named, None)


def provenance(entry: Entry) -> dict[str, str]:
    """Return what a model made from that file says of its origin, for its metadata."""
    figure = f"AP {entry.ap:.1f} on COCO val2017" if entry.ap is not None else entry.figure
    return {
        "origin": f"{entry.name}, {entry.address}",
        "license": entry.license,
        "published": figure,
    }
