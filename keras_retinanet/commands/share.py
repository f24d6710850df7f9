"""Write a folder to give away: the model, a card with data, AP and license, drawn images.

Examples:
    keras_retinanet share --model runs/20260101-120000-bccd --out blood_cells
    keras_retinanet share --out blood_cells --images photos/*.jpg --license MIT
    keras_retinanet share --out blood_cells --push hf://ann/blood_cells
"""

import csv
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.common import (
    add_model_argument,
    add_trust_argument,
    find_model,
    run_config,
)
from keras_retinanet.commands.info import describe
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.predict_files import find_pictures
from keras_retinanet.commands.tensorflow_import import import_for_inference
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import export_kind
from keras_retinanet.files import atomic_folder, sha256_of
from keras_retinanet.files.targets import check_new_folder
from keras_retinanet.files.text_files import read_json

if TYPE_CHECKING:
    from keras_retinanet.checkpoints.remote_files import Repository
    from keras_retinanet.exporting.model_card import Card

CARD = "README.md"
IMAGES = "images"
METRICS_FILE = "metrics.csv"
# Of the metrics that `evaluate` and training write, those on the card.
SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl")
# Facts of a model that are on the card in another place, or of this machine alone.
ELSEWHERE = ("file", "license", "command")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `share` to its parser."""
    add = parser.add_argument
    add_model_argument(parser)
    add_trust_argument(parser)
    add("--out", required=True, metavar="DIR", help="folder to write, new or empty")
    add("--name", help="name of the model on its card (default: that of --push, or of --out)")
    add("--license", metavar="NAME", help="license, such as MIT (default: the one in the file)")
    add("--evaluation", metavar="FILE", help="file of `evaluate --json` with the AP for the card")
    add(
        "--images",
        nargs="+",
        default=[],
        metavar="FILE",
        help="draw the detections in these images, for the card: they are given away too",
    )
    add("--push", metavar="hf://USER/NAME", help="upload the folder (pip install huggingface-hub)")


def run(args: Namespace) -> int:
    """Write the folder; push it if asked."""
    check_new_folder(args.out)
    repository = _repository(args.push)
    figures = _figures_of(args.evaluation) if args.evaluation else None
    images = find_pictures(args.images)
    path = find_model(args.model)
    import_for_inference()
    from keras_retinanet.exporting.exported import load_detector
    from keras_retinanet.exporting.model_card import Card, card_text

    model = load_detector(path, trust=args.trust)
    license = _license(args, model.metadata)
    measured_on, values = figures or _own_figures(path, model.metadata)
    usual_name = repository.id.partition("/")[2] if repository else Path(args.out).name
    with atomic_folder(args.out) as folder:
        file = _copy(path, folder)
        card = Card(
            name=args.name or usual_name,
            file=file.name,
            sha256=sha256_of(file) if file.is_file() else "",
            license=license,
            facts=_facts(model),
            figures=values,
            measured_on=measured_on,
            images=_draw(model, images, folder),
            address=args.push,
        )
        (folder / CARD).write_text(card_text(card), encoding="utf-8")
    _report(args, card)
    if repository:
        _push(args, repository)
    return 0


def _facts(model: Any) -> dict[str, str]:
    """Return the facts of `info` that stand nowhere else on the card."""
    facts = describe(model).items()
    return {k: text for k, text in facts if k not in ELSEWHERE and not k.startswith("AP")}


def _license(args: Namespace, metadata: Mapping[str, str]) -> str:
    from keras_retinanet.exporting.model_card import UNKNOWN_LICENSES

    license = args.license or metadata.get("license", "")
    if license in UNKNOWN_LICENSES and args.push:
        raise UserError(
            "Expected --license NAME for a model that is pushed. Received: none, and the file "
            "states none. Name one, such as --license MIT."
        )
    if license in UNKNOWN_LICENSES:
        print("No license is stated: others cannot know what they may do. --license NAME adds it.")
    return license


def _push(args: Namespace, repository: "Repository") -> None:
    from keras_retinanet.exporting.hub import push_folder

    address = push_folder(Path(args.out), repository.id, revision=repository.revision)
    add_result(args, pushed=address)
    print(f"Pushed to {address}")


def _repository(place: str | None) -> "Repository | None":
    """Return the repository that --push names; None: nothing is pushed."""
    if place is None:
        return None
    from keras_retinanet.checkpoints.remote_files import MODEL_FILE, hugging_face
    from keras_retinanet.exporting.hub import require_hub

    repository = hugging_face(place)
    if repository.file != MODEL_FILE:
        raise UserError(f"Expected --push hf://USER/NAME without a file. Received: {place}.")
    require_hub()
    return repository


def _copy(path: Path, folder: Path) -> Path:
    """Copy the model into `folder`, under a name that says its format alone."""
    target = folder / (f"model{path.suffix}" if path.is_file() else str(export_kind(path)))
    if path.is_file():
        shutil.copyfile(path, target)
    else:
        shutil.copytree(path, target)
    return target


def _draw(model: Any, paths: Sequence[Path], folder: Path) -> list[str]:
    """Draw the detections in images; return the names of the drawn copies below `folder`."""
    from keras_retinanet.drawing.pictures import draw_detections, readable, save_picture
    from keras_retinanet.files.images.decoding import decode_image
    from keras_retinanet.files.images.headers import read_picture
    from keras_retinanet.modeling.draw_threshold import draw_threshold

    names = []
    for number, path in enumerate(paths, start=1):
        image = decode_image(read_picture(path))
        shown = readable(image, model.detect(image)[0])
        names.append(f"{IMAGES}/{number:02d}.jpg")
        (folder / IMAGES).mkdir(exist_ok=True)
        drawn = draw_detections(*shown, threshold=draw_threshold(model.metadata))
        save_picture(drawn, folder / names[-1])
    return names


def _figures_of(file: str) -> tuple[str, dict[str, str]]:
    """Return what an evaluation was measured on, and its metrics."""
    stored = read_json(file)
    try:
        coco = stored["coco"]
        values = {name: f"{coco[name]:.3f}" for name in SHOWN if coco.get(name) is not None}
        return str(stored["facts"].get("data", "")), values
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"Expected a file of `keras_retinanet evaluate --json FILE`. Received: {file}."
        ) from error


def _own_figures(path: Path, metadata: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the metrics of the run that a model lies in, or those that its file states."""
    log = path.parent / METRICS_FILE
    if run_config(path) is not None and path.name.startswith("best") and log.is_file():
        with open(log, newline="", encoding="utf-8", errors="replace") as stream:
            rows = [row for row in csv.DictReader(stream) if row.get("AP")]
        if rows:
            best = max(rows, key=lambda row: float(row["AP"]))
            values = {name: f"{float(best[name]):.3f}" for name in SHOWN if best.get(name)}
            return f"the validation split, by which step {best['step']} was chosen", values
    return "", {name: text for name, text in metadata.items() if name.startswith("AP")}


def _report(args: Namespace, card: "Card") -> None:
    names = [card.file, CARD, *card.images]
    add_result(args, folder=args.out, files=names, sha256=card.sha256, license=card.license)
    add_result(args, metrics=card.figures)
    print(f"Wrote {', '.join(names)} to {args.out}/")
    if not card.images:
        print("No images are on the card: --images FILES draws the detections in them.")
