"""The part of the model's configuration that says in what pieces it sees large images."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from keras_retinanet.config.options import option

# Smaller tiles hold no object; more overlap gives thousands of tiles.
MIN_TILE = 32
MAX_OVERLAP = 0.9
# As for the sides of images: the memory of a tile is reserved at once.
MAX_TILE = 1 << 14


@dataclass(frozen=True)
class TilesConfig:
    """Tiles of large images with small objects. `side` 0 is one pass over each whole image."""

    side: Literal[0] | Annotated[int, Field(ge=MIN_TILE, le=MAX_TILE)] = option(
        0,
        "Side of a tile in pixels of the image; 0: whole images. Training sees random "
        "windows of this side, detection all tiles of an image; each is resized as an image is. "
        "Give `preprocessing` the same sides to keep the pixels as they are.",
    )
    overlap: Annotated[float, Field(ge=0, le=MAX_OVERLAP)] = option(
        0.2,
        "Detection: least share of a tile that it has in common with the next one; more than the "
        "side of most objects.",
    )
    whole: bool = option(
        False,
        "Detection: also make a pass over the whole, resized image, for objects larger than the "
        "overlap. Training on tiles alone never shows the model such an image.",
    )
