"""Detect in a split with one process or several, and resume after a killed call."""

import multiprocessing
import os
import queue
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.passes import asks_for_tiles, with_passes
from keras_retinanet.commands.tensorflow_import import import_for_inference
from keras_retinanet.config import Config
from keras_retinanet.errors import UserError
from keras_retinanet.files.owners import file_lock
from keras_retinanet.processes.child_processes import hold, lifeline
from keras_retinanet.terminal import progress

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from keras_retinanet.data.records import Dataset
    from keras_retinanet.evaluation.runner import DetectorRun
    from keras_retinanet.evaluation.streaming import Columns, Journal

# Takes the lines of images that are done.
Keep = Callable[[list[str]], None]
# Per image, of each batch: of those that were the first of their shape, and of all others.
Milliseconds = tuple[list[float], list[float]]
JOURNAL_SUFFIX = ".partial.jsonl"
# Seconds between checks that all worker processes are alive.
PATIENCE = 1.0
# What `import_tensorflow` sets TF_CPP_MIN_LOG_LEVEL to: a new process inherits it, greetings too.
QUIET = "2"


@dataclass(frozen=True)
class Task:
    """The work to do, as plain values that another process can receive.

    Attributes:
        model: the file.
        trained: the configuration of the run that the model lies in.
        passes: the `PASS_FLAGS` of tiles and test-time augmentation; None: one pass.
        limit: use only the first `limit` images of the split.
        trust: run an exported file whatever it contains.
    """

    model: Path
    config: Config
    trained: Config | None
    passes: Namespace | None = None
    limit: int | None = None
    trust: bool = False

    def dataset(self) -> "Dataset":
        """Read the images' records."""
        in_tiles = self.passes is not None and asks_for_tiles(self.model, self.passes)
        dataset = load_split(self.config, self.trained, in_parts=in_tiles)
        if self.limit is None:
            return dataset
        return replace(dataset, records=[*dataset.records[: self.limit]])

    def detector(self) -> Any:
        """Read the model, a `.keras` file in the scope of all devices, and add the passes."""
        from keras_retinanet.exporting.exported import load_detector
        from keras_retinanet.exporting.facts import export_kind
        from keras_retinanet.training.distribution import local_strategy

        if export_kind(self.model) is not None:
            model = load_detector(self.model, trust=self.trust)
        else:
            with local_strategy().scope():
                model = load_detector(self.model)
        return model if self.passes is None else with_passes(model, self.passes)


def load_split(config: Config, trained: Config | None, *, in_parts: bool = False) -> "Dataset":
    """Return the split that is asked for; by default the one that training selects on.

    Args:
        in_parts: as `load_dataset` takes it.
    """
    from keras_retinanet.data.loading import load_dataset

    split = config.evaluate.split
    same = trained is not None and trained.data == config.data
    if split is None and same and config.data.annotations and config.data.val_split != "none":
        split = "val"  # a file of the user's is scored whole, but for what was trained on
    return load_dataset(config.data, split, seed=config.train.seed, in_parts=in_parts)


@contextmanager
def detected(
    task: Task, dataset: "Dataset", *, journal: Path | None, shared: bool = False, workers: int = 1
) -> Iterator["DetectorRun"]:
    """Yield the detections in `dataset`, each image's once.

    Args:
        dataset: the task's.
        journal: file in which they are kept until the block is left without an error, so that the
            same call resumes after a kill; None: nothing is kept.
        shared: go without `journal` if another process has it; False: it is an error.
        workers: processes to share the images.

    Raises:
        UserError: another process has `journal`; not every image was seen.
    """
    from keras_retinanet.evaluation.streaming import Journal, run_key

    with ExitStack() as stack:
        kept = None
        if journal is not None and hold_journal(journal, stack, shared=shared):
            options = {} if task.passes is None else vars(task.passes)
            kept = Journal(journal, run_key(task.model, dataset, options))
        yield detect(task, dataset, kept, asked=range(len(dataset.records)), workers=workers)
        if kept is not None:
            kept.remove()


def hold_journal(journal: Path, stack: ExitStack, *, shared: bool = False) -> bool:
    """Return whether this process has `journal` until `stack` is left."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    target = journal.with_name(journal.name.removesuffix(JOURNAL_SUFFIX))
    lock = file_lock(journal.with_name(f".{journal.name}.lock"), shown=target)
    try:
        stack.enter_context(lock)
    except UserError:
        if not shared:
            raise
        print("Another evaluation is under way here: if this one is killed, it starts again")
        return False
    return True


def detect(
    task: Task,
    dataset: "Dataset",
    journal: "Journal | None",
    *,
    asked: Sequence[int],
    workers: int,
) -> "DetectorRun":
    """Return the detections in the images `asked`, those that `journal` has from there."""
    from keras_retinanet.evaluation.runner import finished_run
    from keras_retinanet.evaluation.streaming import Columns

    columns, was_other = (Columns(), False) if journal is None else journal.read()
    columns.keep_readable(len(dataset.records))  # one that could not be read may be there by now
    if len(columns):
        print(f"Resuming after {len(columns):,} of {len(asked):,} images", flush=True)
    elif was_other:
        print("Starting again: the model, the data or the options have changed", flush=True)
    missing = [index for index in asked if index not in columns]
    with nullcontext(None) if journal is None else journal.writer() as keep:
        if min(workers, len(missing)) > 1:
            milliseconds = _run_workers(
                task, missing, columns=columns, keep=keep, workers=min(workers, len(missing))
            )
        else:
            milliseconds = _run_here(task, dataset, missing, columns=columns, keep=keep)
    return finished_run(dataset, columns, milliseconds, asked=asked)


def _run_here(
    task: Task, dataset: "Dataset", missing: list[int], *, columns: "Columns", keep: Keep | None
) -> Milliseconds:
    """Add the detections of the images `missing` to `columns`; return milliseconds."""
    if not missing:
        return [], []
    from keras_retinanet.evaluation.runner import run_detector
    from keras_retinanet.training.distribution import local_strategy

    run = run_detector(
        task.detector(),
        dataset,
        batch_size=task.config.evaluate.batch_size,
        strategy=local_strategy(),
        indices=missing,
        columns=columns,
        keep=keep,
    )
    return run.first_ms, run.warm_ms


# ------------------------------------------------------------------------------ several processes


def _run_workers(
    task: Task, missing: list[int], *, columns: "Columns", keep: Keep | None, workers: int
) -> Milliseconds:
    """As `_run_here`, in several processes."""
    context = multiprocessing.get_context("spawn")
    messages: Queue = context.Queue()
    processes: list[Any] = []
    with lifeline(context) as line:
        try:
            for rank in range(workers):
                # Each with every Nth image: datasets are often in an order, and so each gets
                # the same mix.
                words = (line.reader, task, missing[rank::workers], workers, messages)
                processes.append(context.Process(target=_work, args=words, daemon=True))
                processes[-1].start()
            return _collect(messages, processes, len(missing), columns=columns, keep=keep)
        except BaseException:
            line.cut()  # nobody wants the rest any more
            raise
        finally:
            for process in processes:
                process.join()


def _collect(
    messages: Queue, processes: list[Any], count: int, *, columns: "Columns", keep: Keep | None
) -> Milliseconds:
    """Take what the workers send until all are done: lines, milliseconds at the end, an error."""
    first_ms: list[float] = []
    warm_ms: list[float] = []
    running = len(processes)
    with progress(total=count, desc="detect", unit="image") as bar:
        while running:
            message = _next_message(messages, processes)
            if isinstance(message, list):
                for line in message:
                    columns.add_line(line)
                if keep is not None:
                    keep(message)
                bar.update(len(message))
            elif isinstance(message, UserError):
                raise message
            elif message is not None:
                first_ms += message[0]
                warm_ms += message[1]
                running -= 1
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
            "resumes."
        ) from None


def _work(
    line: "Connection", task: Task, indices: list[int], workers: int, messages: Queue
) -> None:
    """Detect in the images of `indices`: what a worker process does."""
    hold(line)
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == QUIET:
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]  # the first process set it
    import_for_inference()
    import tensorflow as tf
    from tqdm import tqdm

    # Its own would be a semaphore of the system, which stays when this process is ended early.
    tqdm.set_lock(threading.RLock())
    tf.config.threading.set_intra_op_parallelism_threads(max(1, (os.cpu_count() or 1) // workers))
    from keras_retinanet.evaluation.runner import run_detector

    try:
        run = run_detector(
            task.detector(),
            task.dataset(),
            batch_size=task.config.evaluate.batch_size,
            progress=False,
            indices=indices,
            keep=messages.put,
        )
        messages.put((run.first_ms, run.warm_ms))
    except UserError as error:
        messages.put(error)
