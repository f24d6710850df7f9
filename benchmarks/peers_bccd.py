"""Compare with other RetinaNets on BCCD: same images, same minutes, same machine.

    python benchmarks/peers_bccd.py --data_dir bccd --out runs/peers --minutes 15

Each peer is installed into an environment of its own below --out, and trains alone, one after the
other, on `train`. At five equal intervals its weights are kept; after the training, all of them
detect in `val` and the last ones in `test`. One program scores all detections:
`keras_retinanet evaluate coco --detections`. What each peer trains, and why so, is written at the
top of its script in `benchmarks/peers/`. A peer that is complete is not repeated. Writes
`table.md` and `curves.png`, with --docs into `benchmarks.md` and `images/` of that folder.
"""

import argparse
import datetime
import json
import os
import platform
import sys
from pathlib import Path
from typing import NamedTuple

from environments import python_of, run
from marked_section import replace_section
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_retinanet.files import atomic_write
from keras_retinanet.processes.machine import processor

SCRIPTS = Path(__file__).resolve().parent / "peers"
FIGURES = ("AP", "AP50", "AP75")


class Peer(NamedTuple):
    """A row of the table: its label, its script, its arguments and its environment."""

    label: str
    script: str
    arguments: tuple[str, ...] = ()
    environment: str | None = None  # None: this one


PEERS = {
    "ours": Peer("**ours**, recipe `bccd`", "ours.py"),
    "torchvision_v2": Peer("torchvision, v2", "torchvision_retinanet.py", ("--v2",), "torch"),
    "torchvision": Peer("torchvision, v1", "torchvision_retinanet.py", (), "torch"),
    "keras_hub": Peer("KerasHub", "keras_hub_retinanet.py", (), "keras_hub"),
    "ours_random": Peer("**ours**, with KerasHub's start", "ours.py", ("--random",)),
}


def convert(data_dir: Path, folder: Path, limit: int) -> None:
    """Write the data set in the format of COCO, with up to `limit` images a split if not 0."""
    if (folder / "complete").exists():
        return
    words = ["dataset", "convert", str(data_dir), str(folder), "--to", "coco"]
    words += ["--split", "train,val,test"]
    run([sys.executable, "-m", "keras_retinanet", *words], folder.with_suffix(".log"))
    for path in (folder / "annotations").glob("*.json"):
        content = json.loads(path.read_text())
        content["images"] = content["images"][: limit or None]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
        path.write_text(json.dumps(content))
    (folder / "complete").touch()


def score(detections: Path, data: Path, split: str) -> dict[str, float]:
    """Return COCO's metrics of a file of detections; they are kept beside it."""
    path = detections.with_suffix(".metrics.json")
    if not path.exists():
        words = ["evaluate", "coco", "--detections", str(detections), "--json", str(path)]
        words += ["--annotations", str(data / "annotations" / f"instances_{split}.json")]
        run([sys.executable, "-m", "keras_retinanet", *words], detections.with_suffix(".log"))
    return json.loads(path.read_text())["coco"]


def is_complete(folder: Path) -> bool:
    return (folder / "test.json").exists()  # what its script writes last


def train(name: str, args: argparse.Namespace, data: Path) -> None:
    """Train a peer and write its detections, unless that was done before."""
    peer, folder = PEERS[name], args.out / name
    if is_complete(folder):
        known = facts(folder)
        if any(known[key] != getattr(args, key) for key in ("minutes", "batch_size", "input")):
            sys.exit(f"{folder} was trained with other --minutes, --batch_size or --input")
        return
    python = python_of(peer.environment, args.out)
    if folder.exists():  # a training that was cut: its time cannot be continued
        folder.rename(folder.with_name(f"{name}-cut-{int(folder.stat().st_mtime)}"))
    folder.mkdir(parents=True)
    words = [python, str(SCRIPTS / peer.script), "--data_dir", str(data), "--out", str(folder)]
    words += ["--minutes", str(args.minutes), "--batch_size", str(args.batch_size)]
    words += ["--input", *map(str, args.input), *peer.arguments]
    print(f"{name}: {args.minutes:g} minutes of training", flush=True)
    run(words, folder / "log.txt")


def check(folder: Path, data: Path) -> None:
    """Check that the ground truth of `val`, sent through a peer's conversions, has an AP of 1.

    Raises:
        SystemExit: it has less: boxes or classes are read or written in another way.
    """
    path = folder / "check.json"
    ap = score(path, data, "val")["AP"] if path.exists() else 1.0
    if ap < 0.999:
        (folder / "test.json").rename(folder / "test-wrong.json")  # it is not complete
        sys.exit(f"{path}: the ground truth as the peer reads and writes it has an AP of {ap:.3f}")


def facts(folder: Path) -> dict:
    return json.loads((folder / "facts.json").read_text())


def curve(folder: Path, data: Path) -> tuple[list[float], list[float]]:
    """Return the minutes of the snapshots of a peer, and the AP of each in `val`."""
    snapshots = facts(folder)["snapshots"]
    found = [score(folder / f"val-{number}.json", data, "val")["AP"] for number in snapshots]
    return [seconds / 60 for seconds in snapshots.values()], found


def table(args: argparse.Namespace, names: list[str], data: Path) -> str:
    """Return the figures of the peers in Markdown."""
    splits = [f"{split} {figure}" for split in ("val", "test") for figure in FIGURES]
    titles = ["", "version", "start", "images seen", *splits, "peak memory, GiB"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name in names:
        folder = args.out / name
        known = facts(folder)
        last = max(known["snapshots"], key=int)
        cells = [PEERS[name].label, known["version"], known["start"], f"{known['images']:,}"]
        for split, file in (("val", f"val-{last}.json"), ("test", "test.json")):
            found = score(folder / file, data, split)
            cells += [f"{max(0.0, found[figure]):.3f}" for figure in FIGURES]
        cells.append(f"{known['peak_bytes'] / 2**30:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    when = datetime.date.today().isoformat()
    machine = f"{os.cpu_count()} cores, {processor()}, Python {platform.python_version()}"
    size = "x".join(map(str, args.input))
    note = f"{args.minutes:g} minutes of training each, batch {args.batch_size}, {size} px; "
    return "\n".join(lines) + f"\n\n{note}{machine}; {when}.\n"


def draw(args: argparse.Namespace, names: list[str], data: Path, path: Path) -> None:
    """Draw the AP in `val` over the minutes of training."""
    figure = Figure(figsize=(7, 4), dpi=100, layout="constrained")
    axis = figure.subplots()
    for name in names:
        minutes, found = curve(args.out / name, data)
        label = f"{PEERS[name].label.replace('*', '').replace('`', '')}: {found[-1]:.3f}"
        style = "-o" if name.startswith("ours") else "--o"
        axis.plot([0, *minutes], [0, *found], style, ms=4, label=label)
    axis.set(xlabel="minutes of training", ylabel="AP, val", ylim=(0, None), xlim=(0, None))
    axis.grid(alpha=0.3)
    figure.legend(frameon=False, loc="outside upper center", ncols=2)
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as stream:
        figure.savefig(stream, format="png")


def write(args: argparse.Namespace, data: Path) -> None:
    """Write table and curves of the peers that are complete."""
    names = [name for name in PEERS if is_complete(args.out / name)]
    text = table(args, names, data)
    print(text, flush=True)
    images = args.docs / "images" if args.docs else args.out
    draw(args, names, data, images / ("peers_bccd.png" if args.docs else "curves.png"))
    if args.docs:
        image = "![AP in val over minutes of training](images/peers_bccd.png)"
        replace_section(args.docs / "benchmarks.md", "table of the peers", f"{text}\n{image}")
    else:
        with atomic_write(args.out / "table.md") as stream:
            stream.write(text)


def main(words: list[str] | None = None) -> None:
    """Train the peers that are missing, and write the table and the curves after each.

    One that fails does not keep the others from running.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="BCCD, as it is published")
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    parser.add_argument("--docs", type=Path, help="folder of benchmarks.md and images/")
    parser.add_argument("--minutes", type=float, default=15, help="of training, each peer")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--input", type=int, nargs=2, default=[320, 416], help="for a trial")
    parser.add_argument("--limit", type=int, default=0, help="images a split, for a trial")
    args = parser.parse_args(words)
    args.out = args.out.resolve()
    data = args.out / "data"
    args.out.mkdir(parents=True, exist_ok=True)
    convert(args.data_dir, data, args.limit)
    for name in args.peers:
        if not is_complete(args.out / name):
            python_of(PEERS[name].environment, args.out)  # before any of them trains
    failed = []
    for name in args.peers:
        try:
            train(name, args, data)
            check(args.out / name, data)
        except SystemExit as error:
            failed.append(f"{name}: {error}")
        else:
            write(args, data)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
