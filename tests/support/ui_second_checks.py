"""Gives gradio, and the page, a path that the guard would not let through. Run by test_ui_guard.

usage: ui_second_checks.py FOLDER FILE, which lies outside. A process of its own: gradio leaves
event loops open that fail other tests.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

from keras_retinanet.errors import UserError
from keras_retinanet.ui.server import application, require_gradio
from keras_retinanet.ui.shown_pictures import Side


class Unused:
    """A model that is never asked."""

    class_names, class_ids = ("a",), (1,)
    config = SimpleNamespace(
        backbone=SimpleNamespace(name="none"),
        preprocessing=SimpleNamespace(short_side=9),
        detections=SimpleNamespace(score_threshold=0.1),
    )


if __name__ == "__main__":
    folder, outside = Path(sys.argv[1]), sys.argv[2]
    require_gradio(folder)
    from gradio.context import LocalContext
    from gradio.exceptions import InvalidPathError
    from gradio.processing_utils import move_files_to_cache

    from keras_retinanet.ui.page import Page

    page = Page([Side("a", Unused())], folder=folder, threshold=0.5, exif="stored")
    application(page.blocks, max_file=9)
    LocalContext.blocks.set(page.blocks)
    file = {"path": outside, "meta": {"_type": "gradio.FileData"}}
    try:
        move_files_to_cache(file, page._files, check_in_upload_folder=True)
    except InvalidPathError:
        print("gradio refused")
    try:
        page._add([outside], [], None)
    except UserError:
        print("the page refused")
