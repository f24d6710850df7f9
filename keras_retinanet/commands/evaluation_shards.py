"""`evaluate --shard` and `--merge`: detections of a share of the images, and of all shares."""

from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from keras_retinanet.commands.detecting import JOURNAL_SUFFIX, Task, detect, hold_journal
from keras_retinanet.commands.sharding import shard_flag, written_shards
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files.targets import check_target
from keras_retinanet.terminal import printable

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset
    from keras_retinanet.evaluation.runner import DetectorRun

# A shard's file holds a line of JSON for each image, in which floats keep their bits.
SUFFIX = ".jsonl"
# Flags that ask for what only all images give.
WHOLE_FLAGS = ("json", "csv", "report", "pictures")


def check_shard_flags(args: Namespace) -> None:
    """Raise a UserError for flags that mean nothing together, before any slow work."""
    flag = shard_flag(args)
    if flag is None:
        return
    if not args.out:
        raise UserError(
            f"Expected --out FILE with {flag}: beside it lie the files of the shards. "
            "Received: no --out. Name the same one for all shards."
        )
    given = [f"--{name}" for name in WHOLE_FLAGS if getattr(args, name)]
    if args.shard and given:
        raise UserError(
            f"Expected {flag} without {', '.join(given)}, which needs all images. Received: both. "
            "Write it with --merge, when all shards are done."
        )


def run_shard(args: Namespace, task: Task, dataset: "Dataset") -> int:
    """Write the detections in a shard's images, unless they are there; return the exit code."""
    from keras_retinanet.evaluation.streaming import Journal

    file = args.shard.path(Path(args.out).with_suffix(SUFFIX))
    check_target(file, "shard", flag="--out")
    asked, key = args.shard.places(len(dataset.records)), _key(task, dataset)
    columns, is_other = Journal(file, key).read()
    images = f"{len(asked):,} of {counted(len(dataset.records), 'image')}"
    if file.exists() and not is_other and all(index in columns for index in asked):
        print(f"Shard {args.shard} ({images}) is done: {file}")
        return 0
    print(f"{task.model} on {dataset.name}, {dataset.split}: shard {args.shard}, {images}")
    kept = Journal(Path(f"{file}{JOURNAL_SUFFIX}"), key)
    with ExitStack() as stack:
        hold_journal(kept.path, stack)
        found = detect(task, dataset, kept, asked=asked, workers=args.workers or 1)
        kept.finish(file)
    if found.unreadable:
        names = printable(", ".join(found.unreadable))
        print(f"{len(found.unreadable)} could not be read: {names}")
    print(f"Wrote {counted(len(found.found.scores), 'detection')} to {file}")
    return 0


def merged(task: Task, dataset: "Dataset", out: Path) -> "DetectorRun":
    """Return the detections that all shards wrote for `out`, as one evaluation gives them.

    Raises:
        UserError: a shard is missing, damaged, or of another model, other data or options.
    """
    from keras_retinanet.evaluation.runner import finished_run
    from keras_retinanet.evaluation.streaming import Columns, Journal

    columns, key = Columns(), _key(task, dataset)
    file, count = out.with_suffix(SUFFIX), len(dataset.records)
    shards = written_shards(file)
    for shard in shards:
        _, is_other = Journal(shard.path(file), key).read(columns)
        lacking = sum(index not in columns for index in shard.places(count))
        if is_other or lacking:
            fault = (
                "was made with another model, other data or other options"
                if is_other
                else f"lacks {counted(lacking, 'image')}"
            )
            raise UserError(
                f"Expected shard {shard} of this evaluation. Received: {shard.path(file)}, which "
                f"{fault}. Run it again with --shard {shard}, then merge again."
            )
    print(f"Merged {counted(len(shards), 'shard')} of {out}")
    return finished_run(dataset, columns, ([], []), asked=range(count))


def _key(task: Task, dataset: "Dataset") -> str:
    from keras_retinanet.evaluation.streaming import run_key

    options = {} if task.passes is None else vars(task.passes)
    return run_key(task.model, dataset, options, any_machine=True)
