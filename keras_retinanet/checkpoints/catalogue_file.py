"""Which public weight files there are: name -> family, figures, license, address, hash; fetched."""

import difflib
import functools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from keras_retinanet.checkpoints.built_in import built_in_models
from keras_retinanet.errors import UserError
from keras_retinanet.files import downloads
from keras_retinanet.files.text_files import parse_yaml

FILE = "catalogue.yaml"
NEAR_NAMES = 3


@dataclass(frozen=True, kw_only=True)
class Entry(downloads.Source):
    """One public file, called by its maker's name and the maker's own name of it.

    Attributes:
        family: key of `checkpoints.FAMILIES`.
        backbone: key of `backbones.BACKBONES`.
        license: what the maker's repository says.
        source: where the address was read.
        ap: box AP on COCO val2017 as published, in percent.
        score: what was published instead of an AP.
    """

    family: str
    backbone: str
    license: str
    source: str
    ap: float | None = None
    score: str = ""

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
    """Return names of `weights list` that `name` may stand for, the nearest first."""
    lower, names = name.lower(), [*built_in_models(), *catalogue()]
    near = difflib.get_close_matches(lower, names, n=NEAR_NAMES, cutoff=0.5)
    return near or [known for known in names if lower and lower in known][:NEAR_NAMES]


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


def cached_path(entry: Entry, cache: Path | None = None) -> Path:
    """Return where the file of `entry` lies, or would lie."""
    return (cache or downloads.cache_folder()) / entry.file


def fetch(entry: Entry, *, cache: Path | None = None, progress: bool = True) -> Path:
    """Return the verified file of `entry`, downloading what is missing of it.

    Args:
        cache: folder (default `cache_folder()`). A file put there by hand is verified too.
        progress: draw a bar where standard error is a terminal.

    Raises:
        UserError: as of `files.downloads.fetch`.
    """
    return downloads.fetch(entry, cache or downloads.cache_folder(), progress=progress)
