"""An image with the detections of models -> drawn boxes and HTML for the page.

Names come from files that anyone may have written: `Markup.format` escapes them.
Shape letter: N detections.
"""

import dataclasses
from collections import Counter
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from keras_retinanet.drawing.marks import class_color
from keras_retinanet.drawing.pictures import draw_detections
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.ui.shown_pictures import Picture, same_objects

# Letters below an image of the strip; the ends of names tell more than their starts.
NAME_LETTERS = 12
TABLE_HEADER = ("class", "score", "x", "y", "w", "h")


@dataclass(frozen=True, eq=False)
class SideView:
    """An image as one model sees it: drawn, and its boxes as HTML."""

    image: np.ndarray
    counts: Markup
    table: Markup


def short_name(name: str) -> str:
    """Return the end of a name, as much as goes below an image of the strip."""
    return name if len(name) <= NAME_LETTERS else f"…{name[1 - NAME_LETTERS :]}"


def picture_line(picture: Picture) -> Markup:
    """Return the image's name and size as HTML."""
    height, width = picture.size
    line = Markup('<p class="name"><b>{}</b> {} x {} px</p>')
    return line.format(picture.name, width, height)


def view_picture(
    picture: Picture, threshold: float, *, only_differences: bool = False
) -> tuple[list[SideView], Markup]:
    """Return what each model's side shows of an image, and how far two models agree, as HTML.

    Args:
        picture: one of the page.
        threshold: 0..1; boxes of at least this score are shown.
        only_differences: of two models, only boxes that the other has not.

    Returns:
        A view for each model; the agreement, "" for one model.
    """
    shown = [found.with_score(threshold) for found in picture.found]
    agreement = Markup("")
    if len(shown) == 2:
        shared = same_objects(shown[0], shown[1])
        alone = [int((~both).sum()) for both in shared]
        agreement = Markup(
            '<p class="agreement">Found by both <b>{}</b> · only left <b>{}</b> · '
            "only right <b>{}</b></p>"
        ).format(int(shared[0].sum()), *alone)
        if only_differences:
            shown = [each.select(~both) for each, both in zip(shown, shared, strict=True)]
    return [_side_view(picture, found) for found in shown], agreement


def _side_view(picture: Picture, found: Detections) -> SideView:
    scale = picture.view.shape[1] / picture.size[1], picture.view.shape[0] / picture.size[0]
    boxes = found.boxes * np.array([*scale, *scale], np.float32)
    # All of these are above the threshold already.
    drawn = draw_detections(picture.view, dataclasses.replace(found, boxes=boxes), threshold=0.0)
    return SideView(drawn, _counts(found), _table(found))


def _counts(found: Detections) -> Markup:
    """Return boxes a class, most first, each beside its color: the legend of the image."""
    chip = Markup('<span class="chip"><i style="background: rgb{}"></i>{} <b>{}</b></span>')
    chips = [
        chip.format(class_color(index), found.class_names[index], count)
        for index, count in Counter(found.classes.tolist()).most_common()
    ]
    total = Markup("<b>{} box{}</b>").format(len(found), "" if len(found) == 1 else "es")
    return Markup('<p class="counts">{}</p>').format(Markup(" ").join([total, *chips]))


def _table(found: Detections) -> Markup:
    """Return the boxes, best first, in pixels of the file."""
    if not len(found):
        return Markup("<p>None of this score.</p>")
    row = Markup("<tr>" + "<td>{}</td>" * len(TABLE_HEADER) + "</tr>")
    found = found.select(np.argsort(-found.scores, kind="stable"))
    columns = zip(found.names, found.scores, found.xywh, strict=True)
    rows = [
        row.format(name, f"{score:.3f}", *(f"{value:.1f}" for value in place))
        for name, score, place in columns
    ]
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in TABLE_HEADER)
    return Markup("<table><tr>{}</tr>{}</table>").format(head, Markup("").join(rows))
