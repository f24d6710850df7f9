"""Say what a model file holds: classes, input, thresholds, origin, licence, versions.

Example:
    keras_retinanet info runs/20260101-120000-bccd
"""

from argparse import ArgumentParser, Namespace

from keras_retinanet.commands.common import find_model, import_tensorflow
from keras_retinanet.config import DetectionConfig

# For the export, not for reading: counters of a checkpoint, tensor by tensor.
HIDDEN = ("counters",)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the argument of `info` to its parser."""
    parser.add_argument(
        "model", nargs="?", metavar="FILE", help=".keras file or run folder (default: newest run)"
    )


def run(args: Namespace) -> int:
    """Print one fact a line."""
    path = find_model(args.model)

    import_tensorflow()
    from keras_retinanet.saving import load

    for name, value in describe(load(path), file=str(path)).items():
        print(f"{name:<12} {value}")
    return 0


def describe(model, **first: str) -> dict[str, str]:
    """Return name -> text of what to know about a RetinaNet, `first` before the rest."""
    config = model.config
    sides = config.preprocessing
    names = ", ".join(model.class_names)
    return {
        **first,
        "classes": f"{len(model.class_names)}: {names}",
        "class ids": ", ".join(str(class_id) for class_id in model.class_ids),
        "backbone": config.backbone.name,
        "parameters": f"{model.count_params():,}",
        "input": (
            f"RGB 0..255, short side {sides.short_side} px, long side at most {sides.long_side} px"
        ),
        "thresholds": thresholds(config.detections),
        **{
            name.replace("_", " "): str(value)
            for name, value in model.metadata.items()
            if name not in HIDDEN
        },
    }


def thresholds(detections: DetectionConfig) -> str:
    """Return what turns outputs into detections, as text."""
    top_k = detections.pre_nms_top_k
    parts = [
        f"score {detections.score_threshold:g}",
        f"NMS IoU {detections.nms_iou:g}",
        "all candidates" if top_k is None else f"{top_k} per {detections.top_k_per}",
        f"{detections.max_detections} per picture",
    ]
    if detections.suppress == "best_class":
        parts.append("one class an anchor, NMS over all classes")
    return ", ".join(parts)
