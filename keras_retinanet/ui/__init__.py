"""The page of `keras_retinanet ui`: images in a browser, and what models find in them.

`pictures` and `views` know nothing of a browser; `page` lays them out with gradio; `server` hands
the page to this machine alone, `guard` to one browser of it; `uploads` is where dropped files lie.
"""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.ui.server import serve

__all__ = [
    "serve",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "server": "serve",
    },
)
