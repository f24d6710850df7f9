"""Print what a model file holds: classes, input, thresholds, origin, license, versions.

Examples:
    keras_retinanet info runs/20260101-120000-bccd
    keras_retinanet info --model model.onnx
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.common import add_model_argument
from keras_retinanet.commands.default_model import OTHERWISE, find_any_model
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.config import DetectionConfig, TilesConfig
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import export_kind
from keras_retinanet.terminal import printable

if TYPE_CHECKING:
    from keras_retinanet.modeling.retinanet import RetinaNet

# Not printed: counters of a checkpoint, tensor by tensor, which only the export needs.
HIDDEN = ("counters",)
# How images are fitted into an exported file's fixed input.
FITTED = {"top_left": "padded at the bottom and right", "stretch": "stretched"}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `info` to its parser."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="the same as --model FILE")
    add_model_argument(parser, otherwise=OTHERWISE)


def run(args: Namespace) -> int:
    """Print one fact per line."""
    if args.file and args.model:
        raise UserError(f"Expected one model. Received: {args.file} and --model {args.model}.")
    path = find_any_model(args.file or args.model)

    import_tensorflow()
    from keras_retinanet.exporting.exported import describe_exported
    from keras_retinanet.modeling.saving import load

    is_export = export_kind(path) is not None  # describe it as text: loading would run it
    model = describe_exported(path) if is_export else load(path)
    first = {"file": str(path)}
    if getattr(model, "doubt", None):
        first["warning"] = f"it {model.doubt}; no command runs it without --trust"
    facts = describe(model, **first)
    add_result(
        args,
        classes=dict(zip(map(str, model.class_ids), model.class_names, strict=True)),
        metadata={k: value for k, value in model.metadata.items() if k not in HIDDEN},
        facts=facts,
    )
    for name, value in facts.items():
        print(f"{name:<12} {printable(value)}")
    return 0


def describe(model: Any, **first: str) -> dict[str, str]:
    """Return name -> text of the facts about a model, starting with `first`.

    Args:
        model: a RetinaNet or an `ExportedFile`.
    """
    names = ", ".join(model.class_names)
    kind = describe_export(model.facts) if hasattr(model, "facts") else describe_graph(model)
    facts = {
        **first,
        "classes": f"{len(model.class_names)}: {names}",
        "class ids": ", ".join(str(class_id) for class_id in model.class_ids),
        "backbone": model.config.backbone.name,
        **kind,
        "thresholds": thresholds(model.config.detections),
        **({"tiles": tiles_text(model.config.tiles)} if model.config.tiles.side else {}),
        **{
            name.replace("_", " "): str(value)
            for name, value in model.metadata.items()
            if name not in HIDDEN
        },
    }
    return {_printable(name): _printable(value) for name, value in facts.items()}


def tiles_text(tiles: TilesConfig) -> str:
    """Return how large images are detected in."""
    whole = ", and the whole image" if tiles.whole else ""
    return f"{tiles.side} px of the image, overlap {tiles.overlap:g}{whole}"


def _printable(text: str) -> str:
    """Return `text`, which may come from a stranger, with unprintable characters escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def describe_graph(model: "RetinaNet") -> dict[str, str]:
    """Return the facts that only a `.keras` file has."""
    sides = model.config.preprocessing
    return {
        "parameters": f"{model.count_params():,}",
        "input": (
            f"RGB 0..255, short side {sides.short_side} px, long side at most {sides.long_side} px"
        ),
    }


def describe_export(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what an exported file states about its form, input and outputs."""
    given = facts["input"]
    form = [
        facts["kind"],
        facts.get("form"),
        facts.get("precision"),
        f"by {facts['keras_retinanet']}",
    ]
    taken = ["any size"]
    if given["image_size"] is not None:
        height, width = given["image_size"]
        taken = [f"height {height} px, width {width} px"]
    if given["letterbox"] is not None:
        taken.append(FITTED[given["letterbox"]])
    return {
        "exported": ", ".join(part for part in form if part),
        "input": f"RGB {given['dtype']} 0..255, {', '.join(taken)}",
        **{
            f"output {index}": f"{output['name']}: {output['meaning']}"
            for index, output in enumerate(facts["outputs"])
        },
    }


def thresholds(detections: DetectionConfig) -> str:
    """Return the post-processing options as text."""
    top_k = detections.pre_nms_top_k
    parts = [
        f"score {detections.score_threshold:g}",
        f"NMS IoU {detections.nms_iou:g}",
        "all candidates" if top_k is None else f"{top_k} per {detections.top_k_per}",
        f"{detections.max_detections} per image",
    ]
    if detections.suppress == "best_class":
        parts.append("one class an anchor, NMS over all classes")
    return ", ".join(parts)
