"""Decisions about findings, as the review page saves them, and the labels corrected by them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.errors import UserError
from keras_retinanet.files.saved_json import validated
from keras_retinanet.files.text_files import read_json

# Of the file; another one is not read.
FORMAT = 1
# Pixels by which a label may differ from the one that was reviewed: that of a rounded corner.
TOLERANCE = 0.01
REMOVING = ("double", "nothing")

Pixels = Annotated[float, Field(ge=-1e6, le=1e6)]


class _Part(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False, frozen=True, populate_by_name=True)


class LabeledBox(_Part):
    """A box xyxy in pixels of the stored image, and the name of its class."""

    box: tuple[Pixels, Pixels, Pixels, Pixels]
    class_name: str = Field(alias="class")


class Decision(_Part):
    """A finding as the page and its file have it, with what a person decided."""

    split: str
    image_id: str
    image: str  # the file's name, for people
    kind: Literal["missing", "class", "loose", "double", "nothing"]
    sure: float
    cost: float
    label: LabeledBox | None  # what is in the data set
    proposal: LabeledBox | None  # what the model sees
    decision: Literal["accept", "reject"] | None = None

    def model_post_init(self, context: Any) -> None:
        """Refuse a finding without the box that it is about."""
        needs_label, needs_proposal = self.kind != "missing", self.kind not in REMOVING
        if (needs_label and self.label is None) or (needs_proposal and self.proposal is None):
            raise ValueError(f"a finding of kind {self.kind} lacks its box")


class Decisions(_Part):
    """The file that the page saves."""

    review: Literal[1]  # `FORMAT`
    data: str
    findings: list[Decision]

    @property
    def accepted(self) -> list[Decision]:
        """Those that change a label."""
        return [each for each in self.findings if each.decision == "accept"]


def read_decisions(path: str | Path) -> Decisions:
    """Read the file that the review page saved.

    Raises:
        UserError: it cannot be read, or is another file.
    """
    return validated(
        Decisions,
        read_json(path),
        path,
        expected="the decisions that a page of `dataset review` saved",
        again="Save them again from the page.",
    )


def corrected(splits: Mapping[str, Dataset], accepted: Sequence[Decision]) -> dict[str, Dataset]:
    """Return the splits with the accepted findings applied; the originals are not changed.

    An image that lies in several splits is corrected in all of them.

    Raises:
        UserError: an image or a label of a finding is not in the data.
    """
    images = {
        (name, str(record.image_id)): record.image
        for name, dataset in splits.items()
        for record in dataset.records
    }
    by_image: dict[ImageRef, list[Decision]] = {}
    for each in accepted:
        if (each.split, each.image_id) not in images:
            raise _other_data(each, f"no such image in split {each.split}")
        by_image.setdefault(images[each.split, each.image_id], []).append(each)

    def fixed(dataset: Dataset) -> Dataset:
        def index(decision: Decision, name: str) -> int:
            if name not in dataset.class_names:
                raise _other_data(decision, f"no class {name}")
            return dataset.class_names.index(name)

        records = [
            _corrected(record, by_image[record.image], index)
            if record.image in by_image
            else record
            for record in dataset.records
        ]
        return replace(dataset, records=records)

    return {name: fixed(dataset) for name, dataset in splits.items()}


def _corrected(
    record: Record, decisions: Sequence[Decision], index: Callable[[Decision, str], int]
) -> Record:
    boxes, classes = record.boxes.copy(), record.classes.copy()
    areas, kept = record.areas.copy(), np.ones(len(boxes), bool)
    free = np.ones(len(boxes), bool)
    added = []
    for each in decisions:
        if each.label is None:
            added.append(each)
            continue
        class_index = index(each, each.label.class_name)
        distance = np.abs(record.boxes - np.array(each.label.box)).max(axis=1, initial=0)
        same = np.flatnonzero(
            free & (record.classes == class_index) & (distance <= TOLERANCE) & ~record.ignore
        )
        if not same.size:
            raise _other_data(each, f"no box {list(each.label.box)} of {each.label.class_name}")
        row = same[0]
        free[row] = False
        if each.proposal is None or each.kind in REMOVING:
            kept[row] = False
        elif each.kind == "class":
            classes[row] = index(each, each.proposal.class_name)
        else:
            boxes[row] = each.proposal.box
            areas[row] = _area(boxes[row])
    new = np.array([each.proposal.box for each in added if each.proposal], np.float32)
    new = new.reshape(-1, 4)
    names = [each.proposal.class_name for each in added if each.proposal]
    indices = [index(each, name) for each, name in zip(added, names, strict=True)]
    return replace(
        record,
        boxes=np.concatenate([boxes[kept], new]),
        classes=np.concatenate([classes[kept], np.array(indices, np.int32)]),
        ignore=np.concatenate([record.ignore[kept], np.zeros(len(new), bool)]),
        areas=np.concatenate([areas[kept], [_area(box) for box in new]]).astype(np.float32),
    )


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _other_data(decision: Decision, fault: str) -> UserError:
    return UserError(
        f"Expected the data set that was reviewed. Received: {fault} for {decision.image}. Name "
        "the same data with the same flags, or review it again."
    )
