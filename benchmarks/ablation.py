"""Repeat the ablations of the paper (Table 1, section 4.1 and figure 4) in small, on drawn scenes.

    python benchmarks/ablation.py --out runs/ablation --docs docs
    python benchmarks/ablation.py --out runs/ablation --docs docs --groups gamma --seeds 0 1 2
    python benchmarks/ablation.py --docs docs --figure4 runs/ablation/focal-seed0

Each run is a `keras_retinanet train` of `configs/ablation/base.yaml` with the changes of its row,
of the same steps, one after the other: first all rows of one seed. Rows of several tables share one
run. A loss that becomes infinite ends its run, and the table says so. The tables are printed after
each run and written to `table.md` in the folder of the runs, or with --docs to the page
`ablation.md` there.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

from ablation_plots import plot_gammas, plot_losses
from marked_section import replace_section
from studies import FIGURES, Figures, Runs, last_evaluation, run_name

from keras_retinanet.files import atomic_write

BASE = Path(__file__).resolve().parents[1] / "configs" / "ablation" / "base.yaml"
DIVERGED = "Expected a finite loss"  # what the command says of it
SECTION = "ablation tables"
# A tenth of the paper's rate: at the whole of it, a short run diverged with the prior too.
SGD = (
    "train.optimizer.name=sgd",
    "train.optimizer.learning_rate=0.001",
    "train.optimizer.weight_decay=1e-4",
    "train.optimizer.backbone_multiplier=1",
)
NO_PRIOR = "model.head.prior=0.5"


def focal(gamma: float, alpha: float) -> tuple[str, ...]:
    """Return the changes for a focal loss; of gamma 0 it is the cross-entropy."""
    return (f"train.loss.gamma={gamma}", f"train.loss.alpha={alpha}")


def ohem(batch: int, nms_iou: float, negatives: int = 0) -> tuple[str, ...]:
    """Return the changes for online hard example mining."""
    options = {"batch": batch, "nms_iou": nms_iou, "negatives": negatives}
    return (
        "train.loss.classes=ohem",
        *(f"train.loss.ohem_{name}={value}" for name, value in options.items()),
    )


def anchors(scales: int, ratios: int) -> tuple[str, ...]:
    """Return the changes for the anchors of a cell: parts of an octave, and one shape or three."""
    steps = ", ".join(f"{2 ** (step / scales):.6f}" for step in range(scales))
    shapes = "0.5, 1.0, 2.0" if ratios == 3 else "1.0"
    return (f"model.anchors.scales=[{steps}]", f"model.anchors.ratios=[{shapes}]")


def side(pixels: int) -> tuple[str, ...]:
    """Return the changes for another input size; the anchors stay, as in the paper."""
    return tuple(f"model.preprocessing.{name}_side={pixels}" for name in ("short", "long"))


class Row(NamedTuple):
    """A row of a table: its label, its run, what the run changes, and the paper's AP."""

    label: str
    run: str
    changes: tuple[str, ...]
    paper: float | None = None


FOCAL = Row("focal loss, gamma 2, alpha .25", "focal", ())
CROSS_ENTROPY = Row("alpha .5", "ce", focal(0, 0.5), 0.302)
BEST_ALPHA = Row("alpha .75", "ce-alpha75", focal(0, 0.75), 0.311)
# Name of a table -> its rows. Rows of the same name are one run.
GROUPS = {
    "prior": [
        Row("pi .5", "ce-no-prior", (*focal(0, 0.5), NO_PRIOR)),
        CROSS_ENTROPY._replace(label="pi .01"),
        Row("pi .5, SGD", "sgd-ce-no-prior", (*focal(0, 0.5), NO_PRIOR, *SGD)),
        Row("pi .01, SGD", "sgd-ce", (*focal(0, 0.5), *SGD)),
    ],
    "alpha": [
        Row("alpha .1", "ce-alpha10", focal(0, 0.1), 0.0),
        Row("alpha .25", "ce-alpha25", focal(0, 0.25), 0.108),
        CROSS_ENTROPY,
        BEST_ALPHA,
        Row("alpha .9", "ce-alpha90", focal(0, 0.9), 0.308),
        Row("alpha .99", "ce-alpha99", focal(0, 0.99), 0.287),
        Row("alpha .999", "ce-alpha999", focal(0, 0.999), 0.251),
    ],
    "gamma": [
        BEST_ALPHA._replace(label="gamma 0, alpha .75"),
        Row("gamma .1, alpha .75", "gamma01", focal(0.1, 0.75), 0.314),
        Row("gamma .2, alpha .75", "gamma02", focal(0.2, 0.75), 0.319),
        Row("gamma .5, alpha .5", "gamma05", focal(0.5, 0.5), 0.329),
        Row("gamma 1, alpha .25", "gamma1", focal(1, 0.25), 0.337),
        FOCAL._replace(label="gamma 2, alpha .25", paper=0.340),
        Row("gamma 5, alpha .25", "gamma5", focal(5, 0.25), 0.322),
    ],
    "ohem": [
        Row("OHEM, 128 anchors, NMS .7", "ohem128-nms70", ohem(128, 0.7), 0.311),
        Row("OHEM, 256 anchors, NMS .7", "ohem256-nms70", ohem(256, 0.7), 0.318),
        Row("OHEM, 128 anchors, NMS .5", "ohem128-nms50", ohem(128, 0.5), 0.328),
        Row("OHEM, 256 anchors, NMS .5", "ohem256-nms50", ohem(256, 0.5), 0.310),
        Row("OHEM 1:3, 128 anchors, NMS .5", "ohem128-ratio", ohem(128, 0.5, 3), 0.311),
        Row("OHEM 1:3, 256 anchors, NMS .5", "ohem256-ratio", ohem(256, 0.5, 3), 0.283),
        FOCAL._replace(paper=0.360),
    ],
    "anchors": [
        Row("1 scale, 1 ratio", "anchors1x1", anchors(1, 1), 0.303),
        Row("2 scales, 1 ratio", "anchors2x1", anchors(2, 1), 0.319),
        Row("3 scales, 1 ratio", "anchors3x1", anchors(3, 1), 0.318),
        Row("1 scale, 3 ratios", "anchors1x3", anchors(1, 3), 0.324),
        Row("2 scales, 3 ratios", "anchors2x3", anchors(2, 3), 0.342),
        FOCAL._replace(label="3 scales, 3 ratios", paper=0.340),
        Row("4 scales, 3 ratios", "anchors4x3", anchors(4, 3), 0.338),
    ],
    "scale": [  # a fifth of the paper's 400 to 800 px
        Row("80 px", "side80", side(80), 0.305),
        Row("100 px", "side100", side(100), 0.325),
        Row("120 px", "side120", side(120), 0.343),
        Row("140 px", "side140", side(140), 0.351),
        FOCAL._replace(label="160 px", paper=0.357),
    ],
}
CAPTIONS = {
    "prior": "Cross-entropy without and with the prior (section 4.1)",
    "alpha": "Cross-entropy weighted by alpha (Table 1a)",
    "gamma": "Focal loss (Table 1b)",
    "ohem": "Hard example mining against focal loss (Table 1d, ResNet-101)",
    "anchors": "Anchors a cell (Table 1c)",
    "scale": "Input size (Table 1e, ResNet-50 at 400 to 800 px)",
}


def words_of(row: Row, seed: int, settings: list[str]) -> list[str]:
    """Return the words that train a row."""
    changes = [word for change in (*row.changes, *settings) for word in ("--set", change)]
    return ["--config", str(BASE), "--seed", str(seed), *changes]


def result(folder: Path) -> Figures | None:
    """Return the figures after the last step, none of a run that diverged; None: not complete."""
    log = Path(f"{folder}.log")
    if log.exists() and DIVERGED in log.read_text(errors="replace"):
        return {}
    return last_evaluation(folder)


def table(runs: Runs, group: str, seeds: list[int]) -> str:
    """Return a table in Markdown: the paper's AP, and ours by seed; a diverged run has AP 0."""
    titles = ["", "paper's AP", *(f"AP, seed {seed}" for seed in seeds), *FIGURES]
    titles.append("evaluation, s")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in GROUPS[group]:
        cells = [row.label, "" if row.paper is None else f"{row.paper:.3f}"]
        found = [runs.figures(run_name(row.run, seed)) for seed in seeds]
        for values in found:
            cells.append("" if values is None else f"{values['AP']:.3f}" if values else "diverged")
        complete = [values for values in found if values is not None]
        for name in FIGURES:
            mean = sum(values.get(name, 0) for values in complete) / max(1, len(complete))
            cells.append(f"{mean:.3f}" if complete else "not run yet")
        times = [values["seconds"] for values in complete if values]
        # The fastest: whatever else the machine did made the others longer.
        cells.append(f"{min(times):.1f}" if times else "")
        lines.append(f"| {' | '.join(cells)} |")
    return f"### {CAPTIONS[group]}\n\n" + "\n".join(lines) + "\n"


def write(runs: Runs, docs: Path | None, seeds: list[int]) -> None:
    """Write the tables, and AP over gamma as far as it is known."""
    images = docs / "images" if docs else runs.out
    text = "\n".join(table(runs, group, seeds) for group in GROUPS)
    points = {}
    for row in GROUPS["gamma"]:
        found = [runs.figures(run_name(row.run, seed)) for seed in seeds]
        ours = [values.get("AP", 0.0) for values in found if values is not None]
        gamma = row.label.split(",")[0].removeprefix("gamma ")
        points[gamma] = (ours, row.paper or 0.0)
    if all(ours for ours, _ in points.values()):
        plot_gammas(points, images / "ablation_gamma.png")
        text += f"\n![AP over gamma]({'images/' if docs else ''}ablation_gamma.png)\n"
    print(text, flush=True)
    if docs:
        replace_section(docs / "ablation.md", SECTION, text)
    else:
        with atomic_write(runs.out / "table.md") as stream:
            stream.write(text)


def main(words: list[str] | None = None) -> None:
    """Make the runs that are missing and write the tables, or draw figure 4."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--docs", type=Path, help="folder of ablation.md and images/")
    parser.add_argument("--groups", nargs="*", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0], help="to run and to show")
    parser.add_argument("--set", action="append", default=[], help="change of every run")
    parser.add_argument("--figure4", type=Path, metavar="MODEL", help="draw it from this model")
    args = parser.parse_args(words)
    if args.figure4:
        folder = args.docs / "images" if args.docs else args.out
        plot_losses(args.figure4, BASE, folder / "ablation_losses.png", settings=args.set)
        return
    kept = args.docs and args.docs / "measured" / "ablation.json"
    runs = Runs(args.out, kept, read=result)
    for seed in args.seeds:
        for row in (row for group in args.groups for row in GROUPS[group]):
            runs.train(run_name(row.run, seed), words_of(row, seed, args.set))
            write(runs, args.docs, args.seeds)


if __name__ == "__main__":
    main()
