"""Measure where the time goes: of a detection, a training step, data, evaluation, start, formats.

Each call is timed several times, in turn with the others of its table, after one that does not
count; a repeat in which other processes used the processor is made again. The median and the
quartiles are printed, and for networks the share of the least time that this machine needs, as a
convolution timed in the same run shows.

Examples:
    keras_retinanet benchmark
    keras_retinanet benchmark --backbone resnet50 --image_size 800,800 --precision bfloat16
    keras_retinanet benchmark --what train --backbone resnet50 --image_size 512,512 --batch_size 2
    keras_retinanet benchmark --what data voc --data_dir bccd --image_size 320
    keras_retinanet benchmark --what formats voc --data_dir bccd --model best.keras --split test
"""

import argparse
import json
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from keras_retinanet.commands.common import (
    add_data_arguments,
    add_model_argument,
    add_option,
    add_recipe_arguments,
    add_trust_argument,
    recipe_config,
)
from keras_retinanet.commands.default_model import OTHERWISE, find_any_model
from keras_retinanet.commands.detecting import load_split
from keras_retinanet.commands.json_output import add_json_argument, add_result
from keras_retinanet.commands.tensorflow_import import import_for_inference, import_tensorflow
from keras_retinanet.config import Config
from keras_retinanet.config.files import with_overrides
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import export_kind
from keras_retinanet.files import atomic_write
from keras_retinanet.files.targets import check_target

if TYPE_CHECKING:
    from keras_retinanet.speed.models import Subject
    from keras_retinanet.speed.tables import Table

PRECISIONS = ("float32", "bfloat16", "float16")
REPEAT = 5
# Of `--what train` without a recipe: the paper's 16 do not fit most memories.
TRAIN_BATCH = 2
# Images of a batch and of a repeat of `--what data`, and of the files that `evaluate` scores.
DATA_BATCH, DATA_IMAGES = 8, 400
SCORED_IMAGES = 5000
# Flag -> key of the configuration.
BENCHMARK_KEYS = {"backbone": "model.backbone.name", "split": "evaluate.split"}


class Task(NamedTuple):
    """What a kind gets.

    Attributes:
        config: of the data, and of a network of random weights.
        is_named: whether the flags name a data set.
        path: the model's file; None: a network of random weights.
    """

    args: Namespace
    config: Config
    is_named: bool
    path: Path | None

    def subject(self) -> "Subject":
        """Return the network to time; refuse an exported file."""
        from keras_retinanet.speed.models import Subject

        if self.path is not None and export_kind(self.path) is not None:
            raise UserError(
                f"Expected a .keras model for --what {self.args.what}. Received: {self.path}, "
                "an exported file."
            )
        return Subject(self.path, self.config.model, image_size=self.args.image_size)


def _inference(task: Task) -> list["Table"]:
    from keras_retinanet.exporting.exported import load_exported
    from keras_retinanet.speed.inference import detection_memory, exported_inference, inference

    if task.path is not None and export_kind(task.path) is not None:
        detector = load_exported(task.path, trust=task.args.trust)
        sides = detector.config.preprocessing
        return exported_inference(detector, _image(task, sides), repeat=task.args.repeat)
    subject = task.subject()
    model = subject.make()
    encoded = _image(task, model.config.preprocessing)
    tables = inference(
        model,
        encoded,
        batch_size=task.args.batch_size or 1,
        precision=task.args.precision,
        repeat=task.args.repeat,
    )
    return [*tables, detection_memory(subject, encoded)]


def _image(task: Task, sides) -> bytes:
    """Return the first image of the data set, or a drawn one of the size of the input."""
    from keras_retinanet.speed.models import drawn_image

    if task.is_named:
        return load_split(task.config, None).read_bytes(0)
    return drawn_image(sides.short_side, sides.long_side)


def _train(task: Task) -> list["Table"]:
    from keras_retinanet.data.loading import load_train_val
    from keras_retinanet.speed.train import train

    dataset, _ = load_train_val(task.config.data, task.config.train.seed)
    subject = task.subject()
    if task.is_named and subject.path is None:
        subject = replace(subject, num_classes=len(dataset.class_names))
    own = task.config.train.batch_size if task.args.config else TRAIN_BATCH
    return train(
        subject,
        task.config,
        dataset,
        batch_size=task.args.batch_size or own,
        precision=task.args.precision,
        repeat=task.args.repeat,
    )


def _data(task: Task) -> list["Table"]:
    from keras_retinanet.data.loading import load_train_val
    from keras_retinanet.modeling.preprocessing import Preprocessing
    from keras_retinanet.speed.data import data

    dataset, _ = load_train_val(task.config.data, task.config.train.seed)
    return data(
        dataset,
        Preprocessing(**vars(task.config.model.preprocessing)),
        task.config.data,
        batch_size=task.args.batch_size or DATA_BATCH,
        images=task.args.limit or DATA_IMAGES,
        repeat=task.args.repeat,
    )


def _evaluate(task: Task) -> list["Table"]:
    from keras_retinanet.speed.evaluate import detection, scoring

    tables = [scoring(images=task.args.limit or SCORED_IMAGES, repeat=task.args.repeat)]
    if not task.is_named:
        return tables
    dataset = load_split(task.config, None)
    model = task.subject().make()
    options = {"batch_size": task.args.batch_size or 1, "repeat": task.args.repeat}
    images = task.args.limit or len(dataset.records)
    return [*tables, detection(model, dataset, images=images, **options)]


def _start(task: Task) -> list["Table"]:
    from keras_retinanet.speed.start import start

    model = task.subject().make()
    encoded = _image(task, model.config.preprocessing)
    with tempfile.TemporaryDirectory() as folder:
        return start(model, encoded, Path(folder), repeat=task.args.repeat)


def _formats(task: Task) -> list["Table"]:
    from keras_retinanet.data.loading import load_train_val
    from keras_retinanet.speed.formats import formats

    dataset = load_split(task.config, None)
    calibration, _ = load_train_val(task.config.data, task.config.train.seed)
    if task.args.limit:
        dataset = replace(dataset, records=[*dataset.records[: task.args.limit]])
    model = task.subject().make()
    with tempfile.TemporaryDirectory() as folder:
        options = {"only": task.args.only or (), "repeat": task.args.repeat}
        return formats(model, dataset, calibration, Path(folder), **options)


class Kind(NamedTuple):
    """A kind of measurement.

    Attributes:
        measure: returns its tables.
        needs_data: whether a data set must be named.
        only_infers: as predict and evaluate do, with weights that never change.
    """

    measure: Callable[[Task], list["Table"]]
    needs_data: bool = False
    only_infers: bool = False


KINDS = {
    "inference": Kind(_inference, only_infers=True),
    "train": Kind(_train),
    "data": Kind(_data, needs_data=True),
    "evaluate": Kind(_evaluate, only_infers=True),
    "start": Kind(_start),
    "formats": Kind(_formats, needs_data=True, only_infers=True),
}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `benchmark` to its parser."""
    add = parser.add_argument
    add("--what", choices=KINDS, default="inference", help="what to measure (inference)")
    add_model_argument(parser, otherwise=OTHERWISE)
    add_option(parser, "--backbone", keys=BENCHMARK_KEYS, metavar="NAME")
    add_recipe_arguments(parser)
    add_data_arguments(parser)
    add_trust_argument(parser)
    add("--split", help="split of the data set (default: the validation split)")
    add("--batch_size", type=_count, metavar="B", help="images per batch (1; train: 2; data: 8)")
    add(
        "--limit",
        type=_count,
        metavar="N",
        help=f"images of a repeat of data ({DATA_IMAGES}), of the drawn file that evaluate scores "
        f"({SCORED_IMAGES:,}), and of the split",
    )
    add(
        "--only", action="append", metavar="FORM", help="formats: write this form (can be repeated)"
    )
    add("--precision", choices=PRECISIONS, default="float32", help="of the network (float32)")
    add("--repeat", type=_count, default=REPEAT, metavar="N", help=f"repeats of each ({REPEAT})")
    add_json_argument(parser, file="write the tables and the facts of the machine")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on. Received: {text!r}")
    return int(text)


def run(args: Namespace) -> int:
    """Print the tables of a kind, and write them if asked."""
    kind = KINDS[args.what]
    if args.json:
        check_target(args.json, "benchmark", flag="--json")
    is_named = any((args.dataset, args.data_dir, args.annotations))
    if kind.needs_data and not is_named:
        raise UserError(
            f"Expected a data set for --what {args.what}. Received: none. "
            "Write for example: --data_dir DIR."
        )
    path = _model_path(args)
    config = recipe_config(args, BENCHMARK_KEYS)
    if not is_named and not args.config:
        config = with_overrides(config, {"data.source": "shapes"})

    import_for_inference() if kind.only_infers else import_tensorflow()
    from keras_retinanet.processes.machine import machine
    from keras_retinanet.speed.tables import as_plain, as_text

    facts = {"what": args.what, "machine": machine()}
    print("\n".join(f"{name:<16} {value}" for name, value in facts["machine"].items()))
    tables = kind.measure(Task(args, config, is_named, path))
    for table in tables:
        print(f"\n{as_text(table)}")
    add_result(args, **as_plain(tables, facts))
    if args.json:
        with atomic_write(args.json) as file:
            json.dump(as_plain(tables, facts), file, indent=1)
            file.write("\n")
        print(f"\nWrote {args.json}")
    return 0


def _model_path(args: Namespace) -> Path | None:
    """Return the model's file; None where the flags describe a network of random weights."""
    described = [f"--{flag}" for flag in ("backbone", "config", "set") if getattr(args, flag)]
    if args.model and described:
        raise UserError(
            "Expected --model, or flags that describe a network of random weights. "
            f"Received: --model with {', '.join(described)}."
        )
    return None if described else find_any_model(args.model)
