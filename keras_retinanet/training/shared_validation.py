"""Detection in a validation split by several processes, each in its share of the images."""

from collections.abc import Callable
from typing import Any

from keras_retinanet.data.records import Dataset
from keras_retinanet.evaluation.runner import DetectorRun, finished_run, run_detector
from keras_retinanet.evaluation.streaming import Columns
from keras_retinanet.training.team import Team

# Batches between two checks.
CHECK_EVERY = 4


def shared_run(
    model: Any,
    dataset: Dataset,
    team: Team,
    *,
    batch_size: int,
    check: Callable[[], object],
) -> DetectorRun:
    """Return the detections of all processes, the same in each; arguments as for `run_detector`.

    Args:
        team: every process of it calls this.
        check: called after every `CHECK_EVERY` batches, as often in all processes.
    """
    count = len(dataset.records)
    own, columns = range(team.index, count, team.count), Columns()
    step = CHECK_EVERY * batch_size
    for start in range(0, -(-count // team.count), step):
        if part := own[start : start + step]:
            run_detector(
                model,
                dataset,
                batch_size=batch_size,
                progress=False,
                indices=part,
                columns=columns,
            )
        check()
    everything = Columns.from_arrays(*(team.joined(part) for part in columns.arrays()))
    return finished_run(dataset, everything, ([], []), asked=range(count))
