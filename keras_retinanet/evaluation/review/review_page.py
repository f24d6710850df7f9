"""The page on which a person accepts or rejects each finding by a key, and saves the decisions."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_retinanet.drawing.pages import picture_uri, render_page
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.pairs import rows_of_each
from keras_retinanet.evaluation.report.charts import KIND_COLORS
from keras_retinanet.evaluation.report.gallery import JPEG_QUALITY, MAX_LETTERS, Pictures
from keras_retinanet.evaluation.review.decisions import FORMAT, Decision, LabeledBox
from keras_retinanet.evaluation.review.findings import FINDING_KINDS, Finding
from keras_retinanet.evaluation.tables import EvaluationSet, Found
from keras_retinanet.files import atomic_write

# Kind of finding -> color of the error that it is in the report.
COLORS = {
    kind: KIND_COLORS[error]
    for kind, error in zip(FINDING_KINDS, ("Miss", "Cls", "Loc", "Dupe", "Bkg"), strict=True)
}
# Share of the longer side of a finding's boxes, and pixels, that are shown around them at least:
# surroundings tell what an object is.
MARGIN, MIN_MARGIN = 0.6, 24
CROP_SIDE = 560


def plain_findings(
    findings: Sequence[Finding],
    pictures: EvaluationSet,
    found: Found,
    *,
    places: Sequence[tuple[str, str]],
) -> list[Decision]:
    """Return findings with names and boxes in place of rows, as the page and its file have them.

    Args:
        places: split and id of each image.
    """

    def boxed(rows: Any, row: int) -> LabeledBox | None:
        if row < 0:
            return None
        box = np.round(rows.boxes[row], 3).tolist()
        name = pictures.class_names[rows.classes[row]]
        return LabeledBox.model_validate({"box": box, "class": name})

    return [
        Decision(
            split=places[each.image][0],
            image_id=places[each.image][1],
            image=pictures.file_names[each.image],
            kind=each.kind,  # type: ignore[arg-type]  # of FINDING_KINDS
            sure=round(each.sure, 4),
            cost=round(each.cost, 6),
            label=boxed(pictures.truths, each.label),
            proposal=boxed(found, each.detection),
        )
        for each in findings
    ]


def write_review(
    path: str | os.PathLike[str],
    findings: Sequence[Finding],
    decisions: Sequence[Decision],
    *,
    pictures: EvaluationSet,
    images: Pictures,
    title: str,
    facts: Mapping[str, str],
    notes: Sequence[str] = (),
) -> int:
    """Write the page in one step; return how many findings it shows, the first ones.

    Args:
        decisions: `plain_findings` of `findings`.
        images: reads the image of an index.
        facts: name -> text of the heading.
        notes: sentences of which the reader must know.
    """
    crops = _crops(findings, decisions, pictures, images)
    shown = [
        {**each.model_dump(by_alias=True), **crop}
        for each, crop in zip(decisions, crops, strict=False)
    ]
    content = [each.model_dump_json() for each in decisions]
    values = {
        "title": title,
        "facts": facts,
        "notes": notes,
        "kinds": [
            (kind, text, sum(each.kind == kind for each in decisions[: len(shown)]))
            for kind, text in FINDING_KINDS.items()
        ],
        "shown": len(shown),
        "kind_colors": {**KIND_COLORS, **COLORS},
        "review": {
            "review": FORMAT,
            "data": title,
            # By which a browser keeps the decisions of this review apart from another one's.
            "key": hashlib.sha256("\n".join(content).encode()).hexdigest()[:16],
            "kinds": FINDING_KINDS,
            "findings": shown,
        },
    }
    page = render_page("review.html", values, scripts=("review.js",))
    with atomic_write(os.fspath(path)) as stream:
        stream.write(page)
    return len(shown)


def _crops(
    findings: Sequence[Finding],
    decisions: Sequence[Decision],
    pictures: EvaluationSet,
    images: Pictures,
) -> list[dict[str, Any]]:
    """Return of each finding the image around it, the place of that, and the other labels there.

    Fewer than `findings` where the page would become too large to be sent.
    """
    truth_rows = rows_of_each(pictures.truths.image, len(pictures.image_ids))
    crops: list[dict[str, Any]] = []
    letters = 0
    for finding, decision in zip(findings, decisions, strict=True):
        boxes = [part.box for part in (decision.label, decision.proposal) if part is not None]
        rows = truth_rows[finding.image]
        others = pictures.truths.boxes[rows[rows != finding.label]]
        crop, uri = [0, 0, 1, 1], ""
        try:
            image = images(finding.image)
            crop = _window(np.array(boxes), image.shape[1], image.shape[0])
            x1, y1, x2, y2 = crop
            uri = picture_uri(image[y1:y2, x1:x2], side=CROP_SIDE, quality=JPEG_QUALITY)
        except (UserError, OSError):
            pass  # shown as one that cannot be read
        letters += len(uri)
        if letters > MAX_LETTERS:
            break
        near = (others[:, :2] < crop[2:]).all(axis=1) & (others[:, 2:] > crop[:2]).all(axis=1)
        rounded = np.round(others[near], 1).tolist()
        crops.append({"crop": crop, "uri": uri, "others": rounded})
    return crops


def _window(boxes: np.ndarray, width: int, height: int) -> list[int]:
    """Return the window xyxy of an image around boxes (N, 4), with its surroundings."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = max(MIN_MARGIN, MARGIN * float((high - low).max()))
    x1, y1 = np.clip(np.floor(low - margin), 0, (width - 1, height - 1)).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(high + margin), (x1 + 1, y1 + 1), (width, height)).astype(int).tolist()
    return [x1, y1, x2, y2]
