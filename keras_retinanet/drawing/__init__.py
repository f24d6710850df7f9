"""Marks on images, and pages that hold all they show."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.drawing.marks import Mark, draw_marks
    from keras_retinanet.drawing.pictures import (
        draw_boxes,
        draw_detections,
        picture_grid,
        save_picture,
    )

__all__ = [
    "Mark",
    "draw_boxes",
    "draw_detections",
    "draw_marks",
    "picture_grid",
    "save_picture",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "marks": "Mark draw_marks",
        "pictures": "draw_boxes draw_detections picture_grid save_picture",
    },
)
