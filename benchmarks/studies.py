"""Make the trainings of a study one after the other, and keep their figures with its page.

A run that was cut is resumed, one that is complete is not repeated. With --docs the figures of
complete runs are kept in `measured/` of that folder: another machine makes only what is missing.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from marked_section import replace_section

from keras_retinanet.files import atomic_write
from keras_retinanet.training.run_folder import CONFIG_FILE

FIGURES = ("AP", "AP50", "AP75")
Figures = dict[str, float]


def run_name(row: str, seed: int) -> str:
    """Return the name of a run's folder."""
    return "".join(c if c.isalnum() or c == "." else "-" for c in row) + f"-seed{seed}"


class Runs:
    """The runs of a study, by name.

    Args:
        out: folder of the run folders on this machine.
        kept: file of the figures of complete runs, of any machine; None: those in `out` alone.
        read: from a run's folder to its figures; None: it is not complete.
    """

    def __init__(
        self,
        out: Path,
        kept: Path | None = None,
        read: Callable[[Path], Figures | None] | None = None,
    ):
        self.out, self._path, self._read = out, kept, read or last_evaluation
        exists = kept is not None and kept.exists()
        self._kept: dict[str, Figures] = json.loads(kept.read_text()) if exists else {}

    def train(self, name: str, words: Sequence[str]) -> None:
        """Train `words` into the folder `name`, or what is left of that run."""
        if self.figures(name) is not None:
            return
        folder = self.out / name
        is_begun = (folder / CONFIG_FILE).exists()
        words = ["--resume", str(folder)] if is_begun else [*words, "--out", str(folder)]
        self.out.mkdir(parents=True, exist_ok=True)
        log = self.out / f"{name}.log"
        with open(log, "a") as stream:
            command = [sys.executable, "-m", "keras_retinanet", "train", *words]
            code = subprocess.run(command, stdout=stream, stderr=stream).returncode
        if code and self.figures(name) is None:
            sys.exit(f"{name} ended with code {code}; see {log}")

    def figures(self, name: str) -> Figures | None:
        """Return the figures of a complete run; None: it is not complete."""
        return self.known(name, lambda: self._read(self.out / name))

    def known(self, name: str, read: Callable[[], Figures | None]) -> Figures | None:
        """Return the figures kept under `name`, else keep and return those that `read` gives."""
        if name not in self._kept:
            found = read()
            if found is None:
                return None
            self._kept[name] = found
            self._write()
        return self._kept[name]

    def _write(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            rows = [
                f"{json.dumps(key)}: {json.dumps(self._kept[key])}" for key in sorted(self._kept)
            ]
            with atomic_write(self._path) as stream:
                stream.write("{\n" + ",\n".join(rows) + "\n}\n")


def last_evaluation(folder: Path) -> Figures | None:
    """Return AP, AP50, AP75, step and seconds of the last evaluation of a run.

    Empty where nothing was held out; None: the run is not complete.
    """
    if not (folder / "last.keras").exists():
        return None
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["AP"]]
    names = (*FIGURES, "step", "seconds") if rows else ()
    return {name: float(rows[-1][name]) for name in names}


def recipe(data_dir: str, seed: int, changes: Iterable[str]) -> list[str]:
    """Return the words that train `bccd` with some options changed."""
    words = ["voc", "--data_dir", data_dir, "--config", "bccd", "--seed", str(seed)]
    return words + [word for change in changes for word in ("--set", change)]


def table(
    runs: Runs, rows: Iterable[str], seeds: Sequence[int], *, title: str, base: str | None = None
) -> str:
    """Return AP of each seed, and the means of the complete runs, in Markdown.

    Args:
        title: of the rows.
        base: row that the others are compared with, seed by seed: seeds differ from each other too.
    """
    titles = [title, *(f"AP, seed {seed}" for seed in seeds), "AP"]
    titles += [f"against {base}"] if base else []
    titles += ["AP50", "AP75", "steps"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in rows:
        found = {seed: runs.figures(run_name(row, seed)) for seed in seeds}
        complete = {seed: figures for seed, figures in found.items() if figures is not None}
        if not complete:
            lines.append(f"| {row} |" + " |" * (len(titles) - 1))
            continue
        cells = [f"{figures['AP']:.3f}" if (figures := found[seed]) else "" for seed in seeds]
        cells.append(f"{_mean(complete.values(), 'AP'):.3f}")
        if base:
            others = {seed: runs.figures(run_name(base, seed)) for seed in complete}
            gains = [complete[seed]["AP"] - o["AP"] for seed, o in others.items() if o is not None]
            cells.append(f"{np.mean(gains):+.3f}" if gains else "")
        cells += [f"{_mean(complete.values(), name):.3f}" for name in ("AP50", "AP75")]
        cells.append(f"{_mean(complete.values(), 'step'):,.0f}")
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(found: Iterable[Figures], name: str) -> float:
    return float(np.mean([figures[name] for figures in found]))


def study_parser(
    description: str, rows: Sequence[str], *, out: str, seeds: Sequence[int]
) -> argparse.ArgumentParser:
    """Return the flags that all studies of BCCD have; `out` and `seeds` are defaults."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--docs", type=Path, help="folder of the page and of measured/")
    parser.add_argument("--rows", nargs="*", choices=list(rows), default=list(rows))
    parser.add_argument("--seeds", nargs="*", type=int, default=seeds, help="to run and to show")
    return parser


def make(
    args: argparse.Namespace,
    changes: Callable[[str], Iterable[str]],
    *,
    study: str,
    page: str,
    section: str,
    table: Callable[[Runs], str],
) -> None:
    """Make the runs that are missing, by the flags; after each print the table and write it.

    Args:
        changes: from a row to what it changes in the recipe.
        study: name of the file of its figures, in `measured/` of the folder --docs.
        page, section: of the table, in the folder --docs.
        table: its text of all complete runs.
    """
    runs = Runs(args.out, args.docs and args.docs / "measured" / f"{study}.json")
    for seed in args.seeds:
        for row in args.rows:
            runs.train(run_name(row, seed), recipe(args.data_dir, seed, changes(row)))
            text = table(runs)
            print(text, flush=True)
            if args.docs:
                replace_section(args.docs / page, section, text)
