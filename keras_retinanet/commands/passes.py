"""Flags of `predict` and `evaluate` for several passes over an image: tiles, sizes, mirroring."""

import argparse
import dataclasses
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from keras_retinanet.config import TilesConfig
from keras_retinanet.errors import UserError

# The attributes of a Namespace that `check_passes` and `with_passes` read.
PASS_FLAGS = ("tile", "overlap", "tiles_alone", "tta", "scales")
DEFAULT_OVERLAP = TilesConfig.overlap


def add_pass_arguments(parser: ArgumentParser) -> None:
    """Add the flags of tiles and of test-time augmentation."""
    add = parser.add_argument_group("passes over an image").add_argument
    add(
        "--tile",
        type=int,
        metavar="PX",
        help="also detect in tiles of this side length, for large images; 0: whole images alone, "
        "whatever tiles the model was trained for",
    )
    add(
        "--overlap",
        type=float,
        metavar="SHARE",
        help=f"minimum overlap of tiles; larger than most objects ({DEFAULT_OVERLAP:g} of a tile)",
    )
    add(
        "--tiles_alone",
        action="store_true",
        help="with --tile: skip the pass over the whole image; no object may exceed the overlap",
    )
    add("--tta", action="store_true", help="average with the mirrored image and over --scales")
    add(
        "--scales",
        type=scales,
        metavar="A,B",
        help="average over these scales of the network input (1,1.25 with --tta)",
    )


def scales(text: str) -> tuple[float, ...]:
    """Parse "A,B,...", factors of the network input."""
    try:
        factors = tuple(float(word) for word in text.split(","))
    except ValueError:
        factors = ()
    if not factors or len(set(factors)) < len(factors):
        raise argparse.ArgumentTypeError(
            f"expected different factors, such as .8,1,1.25. Received: {text!r}"
        )
    return factors


def check_passes(args: Namespace) -> None:
    """Raise a UserError for flags that mean nothing together, before any slow work."""
    given = [flag for flag in ("overlap", "tiles_alone") if getattr(args, flag)]
    if given and not args.tile:
        received = "no --tile" if args.tile is None else "--tile 0"
        raise UserError(f"Expected --{given[0]} with --tile. Received: {received}.")


def asks_for_tiles(path: Path, args: Namespace) -> bool:
    """Return whether the flags, or else the model in the file `path`, ask for tiles."""
    from keras_retinanet.exporting.exported import stored_config

    return bool(stored_config(path).tiles.side if args.tile is None else args.tile)


def with_passes(model: Any, args: Namespace) -> Any:
    """Return `model`, or a detector of several passes of it, as the flags or else its file ask.

    Args:
        model: a RetinaNet or an exported file; with --tile 0 it forgets its own tiles.
        args: with `PASS_FLAGS`; tiles are mirrored and resized too.

    Raises:
        UserError: a value out of range, or a scale that the file cannot have.
    """
    from keras_retinanet.inference.tta import with_test_time
    from keras_retinanet.modeling.tiling import with_own_tiles, with_tiles

    if args.tile == 0:
        model.config = dataclasses.replace(model.config, tiles=TilesConfig())
    if args.tta or args.scales:
        model = with_test_time(model, scales=args.scales, flip=args.tta)
    if not args.tile:
        return with_own_tiles(model)
    overlap = DEFAULT_OVERLAP if args.overlap is None else args.overlap
    return with_tiles(model, tile=args.tile, overlap=overlap, whole=not args.tiles_alone)
