"""Datasets: `SOURCES` by name, and the splits to train, select and score on."""

from dataclasses import replace
from types import ModuleType

from keras_retinanet.config import DataConfig
from keras_retinanet.data.images.exif import apply_exif
from keras_retinanet.data.images.rasters import raster_size
from keras_retinanet.data.pipeline.crowding import note_crowded
from keras_retinanet.data.records import Dataset, align_classes, join_classes, select_classes
from keras_retinanet.data.sources import SOURCES
from keras_retinanet.data.splits import match_split, random_split, training_splits
from keras_retinanet.data.units import check_units
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files.images import headers
from keras_retinanet.files.images.decoding import image_sizes

# `--val_split none`: train on everything, select by nothing.
NO_SPLIT = "none"


def load_dataset(
    config: DataConfig,
    split: str | None = None,
    *,
    seed: int = 0,
    any_units: bool = False,
    in_parts: bool = False,
) -> Dataset:
    """Read the annotations of one split, with the classes that `config.classes` selects.

    Args:
        split: a split's name ("val" is also val2017 or valid). A set without splits has the
            seeded parts "train" and "val", and "all". None: what `load_train_val` validates on
            with the same `seed`; all of a file that `config.annotations` names.
        any_units: also return boxes that look written in another unit than the format's.
        in_parts: keep TIFFs that are too large to decode, but can be read in parts.

    Raises:
        UserError: the source, the data or the split is not there, or nothing can be read of it.
    """
    options = {"any_units": any_units, "in_parts": in_parts}
    source = _source(config)
    available = source.splits(config)
    if split is None and config.annotations is not None and not available:
        split = "all"
    train_name = None
    if available:
        if split is None:
            train_name, split = _training_splits(config, available)
        if split is not None:
            name = match_split(split, available, _where(config))
            return _checked(source.load(config, name), config, **options)
    dataset = _checked(source.load(config, train_name), config, **options)
    parts = ["train", "val", "all"]
    name = match_split(split or "val", parts, f"{_where(config)}, which has none of its own")
    return dataset if name == "all" else random_split(dataset, seed)[parts.index(name)]


def load_train_val(
    config: DataConfig, seed: int = 0, *, tile: int = 0
) -> tuple[Dataset, Dataset | None]:
    """Read the split to train on and the one to select on, with the same classes.

    Which they are: `splits.training_splits`. Where no split is left to validate on, a tenth of the
    training images, drawn by `seed`, is held out; this is printed. None with
    `config.val_split` "none".

    Args:
        tile: side of the windows that training shows, for the count of crowded images.

    Raises:
        UserError: as `load_dataset`; also if the training split has no annotations.
    """
    source = _source(config)
    available = source.splits(config)
    train_name, val_name = _training_splits(config, available) if available else (None, None)
    if config.val_split == NO_SPLIT:
        val_name = None
    train = _checked(source.load(config, train_name), config)
    if not train.has_annotations:
        raise UserError(
            f"Expected a split with boxes to train on. Received: split={train.split}, "
            f"{_why_without_boxes(train)}"
        )
    val = None
    if val_name is not None:
        val = align_classes(_checked(source.load(config, val_name), config), train)
    elif config.val_split != NO_SPLIT:
        train, val = _held_out(train, seed)
    note_crowded(train, config, tile)
    return train, val


def _held_out(train: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    train, val = random_split(train, seed)
    print(
        f"{train.name} has no validation split to select on: of its "
        f"{counted(len(val.records) + len(train.records), 'image')}, {len(val.records)} held out "
        f"(seed {seed})."
    )
    return train, val


def _why_without_boxes(dataset: Dataset) -> str:
    if dataset.name == "yolo":
        return (
            f"{len(dataset.records)} images without any label file. Put a .txt beside each, or in "
            "a folder labels/ that is built as images/."
        )
    return "whose annotations are not public. Choose another one with --split."


def _training_splits(config: DataConfig, available: list[str]) -> tuple[str, str | None]:
    wanted = None if config.val_split == NO_SPLIT else config.val_split
    return training_splits(available, config.split, wanted, _where(config))


def _where(config: DataConfig) -> str:
    return str(config.data_dir or config.name or config.source)


def _source(config: DataConfig) -> ModuleType:
    if config.source not in SOURCES:
        raise UserError(
            f"Expected one of the data sources {', '.join(SOURCES)}. "
            f"Received: {config.source}. Name one of them."
        )
    return SOURCES[config.source]


def _checked(
    dataset: Dataset, config: DataConfig, *, any_units: bool = False, in_parts: bool = False
) -> Dataset:
    dataset = _usable(dataset, in_parts=in_parts)
    if not len(dataset.records):
        why = "; ".join(dataset.problems.lines()) or "nothing is listed"
        raise UserError(
            f"Expected images in {dataset.name}, split {dataset.split}. Received: none that can "
            f"be read ({why}). Look at --data_dir."
        )
    dataset = join_classes(dataset)
    if config.units is None and not any_units:
        check_units(dataset)
    if config.classes:
        dataset = select_classes(dataset, config.classes)
    return apply_exif(dataset) if config.exif == "apply" else dataset


def _usable(dataset: Dataset, *, in_parts: bool) -> Dataset:
    """Return `dataset` without the images that are too large, which are counted."""
    large = [r for r in dataset.records if r.height * r.width > headers.MAX_PIXELS]
    # An annotation may say what it likes: the file decides.
    sizes = image_sizes([record.image.path for record in large])
    huge = {
        id(record)
        for record, size in zip(large, sizes, strict=True)
        if size == headers.HUGE and not (in_parts and raster_size(record.image.path))
    }
    if not huge:
        return dataset
    for record in large:
        if id(record) in huge:
            dataset.problems.note(headers.HUGE, record.file_name)
    return replace(dataset, records=[r for r in dataset.records if id(r) not in huge])


__all__ = ["SOURCES", "Dataset", "load_dataset", "load_train_val"]
