"""`run.json`: what each start of a run was started by, on what and with what."""

import datetime
import json
from pathlib import Path
from typing import Any

from keras_retinanet.data.fingerprint import fingerprint
from keras_retinanet.data.records import Dataset
from keras_retinanet.files import atomic_write
from keras_retinanet.processes.machine import machine, source_commit
from keras_retinanet.training.team import Team

RECORD_FILE = "run.json"


def record_start(folder: Path, parts: list[Dataset | None], *, step: int, team: Team) -> None:
    """Add a start to the record of the run in `folder`.

    Each names its time, step, command, commit, versions, machine, and the data: the fingerprints
    of images with boxes. A line says where these are not those of the start before.

    Args:
        parts: the images of training and validation.
        step: the number of steps that were taken before.
    """
    path = folder / RECORD_FILE
    starts = _stored(path)
    prints = [fingerprint(part) if part is not None else None for part in parts]
    data = dict(zip(("train", "validation"), prints, strict=True))
    if starts and starts[-1].get("data") != data:
        print(f"Images or boxes are not those of the start before: {path} has both fingerprints.")
    start = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "step": step,
        "commit": source_commit(),
        "processes": team.count,
        "devices": team.strategy.num_replicas_in_sync,
        **machine(),
        "data": data,
    }
    with atomic_write(path) as stream:
        json.dump({"starts": [*starts, start]}, stream, indent=1)


def _stored(path: Path) -> list[dict[str, Any]]:
    """Return the starts so far; none where the record is missing or damaged."""
    try:
        starts = json.loads(path.read_text(encoding="utf-8"))["starts"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    is_sound = isinstance(starts, list) and all(isinstance(start, dict) for start in starts)
    return starts if is_sound else []
