"""List the weight files that can be loaded, with AP, license and address: built-in and public.

Public files are sorted by AP, highest first.

Examples:
    keras_retinanet weights list
    keras_retinanet weights list --family torchvision
    keras_retinanet weights list --json
"""

import dataclasses
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from keras_retinanet.commands.json_output import add_result, wants_result
from keras_retinanet.errors import UserError

if TYPE_CHECKING:
    from keras_retinanet.checkpoints.built_in import BuiltIn
    from keras_retinanet.checkpoints.catalogue_file import Entry

COLUMNS = ("name", "family", "backbone", "AP", "size", "hash", "here", "license")
# Characters of a hash with its algorithm in the table.
HASH_WIDTH = 15


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags to the parser."""
    parser.add_argument(
        "--family", metavar="F", help="list only this family, such as built_in, mmdet or odtk"
    )


def run(args: Namespace) -> int:
    """Print the table; return the exit code."""
    from keras_retinanet.checkpoints.built_in import FAMILY, built_in_models
    from keras_retinanet.checkpoints.catalogue_file import catalogue

    own = [*built_in_models().values()] if FAMILY.startswith(args.family or "") else []
    public = [e for e in catalogue().values() if e.family.startswith(args.family or "")]
    if not own and not public:
        families = dict.fromkeys([FAMILY, *(entry.family for entry in catalogue().values())])
        raise UserError(
            f"Expected one of the families {', '.join(families)}. Received: {args.family}."
        )
    if wants_result(args):
        add_result(args, weights=[*map(_own_fields, own), *map(dataclasses.asdict, public)])
    public.sort(key=lambda entry: -(entry.ap or 0.0))
    rows = [*map(_public_row, public), *map(_own_row, own)]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    print(
        "\nAP in percent as published, on COCO val2017 unless another set is named; -: not "
        "published. Licenses as stated in the publishers' repositories. Addresses:"
    )
    for name, address in (
        *((entry.name, entry.address) for entry in public),
        *((model.name, f"part of the package, for {model.metadata['subject']}") for model in own),
    ):
        print(f"{name:<{widths[0]}}  {address}")
    return 0


def _own_row(model: "BuiltIn") -> tuple[str, ...]:
    from keras_retinanet.checkpoints.built_in import FAMILY

    return (
        *(model.name, FAMILY, model.backbone, model.figure, _megabytes(model.path.stat().st_size)),
        *(f"sha256:{model.sha256}"[:HASH_WIDTH], "yes", _short(model.metadata["license"])),
    )


def _public_row(entry: "Entry") -> tuple[str, ...]:
    from keras_retinanet.checkpoints.catalogue_file import cached_path

    return (
        *(entry.name, entry.family, entry.backbone, entry.figure),
        _megabytes(entry.bytes) if entry.bytes else "-",
        entry.hash[:HASH_WIDTH] or "-",
        "yes" if cached_path(entry).is_file() else "-",
        _short(entry.license),
    )


def _own_fields(model: "BuiltIn") -> dict[str, object]:
    """Return the fields of an `Entry` as far as a built-in model has them, and its metadata."""
    from keras_retinanet.checkpoints.built_in import FAMILY

    return {
        "name": model.name,
        "family": FAMILY,
        "backbone": model.backbone,
        "file": str(model.path),
        "hash": f"sha256:{model.sha256}",
        "bytes": model.path.stat().st_size,
        "license": model.metadata["license"],
        "source": model.metadata["source"],
        "ap": None,  # on COCO
        "score": model.figure,
        "metadata": model.metadata,
    }


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _short(license: str) -> str:
    return license.partition(" (")[0]
