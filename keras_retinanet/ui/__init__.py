"""The page of `keras_retinanet ui`: images in a browser, and what models find in them.

`shown_pictures` and `views` know nothing of a browser; `page` lays them out with gradio; `server`
hands the page to this machine alone, `guard` to one browser of it; `uploads` is where dropped files
lie.
"""

from keras_retinanet.ui.server import serve

__all__ = ["serve"]
