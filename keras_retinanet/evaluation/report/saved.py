"""Evaluations read back from the files that `evaluate` wrote."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.coco_figures import FIGURES, RECALLS
from keras_retinanet.evaluation.report.charts import LINE_COLORS
from keras_retinanet.evaluation.report.report_page import analyse
from keras_retinanet.evaluation.tables import found_from_results, set_from_annotations
from keras_retinanet.files.saved_json import validated
from keras_retinanet.files.text_files import read_json

# What a run folder holds for `report`.
EVALUATION_FILE = "evaluation.json"
# More runs have no color of their own.
MAX_RUNS = len(LINE_COLORS)


class _Part(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)


class _Error(_Part):
    cost: float
    count: int


class _Errors(_Part):
    kinds: dict[str, _Error]


class _Class(_Part):
    name: str = Field(alias="class")
    boxes: int
    AP: float
    AP50: float


class _Bin(_Part):
    name: str
    truths: int
    ap: float


class _Best(_Part):
    threshold: float
    F1: float


class _Calibration(_Part):
    error: float


class Evaluation(_Part):
    """What the comparison reads of an evaluation: the form of `Analysis.to_plain`."""

    pictures: int
    boxes: int
    detections: int
    coco: dict[str, float]
    voc: dict[str, float] = {}
    best_threshold: _Best
    calibration: _Calibration
    classes: list[_Class]
    errors: _Errors | None = None
    sizes: list[_Bin] = []
    curves: dict[str, list[float] | None] = {}


class Run(NamedTuple):
    """One evaluation, and what the page calls it."""

    name: str
    path: str
    evaluation: Evaluation


def read_runs(
    paths: Sequence[str | os.PathLike[str]], *, annotations: str | os.PathLike[str] | None = None
) -> list[Run]:
    """Read evaluations to compare.

    Args:
        paths: run folders with an `evaluation.json`, such files, or COCO results files.
        annotations: the COCO annotation file that results files are scored against.

    Raises:
        UserError: not two to eight; one cannot be read, or is none of these.
    """
    if not 2 <= len(paths) <= MAX_RUNS:
        raise UserError(
            f"Expected two to {MAX_RUNS} evaluations. Received: {len(paths)}. "
            "Name run folders or files that `evaluate` wrote."
        )
    names = _names([Path(path) for path in paths])
    return [
        Run(name, os.fspath(path), _read(Path(path), annotations))
        for name, path in zip(names, paths, strict=True)
    ]


def _names(paths: list[Path]) -> list[str]:
    """Call each run by as few last parts of its path as tell all apart."""
    parts = [path.resolve().with_suffix("").parts[1:] for path in paths]
    longest = max(len(each) for each in parts)
    for count in range(1, longest + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{place}: {path.name}" for place, path in enumerate(paths, start=1)]


def _read(path: Path, annotations: str | os.PathLike[str] | None) -> Evaluation:
    file = path / EVALUATION_FILE if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"Expected a folder with {EVALUATION_FILE}, or a JSON file. Received: {path}. "
            "Evaluate the run first, and write its figures there."
        )
    content = read_json(file)
    if isinstance(content, list):
        if annotations is None:
            raise UserError(
                "Expected --annotations, for a list of detections has no figures yet. "
                f"Received: {file} alone. Name the annotation file of its images."
            )
        pictures = set_from_annotations(read_json(annotations))
        content = analyse(pictures, found_from_results(content, pictures)).to_plain()
    evaluation = validated(
        Evaluation,
        content,
        file,
        expected="the figures that `evaluate` writes as JSON",
        again="Evaluate again.",
    )
    lengths = {len(curve) for curve in evaluation.curves.values() if curve is not None}
    missing = [name for name in FIGURES if name not in evaluation.coco]
    if missing or not lengths <= {len(RECALLS)}:
        raise UserError(
            f"Expected COCO's figures and curves of {len(RECALLS)} points. Received: {file} "
            f"without {', '.join(missing) or 'such curves'}. Evaluate again."
        )
    return evaluation
