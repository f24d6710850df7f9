"""A dataset that can no longer be read at all: told apart from one with some damaged images."""

from math import gcd

from keras_retinanet.data.images.rasters import raster_size
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError

# Images tried after one that cannot be read. Where four of five are damaged, all of these are by
# chance in one of a million tries; where a folder is gone, all of them are at once.
TRIED = 63
# The next image to try lies this share of the dataset further on: golden steps spread best, and
# damage lies often side by side.
_STEP = 0.618


def require_readable(dataset: Dataset, index: int) -> None:
    """Check, once image `index` cannot be read, that at least one of many others can.

    To train on, or to score, blank images alone would look like a result. The check depends on no
    count and no order of threads: it stops at the first image after the data went.

    Args:
        dataset: all of it, not only the images that are asked for.
        index: of the image that cannot be read.

    Raises:
        UserError: that image and up to `TRIED` others, spread over the dataset, cannot be read.
    """
    others = _others(index, len(dataset.records))
    if any(_is_readable(dataset, other) for other in others):
        return
    raise UserError(
        f"Expected images that can be read. Received: {dataset.records[index].file_name} and "
        f"{len(others)} others of {len(dataset.records)} in {dataset.name}, split "
        f"{dataset.split}, none of which can. Bring the data back and run the same again; "
        "training resumes from its last state with --resume."
    )


def _others(index: int, count: int) -> list[int]:
    step = max(1, round(_STEP * count))
    while gcd(step, count) > 1:  # coprime: no image is tried twice before all were
        step += 1
    return [(index + number * step) % count for number in range(1, min(TRIED, count - 1) + 1)]


def _is_readable(dataset: Dataset, index: int) -> bool:
    try:
        decode_image(dataset.read_bytes(index))
    except (PictureError, OSError):
        return raster_size(dataset.records[index].image.path) is not None
    return True
