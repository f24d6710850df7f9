"""Compare the speed of RetinaNets and of runtimes: same machine, same minutes, step by step.

    python benchmarks/peers_speed.py --out runs/speed --docs docs

Each peer is installed into an environment of its own below --out. All peers of a table are
started and stay loaded; then one after the other takes a step, round by round (A B C A B C): a
slower hour of the machine is slow for all. Before each timed step there is one that warms up. A
step during which other programs used more than an eighth of a core is repeated, up to three
times, and counted as disturbed if that does not help. What each job is, is written at the top of
the scripts `benchmarks/peers/speed_*.py`. Writes `speed.json` and `speed.md`, with --docs the
tables into `benchmarks.md` there.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from environments import python_of, run
from marked_section import replace_section

from keras_retinanet.files import atomic_write
from keras_retinanet.processes.machine import processor
from keras_retinanet.speed.timing import OTHERS, processor_seconds

SCRIPTS = Path(__file__).resolve().parent / "peers"
SIGN = "turn: "  # as `peers/turns.py` writes
SECTION = "speed tables"
SETTLE = 0.4  # seconds until the threads of the step before have gone to sleep
TRIES = 3
# Peer -> its script and environment.
SOURCES = {
    "ours": ("speed_ours.py", None),
    "torchvision": ("speed_torchvision.py", "torch"),
    "KerasHub": ("speed_keras_hub.py", "keras_hub"),
    "runtimes": ("speed_runtimes.py", "runtimes"),
}


class Row(NamedTuple):
    """A row of a table: its label, whose it is, and what the script is told."""

    label: str
    source: str
    job: str
    options: tuple[str, ...] = ()


INFERENCE = [
    Row("**ours**, SavedModel", "ours", "saved_model"),
    Row("**ours**, `model.detect`", "ours", "detect"),
    Row("torchvision", "torchvision", "detect"),
    Row("KerasHub, `predict`", "KerasHub", "detect"),
    Row("**ours**, network alone", "ours", "network"),
    Row("torchvision, network alone", "torchvision", "network"),
    Row("onnxruntime, torchvision's network alone", "runtimes", "onnxruntime"),
    Row("OpenVINO, torchvision's network alone", "runtimes", "openvino"),
]
BFLOAT16 = [
    Row("**ours**, SavedModel, float32", "ours", "saved_model"),
    Row("**ours**, SavedModel", "ours", "saved_model_bfloat16"),
    Row("**ours**, network alone", "ours", "network_bfloat16"),
    Row("OpenVINO, torchvision's network alone", "runtimes", "openvino_bfloat16"),
]
CANDIDATES = [
    Row(f"**ours**, {count:,}", "ours", "saved_model", ("--candidates", str(count)))
    for count in (500, 20, 100_000)
]
FROZEN = [
    Row("**ours**", "ours", "train"),
    Row("torchvision", "torchvision", "train"),
    Row("KerasHub", "KerasHub", "train"),
    Row("**ours**, mixed bfloat16", "ours", "train_bfloat16"),
    Row("KerasHub, mixed bfloat16", "KerasHub", "train_bfloat16"),
]
ALL_LAYERS = [Row(row.label, row.source, row.job.replace("train", "train_all")) for row in FROZEN]
# Name -> caption, rows, side of the input, images.
TABLES = {
    "inference": ("Image to detections, 800x800, one image, float32", INFERENCE, 800, 1),
    "bfloat16": ("The same in bfloat16", BFLOAT16, 800, 1),
    "candidates": ("Image to detections by candidates over the threshold", CANDIDATES, 800, 1),
    "training": ("Training step, 512x512, 2 images, frozen as released", FROZEN, 512, 2),
    "all_layers": ("Training step, 512x512, 2 images, all layers", ALL_LAYERS, 512, 2),
}


@dataclass
class Worker:
    """A process that takes a step when it is told to."""

    row: Row
    process: subprocess.Popen
    facts: dict
    seconds: list[float] = field(default_factory=list)
    disturbed: int = 0
    peak: float = 0.0

    def step(self) -> dict:
        """Let it take a step; return its facts, with the share of a core that others used."""
        before, begin = processor_seconds()[0], time.perf_counter()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found = answer(self.process, self.row)
        wall = time.perf_counter() - begin
        return found | {"others": (processor_seconds()[0] - before - found["cpu"]) / wall}

    def turn(self) -> None:
        """Take a timed step after one that warms up."""
        for attempt in range(TRIES):
            time.sleep(SETTLE)
            self.step()
            found = self.step()
            if found["others"] <= OTHERS:
                break
            self.disturbed += attempt == TRIES - 1
        self.seconds.append(found["seconds"])
        self.peak = found["peak"]


def answer(process: subprocess.Popen, row: Row) -> dict:
    """Return what a worker says next."""
    for line in process.stdout:
        if line.startswith(SIGN):
            return json.loads(line.removeprefix(SIGN))
    sys.exit(f"{row.label}: {row.job} ended with code {process.wait()}; see its log")


def start(row: Row, args: argparse.Namespace, side: int, batch: int) -> Worker:
    """Start the process of a row, and wait until it has loaded."""
    script, environment = SOURCES[row.source]
    words = [python_of(environment, args.out), str(SCRIPTS / script), "--job", row.job]
    words += ["--size", str(args.size or side), "--batch_size", str(batch), *row.options]
    words += ["--files", str(args.out / f"files-{args.size or side}")]
    with open(log(args), "a") as stream:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True
        )
    return Worker(row, process, answer(process, row))


def measure(name: str, args: argparse.Namespace) -> list[dict]:
    """Return the figures of each row of a table."""
    _, rows, side, batch = TABLES[name]
    rows = [row for row in rows if row.source in args.peers]
    workers = [start(row, args, side, batch) for row in rows]
    for _ in range(args.repeat):
        for worker in workers:
            worker.turn()
    for worker in workers:
        worker.process.communicate()  # no more turns: it ends
    return [
        {
            "label": worker.row.label,
            "version": worker.facts["version"],
            "detections": worker.facts.get("detections"),
            "seconds": worker.seconds,
            "disturbed": worker.disturbed,
            "peak_mib": worker.peak,
        }
        for worker in workers
    ]


def table(name: str, rows: list[dict], args: argparse.Namespace) -> str:
    """Return a table in Markdown; the ratio is to the first row."""
    caption, _, side, _ = TABLES[name]
    lines = [f"### {caption}", ""]
    if args.size:
        lines += [f"A trial at {args.size} px instead of {side}.", ""]
    lines.append("| | ms, median | least to largest | ratio to the first | peak memory, GiB |")
    lines.append("|---|---|---|---|---|")
    first = statistics.median(rows[0]["seconds"])
    for row in rows:
        seconds = row["seconds"]
        middle = statistics.median(seconds)
        spread = f"{1000 * min(seconds):,.0f} to {1000 * max(seconds):,.0f}"
        spread += f" ({row['disturbed']} disturbed)" * bool(row["disturbed"])
        cells = [row["label"], f"{1000 * middle:,.0f}", spread, f"{middle / first:.2f}"]
        lines.append(f"| {' | '.join([*cells, format(row['peak_mib'] / 1024, '.1f')])} |")
    return "\n".join(lines) + "\n"


def write(found: dict[str, list[dict]], args: argparse.Namespace) -> None:
    """Write what was found so far."""
    with atomic_write(args.out / "speed.json") as stream:
        json.dump(found, stream, indent=1)
    versions = {row["version"] for rows in found.values() for row in rows}
    machine = f"{os.cpu_count()} cores, {processor()}, Python {platform.python_version()}"
    text = "\n".join(table(name, rows, args) for name, rows in found.items())
    text += f"\n{args.repeat} rounds; {machine}; {'; '.join(sorted(versions))}; "
    text += f"{datetime.date.today().isoformat()}.\n"
    print(text, flush=True)
    with atomic_write(args.out / "speed.md") as stream:
        stream.write(text)
    if args.docs:
        replace_section(args.docs / "benchmarks.md", SECTION, text)


def main(words: list[str] | None = None) -> None:
    """Measure the tables asked for, and write them after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/speed"))
    parser.add_argument("--docs", type=Path, help="folder of benchmarks.md")
    parser.add_argument("--tables", nargs="*", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--peers", nargs="*", choices=list(SOURCES), default=list(SOURCES))
    parser.add_argument("--repeat", type=int, default=7, help="rounds")
    parser.add_argument("--size", type=int, help="of all inputs, for a trial")
    args = parser.parse_args(words)
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    for size in {args.size or TABLES[name][2] for name in args.tables}:
        files = args.out / f"files-{size}"
        if not (files / "torchvision.onnx").exists():
            script = [python_of("torch", args.out), str(SCRIPTS / "speed_torchvision.py")]
            run([*script, "--job", "write", "--size", str(size), "--files", str(files)], log(args))
    stored = args.out / "speed.json"
    found = json.loads(stored.read_text()) if stored.exists() else {}  # tables of earlier runs
    for name in args.tables:
        found[name] = measure(name, args)
        write(found, args)


def log(args: argparse.Namespace) -> Path:
    return args.out / "workers.log"


if __name__ == "__main__":
    main()
