"""Measurements of how long the parts of the other rooms take, for `keras_retinanet benchmark`."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.speed.evaluate import scene
    from keras_retinanet.speed.memory import peak_of
    from keras_retinanet.speed.models import Subject, drawn_image
    from keras_retinanet.speed.tables import Table, as_plain, as_text, time_row
    from keras_retinanet.speed.timing import Times, measure

__all__ = [
    "Subject",
    "Table",
    "Times",
    "as_plain",
    "as_text",
    "drawn_image",
    "measure",
    "peak_of",
    "scene",
    "time_row",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "evaluate": "scene",
        "memory": "peak_of",
        "models": "Subject drawn_image",
        "tables": "Table as_plain as_text time_row",
        "timing": "Times measure",
    },
)
