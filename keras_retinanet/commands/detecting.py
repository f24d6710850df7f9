"""A model's detections in a split, by one process or several, from where a killed call stood."""

import multiprocessing
import os
import queue
import signal
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.common import import_tensorflow
from keras_retinanet.commands.passes import with_passes
from keras_retinanet.config import Config
from keras_retinanet.errors import UserError

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset
    from keras_retinanet.evaluation.runner import DetectorRun
    from keras_retinanet.evaluation.streaming import Journal

JOURNAL_SUFFIX = ".partial.jsonl"
# Seconds after which it is looked whether all worker processes still live.
PATIENCE = 1.0
# What `import_tensorflow` sets TF_CPP_MIN_LOG_LEVEL to: a new process inherits it, greetings too.
QUIET = "2"


@dataclass(frozen=True)
class Task:
    """What is detected, in a form that another process can be given.

    Attributes:
        model: the file.
        trained: the configuration of the run that the model lies in.
        passes: the `PASS_FLAGS` of tiles and test-time augmentation; None: one pass.
        limit: so many pictures of the split alone, the first ones.
        trust: an exported file is run whatever it holds.
    """

    model: Path
    config: Config
    trained: Config | None
    passes: Namespace | None = None
    limit: int | None = None
    trust: bool = False

    def dataset(self) -> "Dataset":
        """Read the pictures' records."""
        dataset = load_split(self.config, self.trained)
        if self.limit is None:
            return dataset
        return replace(dataset, records=[*dataset.records[: self.limit]])

    def detector(self) -> Any:
        """Read the model, a `.keras` file in the scope of all devices; add what the flags ask."""
        from keras_retinanet.distribution import strategy
        from keras_retinanet.exporting.exported import load_detector
        from keras_retinanet.exporting.facts import export_kind

        if export_kind(self.model) is not None:
            model = load_detector(self.model, trust=self.trust)
        else:
            with strategy().scope():
                model = load_detector(self.model)
        return model if self.passes is None else with_passes(model, self.passes)


def load_split(config: Config, trained: Config | None) -> "Dataset":
    """Return the split that is asked for; by default the one that training selects on."""
    from keras_retinanet.data import load_dataset

    split = config.evaluate.split
    same = trained is not None and trained.data == config.data
    if split is None and same and config.data.annotations and config.data.val_split != "none":
        split = "val"  # a file of the user's is scored whole, but for what was trained on
    return load_dataset(config.data, split, seed=config.train.seed)


@contextmanager
def detected(
    task: Task, dataset: "Dataset", *, journal: Path | None, workers: int = 1
) -> Iterator["DetectorRun"]:
    """Give the detections in `dataset`, each picture's once.

    Args:
        dataset: the task's.
        journal: file in which they are kept until the block is left without an error, so that the
            same call after a kill goes on; None: nothing is kept.
        workers: processes to share the pictures.
    """
    from keras_retinanet.evaluation.streaming import Journal, run_key

    if journal is None:
        with tempfile.TemporaryDirectory() as folder:
            yield _run(task, dataset, Journal(Path(folder, "found"), key=""), workers=workers)
        return
    options = {} if task.passes is None else vars(task.passes)
    kept = Journal(journal, run_key(task.model, dataset, options))
    yield _run(task, dataset, kept, workers=workers)
    kept.remove()


def _run(task: Task, dataset: "Dataset", journal: "Journal", *, workers: int) -> "DetectorRun":
    from keras_retinanet.distribution import strategy
    from keras_retinanet.evaluation.runner import finished_run, run_detector

    columns, was_other = journal.read()
    if len(columns):
        print(f"Going on after {len(columns):,} of {len(dataset.records):,} pictures", flush=True)
    elif was_other:
        print("Starting anew: the model, the data or the options have changed", flush=True)
    missing = [index for index in range(len(dataset.records)) if index not in columns]
    workers = min(workers, len(missing))
    first_ms: list[float] = []
    warm_ms: list[float] = []
    if workers > 1:
        first_ms, warm_ms = _run_workers(task, missing, journal=journal, workers=workers)
    else:
        model = task.detector()
        with journal.writer() as keep:
            run = run_detector(
                model,
                dataset,
                batch_size=task.config.evaluate.batch_size,
                strategy=strategy(),
                indices=missing,
                keep=keep,
            )
        first_ms, warm_ms = run.first_ms, run.warm_ms
    return finished_run(dataset, journal.read()[0], first_ms, warm_ms)


# ------------------------------------------------------------------------------ several processes


def _run_workers(
    task: Task, missing: list[int], *, journal: "Journal", workers: int
) -> tuple[list[float], list[float]]:
    """Detect in the pictures of the indices `missing`; return milliseconds, first and warm."""
    from tqdm import tqdm

    context = multiprocessing.get_context("spawn")
    messages: Queue = context.Queue()
    # Each with every Nth picture: data sets are often in an order, and so each gets the same mix.
    processes = [
        context.Process(
            target=_work,
            args=(task, missing[rank::workers], journal.path, journal.key, workers, messages),
            daemon=True,
        )
        for rank in range(workers)
    ]
    for process in processes:
        process.start()
    first_ms: list[float] = []
    warm_ms: list[float] = []
    running = workers
    try:
        with tqdm(total=len(missing), desc="detect", unit="picture", dynamic_ncols=True) as bar:
            while running:
                message = _next_message(messages, processes)
                if isinstance(message, int):
                    bar.update(message)
                elif isinstance(message, UserError):
                    raise message
                elif message is not None:
                    first_ms += message[0]
                    warm_ms += message[1]
                    running -= 1
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return first_ms, warm_ms


def _next_message(messages: Queue, processes: list[Any]) -> Any:
    """Return the next message; None: there is none yet."""
    try:
        return messages.get(timeout=PATIENCE)
    except queue.Empty:
        dead = [process.exitcode for process in processes if process.exitcode not in (None, 0)]
        if not dead:
            return None
        raise UserError(
            f"Expected every worker process to finish. Received: exit code {dead[0]} of one, "
            "perhaps for lack of memory. Run the same command again with fewer --workers: it "
            "goes on."
        ) from None


def _work(
    task: Task, indices: list[int], path: Path, key: str, workers: int, messages: Queue
) -> None:
    """Detect in the pictures of `indices`: what a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == QUIET:
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]  # the first process set it
    import_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(max(1, (os.cpu_count() or 1) // workers))
    from keras_retinanet.evaluation.runner import run_detector
    from keras_retinanet.evaluation.streaming import Journal

    parent = multiprocessing.parent_process()
    try:
        with Journal(path, key).writer(f".{os.getpid()}") as write:

            def keep(lines: list[str]) -> None:
                write(lines)
                messages.put(len(lines))
                if parent is not None and not parent.is_alive():
                    raise SystemExit  # it was killed: another call may go on already

            run = run_detector(
                task.detector(),
                task.dataset(),
                batch_size=task.config.evaluate.batch_size,
                progress=False,
                indices=indices,
                keep=keep,
            )
        messages.put((run.first_ms, run.warm_ms))
    except UserError as error:
        messages.put(error)
