"""List the public weight files that can be loaded, with AP, license and address.

Examples:
    keras_retinanet weights list
    keras_retinanet weights list --family torchvision
    keras_retinanet weights list --json
"""

import dataclasses
import json
from argparse import ArgumentParser, Namespace

from keras_retinanet.errors import UserError

COLUMNS = ("name", "family", "backbone", "AP", "size", "hash", "here", "license")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags to the parser."""
    add = parser.add_argument
    add("--family", metavar="F", help="list only this family, such as mmdet or odtk")
    add("--json", action="store_true", help="print all fields as JSON")


def run(args: Namespace) -> int:
    """Print the table; return the exit code."""
    from keras_retinanet.checkpoints.catalogue_file import cached_path, catalogue

    entries = [e for e in catalogue().values() if e.family.startswith(args.family or "")]
    if not entries:
        families = dict.fromkeys(entry.family for entry in catalogue().values())
        raise UserError(
            f"Expected one of the families {', '.join(families)}. Received: {args.family}."
        )
    if args.json:
        print(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=1))
        return 0
    rows = [
        (
            entry.name,
            entry.family,
            entry.backbone,
            entry.figure,
            f"{entry.bytes / 1e6:.0f} MB" if entry.bytes else "-",
            entry.hash[:15] or "-",
            "yes" if cached_path(entry).is_file() else "-",
            entry.license.partition(" (")[0],
        )
        for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    print(
        "\nAP as published, on COCO val2017; -: not published. Licenses as stated in the "
        "publishers' repositories. Addresses:"
    )
    for entry in entries:
        print(f"{entry.name:<{widths[0]}}  {entry.address}")
    return 0
