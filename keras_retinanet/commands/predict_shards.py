"""`predict --shard` and `--merge`: a folder for each share of the files, one list of all boxes."""

import csv
import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_retinanet.commands.default_model import find_any_model
from keras_retinanet.commands.predict_files import ROWS, find_pictures, is_video
from keras_retinanet.commands.sharding import Shard, written_shards
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files import atomic_write
from keras_retinanet.files.owners import folder_lock
from keras_retinanet.files.targets import check_target
from keras_retinanet.files.text_files import read_json

# Written into a shard's folder when all else is there.
DONE = "done.json"
# What no file of a shard depends on.
OTHER_FLAGS = frozenset({"images", "merge", "model", "out", "run", "shard", "trust"})


def run_sharded(args: Namespace, predict: Callable[[Namespace], int]) -> int:
    """Predict a shard of the files, or merge the rows of all shards; return the exit code.

    Args:
        predict: the command without shards.
    """
    paths = find_pictures(args.images)
    import_tensorflow()
    key = _key(args, paths)
    if args.shard:
        return _predict(args, paths, predict, key=key)
    return _merge(args, paths, key=key)


def _predict(
    args: Namespace, paths: Sequence[Path], predict: Callable[[Namespace], int], *, key: str
) -> int:
    """Predict a shard's files into its folder, unless they are there."""
    folder = args.shard.path(_stem(args))
    mine = [str(paths[place]) for place in args.shard.places(len(paths))]
    share = f"{len(mine):,} of {counted(len(paths), 'file')}"
    if _is_done(folder, key):
        print(f"Shard {args.shard} ({share}) is done: {folder}/")
        return 0
    print(f"Shard {args.shard}: {share}")
    with folder_lock(folder, purpose="predict"):
        (folder / DONE).unlink(missing_ok=True)
        changed = {"images": mine, "out": str(folder), "shard": None}
        code = predict(Namespace(**{**vars(args), **changed})) if mine else 0
        with atomic_write(folder / DONE) as stream:
            json.dump({"key": key}, stream)
    return code


def _merge(args: Namespace, paths: Sequence[Path], *, key: str) -> int:
    """Write the rows of all shards in the order of the images, as one call writes them.

    Raises:
        UserError: a shard is missing, damaged, or of another model, other files or options.
    """
    out, stem = Path(args.out), _stem(args)
    for name, kind in ROWS.items():
        check_target(out / name, kind, flag="--out")
    pictures = [path for path in paths if not is_video(path)]
    numbers = {str(path): number for number, path in enumerate(pictures, start=1)}
    merged: list[tuple[int, dict[str, Any], list[str]]] = []
    shards = written_shards(stem)
    for shard in shards:
        folder = shard.path(stem)
        rows, lines = _read_rows(folder)
        is_whole = len(rows) == len(lines) and {row["file_name"] for row in rows} <= {*numbers}
        if not (is_whole and _is_done(folder, key)):
            raise _refusal(shard, folder)
        merged += zip((numbers[row["file_name"]] for row in rows), rows, lines, strict=True)
    merged.sort(key=lambda item: item[0])  # those of an image stay in their order
    _write(out, merged)
    print(f"Merged {counted(len(merged), 'detection')} of {counted(len(shards), 'shard')}")
    print(f"{' and '.join(ROWS)} are in {out}/, drawn copies in the folders of the shards")
    return 0


def _stem(args: Namespace) -> Path:
    return Path(args.out) / "shard"


def _is_done(folder: Path, key: str) -> bool:
    try:
        return (folder / DONE).is_file() and read_json(folder / DONE) == {"key": key}
    except UserError:  # damaged
        return False


def _refusal(shard: Shard, folder: Path) -> UserError:
    return UserError(
        f"Expected shard {shard} of this call, whole. Received: {folder}, which is not finished, "
        f"or of another model, other files or other options. Run it with --shard {shard}, then "
        "merge again."
    )


def _read_rows(folder: Path) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Return the rows of a shard's JSON and of its CSV; none if all its files are videos."""
    json_file, csv_file = (folder / name for name in ROWS)
    if not json_file.exists():
        return [], []
    with open(csv_file, encoding="utf-8", newline="") as stream:
        return read_json(json_file), [*csv.reader(stream)][1:]


def _write(out: Path, merged: list[tuple[int, dict[str, Any], list[str]]]) -> None:
    from keras_retinanet.evaluation.results import CSV_HEADER, write_coco_json

    json_file, csv_file = (out / name for name in ROWS)
    write_coco_json([{**row, "image_id": number} for number, row, _ in merged], json_file)
    with atomic_write(csv_file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(CSV_HEADER)
        writer.writerows(line for _, _, line in merged)


def _key(args: Namespace, paths: Sequence[Path]) -> str:
    """Return a name of all that the files of a shard depend on: a SHA-256 in hexadecimal."""
    from keras_retinanet.evaluation.streaming import file_state, model_digest

    options = {name: repr(vars(args)[name]) for name in {*vars(args)} - OTHER_FLAGS}
    digest = model_digest(find_any_model(args.model), options)
    for path in paths:
        digest.update(repr((str(path), file_state(path)[0])).encode())
    return digest.hexdigest()
