"""The page in gradio: drop images, move the threshold, compare two models, take the JSON along.

Nothing but layout: what it shows is made by `pictures` and `views`.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from keras_retinanet.errors import UserError
from keras_retinanet.ui.shown_pictures import (
    Picture,
    Side,
    add_pictures,
    detections_json,
    total_boxes,
)
from keras_retinanet.ui.uploads import is_inside
from keras_retinanet.ui.views import picture_line, short_name, view_picture

TITLE = "keras_retinanet"
# Gradio's temporary files, mostly drawn images, are cleaned at this interval in seconds if they
# are older than the second number.
CLEANING = (600, 3600)
# Of the threshold.
STEP = 0.001
# Events that wait their turn, at most.
MAX_WAITING = 100
# No progress bar, and no entry in gradio's own API.
QUIET = {"show_progress": "hidden", "api_visibility": "private"}
# Gives a text to the person as a file.
DOWNLOAD = """(text, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""


class Page:
    """The page's parts and what they do; gradio serves its `blocks`.

    Args:
        sides: one model, or two to compare.
        folder: where files lie that were dropped on the page.
        threshold: where the slider starts, 0..1.
        exif: as `add_pictures` takes it.
    """

    def __init__(self, sides: Sequence[Side], *, folder: Path, threshold: float, exif: str):
        self._sides, self._folder, self._exif = sides, folder, exif
        # Never telemetry, nor the question for a newer version.
        self.blocks = gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=CLEANING)
        with self.blocks:
            self._pictures, self._index = gr.State([]), gr.State(0)
            gr.HTML(_heading(sides))
            self._lay_out_controls(threshold)
            self._notes = gr.HTML(elem_id="notes", visible=False)
            with gr.Column(visible=False, elem_id="results") as self._results:
                self._lay_out_results()
        with self.blocks:
            self._connect()
        self.blocks.queue(max_size=MAX_WAITING, api_open=False)

    def _lay_out_controls(self, threshold: float) -> None:
        floor = min(side.detector.config.detections.score_threshold for side in self._sides)
        with gr.Row(elem_id="controls"):
            self._files = gr.File(
                label="Images",
                file_count="multiple",
                height=140,
                min_width=300,
                elem_id="files",
            )
            with gr.Column(min_width=300):
                self._threshold = gr.Slider(
                    *(floor, 1),
                    # Rounded down: the box that has just this score is shown.
                    value=max(math.floor(threshold / STEP) * STEP, floor),
                    step=STEP,
                    label="Threshold",
                    buttons=[],
                    elem_id="threshold",
                )
                self._differences = gr.Checkbox(
                    label="Only boxes that the other model has not",
                    visible=len(self._sides) == 2,
                    elem_id="differences",
                )

    def _lay_out_results(self) -> None:
        self._strip = gr.Gallery(
            label="Images on the page",
            show_label=False,
            allow_preview=False,
            height="auto",
            object_fit="cover",
            format="jpeg",
            buttons=[],
            interactive=False,
            elem_id="strip",
        )
        self._current = gr.HTML(elem_id="current")
        self._counts, self._images, self._tables, self._buttons = [], [], [], []
        with gr.Row(elem_id="sides"):
            for number in range(len(self._sides)):
                with gr.Column(min_width=320, elem_id=f"side-{number}"):
                    self._counts.append(gr.HTML())
                    image = gr.Image(
                        show_label=False,
                        format="jpeg",
                        interactive=False,
                        buttons=["download", "fullscreen"],
                    )
                    self._images.append(image)
                    is_alone = len(self._sides) == 1
                    with gr.Accordion("Boxes, in pixels of the file", open=is_alone):
                        self._tables.append(gr.HTML(elem_classes="boxes"))
                    self._buttons.append(gr.Button("Download JSON", size="md"))
        self._clear = gr.Button("Remove all images", size="sm", elem_id="clear")
        self._text, self._name = gr.Textbox(visible=False), gr.Textbox(visible=False)

    def _connect(self) -> None:
        state = [self._pictures, self._index, self._threshold, self._differences]
        view = [*self._counts, *self._images, *self._tables, *self._buttons, self._current]
        whole = [self._pictures, self._index, self._files, self._notes, self._results, self._strip]
        # One at a time: models are not made to be run by several threads.
        self._files.upload(
            self._add,
            [self._files, self._pictures, self._index],
            whole,
            concurrency_limit=1,
            show_progress_on=self._files,
            api_visibility="private",
        ).then(self._view, state, view, **QUIET)
        self._clear.click(self._remove, None, whole, **QUIET)
        self._strip.select(self._select, None, self._index, **QUIET).then(
            self._view, state, view, **QUIET
        )
        for changed in (self._threshold.change, self._differences.change):
            changed(self._view, state, view, trigger_mode="always_last", **QUIET)
        for number, button in enumerate(self._buttons):
            file = [self._text, self._name]
            button.click(self._writer(number), state, file, **QUIET).then(
                None, file, None, js=DOWNLOAD
            )

    def _add(self, files, pictures, index, progress=gr.Progress()):  # noqa: B008
        """Read and detect; the first of what was added comes into view."""
        if not all(is_inside(path, self._folder) for path in files):
            raise UserError("Expected files that were dropped on this page. Received: another one.")
        try:
            kept, notes = add_pictures(
                pictures,
                files,
                sides=self._sides,
                exif=self._exif,
                say=lambda number, name: progress((number, len(files)), desc=name),
            )
        finally:
            for path in files:
                Path(path).unlink(missing_ok=True)
        index = len(pictures) if len(kept) > len(pictures) else index
        return kept, index, None, *self._whole(kept, index, notes)

    def _remove(self):
        return [], 0, None, *self._whole([], None, [])

    def _whole(self, pictures: list[Picture], index: int | None, notes: list[str]) -> Any:
        strip = [(picture.thumbnail, short_name(picture.name)) for picture in pictures]
        lines = Markup("").join(Markup("<p>{}</p>").format(note) for note in notes)
        return (
            gr.update(value=str(lines), visible=bool(notes)),
            gr.update(visible=bool(pictures)),
            gr.update(value=strip, visible=len(pictures) > 1, selected_index=index),
        )

    def _select(self, event: gr.SelectData):
        return event.index

    def _view(self, pictures, index, threshold, differences):
        """Show the image in view again: another one, or at another threshold."""
        if index not in range(len(pictures)):  # none, or what no button of the strip sends
            return [None] * (4 * len(self._sides) + 1)
        picture = pictures[index]
        views, agreement = view_picture(picture, threshold, only_differences=differences)
        of = f" in {len(pictures)} images" if len(pictures) > 1 else ""
        totals = [total_boxes(pictures, threshold, number) for number in range(len(self._sides))]
        title = Markup('<p class="side">{}</p>') if len(self._sides) > 1 else Markup("")
        return [
            *(title.format(s.title) + v.counts for s, v in zip(self._sides, views, strict=True)),
            *(view.image for view in views),
            *(view.table for view in views),
            *(f"Download JSON · {total} box{'' if total == 1 else 'es'}{of}" for total in totals),
            picture_line(picture) + agreement,
        ]

    def _writer(self, number: int):
        name = f"{self._sides[number].title.replace('/', '_')}.detections.json"

        def write(pictures, index, threshold, differences):
            text = detections_json(pictures, threshold, sides=self._sides, index=number)
            return text, name

        return write


def _heading(sides: Sequence[Side]) -> str:
    line = Markup("<p><b>{}</b> <span>{}</span></p>")
    models = Markup("").join(line.format(side.title, side.facts) for side in sides)
    return str(Markup('<div id="heading"><h1>{}</h1>{}</div>').format(TITLE, models))
