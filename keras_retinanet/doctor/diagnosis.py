"""Reads every split of a dataset and says what is wrong with it, before a training is spent on it.

`diagnose` gives a `Diagnosis`; `doctor.text` and `doctor.doctor_page` say it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import SOURCES, load_dataset
from keras_retinanet.data.pipeline.crowding import note_crowded
from keras_retinanet.data.records import Dataset, align_classes
from keras_retinanet.data.splits import find_split
from keras_retinanet.doctor.box_table import BoxTable, box_table
from keras_retinanet.doctor.classes import class_findings
from keras_retinanet.doctor.contents import content_findings, problem_findings
from keras_retinanet.doctor.duplicates import duplicate_findings, find_groups
from keras_retinanet.doctor.findings import SEVERITIES, Finding, by_urgency
from keras_retinanet.doctor.formats import format_findings
from keras_retinanet.doctor.scanning import scan, turned_findings, unlisted_findings
from keras_retinanet.doctor.sizes import InputBoxes, input_boxes, size_findings
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.anchors import Anchors
from keras_retinanet.modeling.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """All that is known of a dataset.

    Attributes:
        name: what the dataset is called, where it lies.
        input_name: the network's input, "SHORT,LONG" in pixels.
        datasets: every split that could be read; all have the same classes.
        tables: the boxes of each.
        own: the numbers of the splits that are not merely made up of others, such as trainval.
        inputs: for each of `own`, its boxes on the network's input.
        findings: errors first.
        decoded: whether the images were decoded.
    """

    name: str
    input_name: str
    datasets: list[Dataset]
    tables: list[BoxTable]
    own: list[int]
    inputs: list[InputBoxes]
    findings: list[Finding]
    decoded: bool

    @property
    def class_counts(self) -> np.ndarray:
        """The number of boxes (splits, classes), ignored ones skipped; of all `datasets`."""
        count = len(self.datasets[0].class_names)
        return np.stack([table.class_counts(count) for table in self.tables])

    @property
    def severities(self) -> dict[str, int]:
        """The number of findings of each severity."""
        found = [finding.severity for finding in self.findings]
        return {severity: found.count(severity) for severity in SEVERITIES}


def diagnose(
    config: DataConfig, preprocessing: Preprocessing, anchors: Anchors, *, decode: bool = True
) -> Diagnosis:
    """Read all splits that `config` names.

    Args:
        decode: also read and decode every image; without it, broken images and near
            duplicates are not found, and equal ones by their bytes alone.

    Raises:
        UserError: there is nothing to read; or, in strict mode, the first problem.
    """
    datasets, findings = load_splits(config)
    own = own_splits(datasets)
    chosen = [datasets[index] for index in own]
    prints = scan(chosen, decode=decode)
    training = _training_split(chosen)
    note_crowded(chosen[training or 0], config)
    tables = [box_table(dataset) for dataset in datasets]
    own_tables = [tables[index] for index in own]
    inputs = [
        input_boxes(dataset, table, preprocessing, anchors)
        for dataset, table in zip(chosen, own_tables, strict=True)
    ]
    input_name = f"{preprocessing.short_side},{preprocessing.long_side}"
    counts = np.stack([table.class_counts(len(chosen[0].class_names)) for table in own_tables])
    findings += [
        *format_findings(chosen, own_tables),
        *class_findings(chosen, counts, training),
        *duplicate_findings(chosen, *find_groups(chosen, prints)),
        *turned_findings(chosen, prints),
        *problem_findings(chosen),
        *content_findings(chosen, own_tables),
        *size_findings(chosen, inputs, input_name),
        *unlisted_findings(datasets),
    ]
    where = config.data_dir or config.annotations
    name = " ".join(part for part in (config.source, config.name, where) if part)
    return Diagnosis(name, input_name, datasets, tables, own, inputs, by_urgency(findings), decode)


def load_splits(config: DataConfig) -> tuple[list[Dataset], list[Finding]]:
    """Read the annotations of every split, and give all of them the same classes.

    Returns:
        (the splits that can be read, an error for each that cannot or has classes of its own).

    Raises:
        UserError: none can be read; in strict mode, the first problem.
    """
    source = SOURCES.get(config.source)
    names = source.splits(config) if source else []
    loaded: list[Dataset] = []
    findings: list[Finding] = []
    first_error: UserError | None = None
    for name in names or ["all"]:
        try:
            loaded.append(load_dataset(config, name, any_units=True))
        except UserError as error:
            if config.strict:
                raise
            first_error = first_error or error
            findings.append(_unreadable(name, error))
    if not loaded:
        raise first_error or UserError(f"Expected a split to read. Received: none in {names}.")
    every = list(dict.fromkeys(name for dataset in loaded for name in dataset.class_names))
    ids = {
        name: class_id
        for dataset in reversed(loaded)
        for name, class_id in zip(dataset.class_names, dataset.class_ids, strict=True)
    }
    reference = replace(loaded[0], class_names=every, class_ids=[ids[name] for name in every])
    findings += _own_classes(loaded)
    return [align_classes(dataset, reference) for dataset in loaded], findings


def own_splits(datasets: Sequence[Dataset]) -> list[int]:
    """Return the numbers of `datasets` without those that others make up: trainval, all."""
    images = [{record.image for record in dataset.records} for dataset in datasets]
    own = []
    for index, dataset in enumerate(datasets):
        others = set().union(*images[:index], *images[index + 1 :])
        is_union = dataset.split.startswith(("trainval", "all")) and images[index] <= others
        if not is_union:
            own.append(index)
    return own


def _training_split(datasets: Sequence[Dataset]) -> int | None:
    names = [dataset.split for dataset in datasets]
    found = find_split("train", names) or find_split("trainval", names)
    return names.index(found) if found else None


def _unreadable(split: str, error: UserError) -> Finding:
    title, action = f"Split {split} cannot be read", "Fix or remove its files."
    return Finding("unreadable split", "error", title, str(error), action)


def _own_classes(datasets: Sequence[Dataset]) -> Iterator[Finding]:
    index = _training_split(datasets)
    if index is None:
        return
    train = datasets[index]
    items = tuple(
        f"{dataset.split}: {name}"
        for dataset in datasets
        for name in dataset.class_names
        if name not in train.class_names
    )
    if items:
        yield Finding(
            "other classes",
            "error",
            f"Classes that {train.split} does not declare: {len(items)}",
            "Training on one split and scoring on another needs the same classes in both.",
            "Choose with --classes those that both have, or fix the lists of classes.",
            items,
        )
