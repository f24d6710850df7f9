"""A job in shards: `--shard I/N` on machines that share a folder, then `--merge` of their files."""

import argparse
import re
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from keras_retinanet.errors import UserError, listed
from keras_retinanet.training.cluster import read_cluster

# How many missing shards a message names.
SHOWN_SHARDS = 20


@dataclass(frozen=True, order=True)
class Shard:
    """Every `count`-th item of a job from item number `number` on, both from 1.

    Data sets are often in an order: so each shard gets the same mix.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def places(self, total: int) -> range:
        """Return the places, from 0, of its items among `total`."""
        return range(self.number - 1, total, self.count)

    def path(self, file: Path) -> Path:
        """Return the shard's file for `file` of the whole job: found.json -> found-2-of-8.json."""
        return file.with_name(f"{file.stem}-{self.number}-of-{self.count}{file.suffix}")


WHOLE = Shard(1, 1)


def add_shard_arguments(parser: ArgumentParser) -> None:
    """Add --shard and --merge."""
    group = parser.add_argument_group("shards of a job, on machines that share a folder")
    choice = group.add_mutually_exclusive_group()
    choice.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="process every Nth image from image I on (I from 1 to N) and write them to files of "
        "their own; a shard that is done is not processed again",
    )
    choice.add_argument(
        "--merge",
        action="store_true",
        help="merge the files of all shards instead of processing images",
    )


def shard(text: str) -> Shard:
    """Parse "I/N"."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(
            f"expected I/N with I from 1 to N, such as 2/8. Received: {text!r}"
        )
    return Shard(int(found[1]), int(found[2]))


def shard_flag(args: Namespace) -> str | None:
    """Return which of the flags is given.

    Raises:
        UserError: none is, but `TF_CONFIG` names several processes: each would do the whole job.
    """
    if args.shard or args.merge:
        return f"--shard {args.shard}" if args.shard else "--merge"
    if cluster := read_cluster():
        own = Shard(cluster.index + 1, len(cluster.addresses))
        raise UserError(
            f"Expected --shard {own}, for TF_CONFIG names {own.count} processes, and each would do "
            "the whole job: only `train` joins them. Received: no --shard. Give it, or unset "
            "TF_CONFIG."
        )
    return None


def written_shards(file: Path) -> list[Shard]:
    """Return the shards of a job, each of which wrote its file for `file`, in their order.

    Raises:
        UserError: there are none, some are missing, or they are of several numbers of shards.
    """
    name = re.compile(rf"{re.escape(file.stem)}-(\d+)-of-(\d+){re.escape(file.suffix)}")
    names = [path.name for path in file.parent.glob("*")] if file.parent.is_dir() else []
    found = {Shard(int(match[1]), int(match[2])) for match in map(name.fullmatch, names) if match}
    counts = sorted({each.count for each in found})
    if len(counts) != 1:
        received = f"shards of {' and of '.join(map(str, counts))}" if counts else "none"
        raise UserError(
            f"Expected the files of all shards of one job, {Shard(1, 8).path(file)} to "
            f"{Shard(8, 8).path(file).name} of eight. Received: {received}. "
            f"{'Delete those of the other job.' if counts else 'Run it with --shard 1/N to N/N.'}"
        )
    shards = [Shard(number, counts[0]) for number in range(1, counts[0] + 1)]
    missing = [str(each) for each in shards if each not in found]
    if missing:
        raise UserError(
            f"Expected {Shard(1, counts[0]).path(file)} and all others of {counts[0]} shards. "
            f"Received: none of {listed(missing, limit=SHOWN_SHARDS)}. Run it with --shard "
            f"{missing[0]}{' and so on' if missing[1:] else ''}, then merge again."
        )
    return shards
