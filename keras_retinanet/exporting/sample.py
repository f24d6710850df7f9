"""Some images of a dataset, to calibrate and to check with."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_retinanet.data.images.exif import turn_image
from keras_retinanet.data.pipeline.random_windows import draw_window
from keras_retinanet.data.records import Dataset
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError
from keras_retinanet.modeling.preprocessing import Preprocessing


@dataclass(frozen=True)
class Sample:
    """`count` images of `dataset`, evenly spread over it and decoded again in each pass.

    With `tile` each is a window of that side, the same in each pass: of such a model's images
    the network never sees a whole one.

    Iterating gives uint8 RGB (H, W, 3); images that cannot be read are skipped.
    """

    dataset: Dataset
    count: int
    tile: int = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        total = len(self.dataset.records)
        count = self.count if self.tile else min(self.count, total)
        for place, index in enumerate(np.linspace(0, total - 1, count).astype(int).tolist()):
            record = self.dataset.records[index]
            try:
                image = decode_image(self.dataset.read_bytes(index))
            except (PictureError, OSError):
                continue
            image = turn_image(image, record.orientation)
            if self.tile and image.shape[:2] == (record.height, record.width):
                seed = np.array([place, index], np.int32)
                (top, left), (height, width) = draw_window(record, self.tile, seed)
                image = image[top : top + height, left : left + width]
            yield image


def network_inputs(
    preprocessing: Preprocessing,
    images: Iterable[np.ndarray] | None,
    image_size: tuple[int, int] | None,
    dtype: str,
    *,
    stretch: bool = False,
) -> Iterator[np.ndarray]:
    """Give `images` as a file will see them, to calibrate it on: (1, H, W, 3) of `dtype`.

    Args:
        images: uint8 RGB (H, W, 3) of any sizes; None: none.
        image_size: (height, width) of the file's input; None: the model's own for each image.
        dtype: "uint8" or "float32".
        stretch: resize without keeping the aspect, in place of a letterbox.
    """
    for image in images or ():
        if stretch:
            canvas = tf.image.resize(image, image_size)
        elif image_size is None:
            canvas, _ = preprocessing.letterbox(image)
        else:
            canvas, _ = preprocessing.letterbox_into(image, image_size)
        canvas = canvas.numpy()
        yield (np.rint(canvas) if dtype == "uint8" else canvas).astype(dtype)[None]
