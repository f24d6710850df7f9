"""Convert a RetinaNet of another system to a model file with the same detections.

Examples:
    keras_retinanet import retinanet_resnet50_fpn_v2_coco-5905b1c5.pth --classes coco80
    keras_retinanet import model_final_bfca0b.pkl --image_size 640,1067 --out d2.keras
    keras_retinanet import mine.pth --family mmdet_pytorch --set model.fpn.relu_before_p7=true
"""

import argparse
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from keras_retinanet.commands.common import image_size
from keras_retinanet.commands.info import describe
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.config import ModelConfig
from keras_retinanet.errors import UserError
from keras_retinanet.files.targets import check_target
from keras_retinanet.terminal import printable

COCO80 = "coco80"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `import` to its parser."""
    add = parser.add_argument
    add("file", metavar="FILE", help=".pth, .pkl, .safetensors, .h5, .keras or a TF checkpoint")
    add("--family", metavar="F", help="system it comes from (default: recognized)")
    add("--out", metavar="FILE", help="model file to write (default: <name of FILE>.keras)")
    add(
        "--image_size",
        type=image_size,
        metavar="SHORT[,LONG]",
        help="change the network input size",
    )
    add("--classes", type=_classes, metavar="A,B", help="keep only these classes, or coco80")
    add(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="set a model option: model.fpn.relu_before_p7=true",
    )


def _classes(text: str) -> str | list[str]:
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise argparse.ArgumentTypeError(f"expected names a,b or {COCO80}. Received: {text!r}")
    return COCO80 if names == [COCO80] else names


def run(args: Namespace) -> int:
    """Import the file, write the model, and print a report."""
    source = Path(args.file)
    out = Path(args.out or f"{source.name.split('.')[0]}.keras")
    if out.suffix != ".keras":
        raise UserError(f"Expected --out with a name that ends in .keras. Received: --out {out}.")
    if out.exists() and source.exists() and out.samefile(source):
        raise UserError(f"Expected --out other than FILE. Received: {out} for both.")
    check_target(out, "model", flag="--out")

    import_tensorflow()
    from keras_retinanet.checkpoints.catalogue_file import entry_for, provenance
    from keras_retinanet.checkpoints.importing import import_checkpoint
    from keras_retinanet.files.downloads import verify
    from keras_retinanet.modeling.saving import save_model

    entry = entry_for(source)
    if entry is not None and source.is_file():
        verify(source, entry, advice="Fetch it again, or rename it if it is another file.")
    model = import_checkpoint(
        source,
        family=args.family or (entry.family if entry else None),
        image_size=args.image_size,
        classes=args.classes,
        overrides=args.set or (),
    )
    if entry is not None:
        model.metadata |= provenance(entry)
    save_model(model, out)
    facts = report(model, chosen_by=_chosen_by(args.family, entry))
    add_result(args, model=out, facts=facts)
    for name, value in facts.items():
        print(f"{name:<14} {printable(value)}")
    print(f"{'written':<14} {out}")
    return 0


def _chosen_by(family: str | None, entry: Any) -> str:
    if family:
        return "as --family says"
    return f"as the catalogue has {entry.name}" if entry else "by its tensors' names and shapes"


def report(model: Any, *, chosen_by: str) -> dict[str, str]:
    """Return name -> text about the imported model."""
    metadata = model.metadata
    facts = describe(model)
    rest = {name.replace("_", " ") for name in metadata} - {"family", "tensors", "versions"}
    return {
        "family": f"{metadata['family']}, {chosen_by}",
        "tensors": metadata["tensors"],
        "graph": graph(model.config),
        "preprocessing": preprocessing(model.config),
        "classes": facts["classes"],
        "class ids": facts["class ids"],
        "detections": facts["thresholds"],
        **{name: text for name, text in facts.items() if name in rest},
    }


def graph(config: ModelConfig) -> str:
    """Return the architecture choices in which families differ, as text."""
    trunk, fpn, head, anchors = config.backbone, config.fpn, config.head, config.anchors
    parts = [trunk.name]
    if trunk.stride_in_1x1 is not None:
        parts.append(f"stride in the {'1x1' if trunk.stride_in_1x1 else '3x3'}")
    if trunk.bn_epsilon is not None:
        parts.append(f"BN epsilon {trunk.bn_epsilon:g}")
    parts += [
        f"P6 from {fpn.p6_from.upper()}",
        f"{'a' if fpn.relu_before_p7 else 'no'} ReLU before P7",
        f"heads {head.depth} x {head.channels}, norm {head.norm}",
        f"anchors {anchors.order}, offset {anchors.offset:g}" + ", rounded" * anchors.rounded,
        f"boxes as {config.box_coder.code}",
    ]
    return ", ".join(parts)


def preprocessing(config: ModelConfig) -> str:
    """Return how an image becomes the network's input, as text."""
    sides = config.preprocessing
    mean, std = ([f"{value:g}" for value in values] for values in (sides.mean, sides.std))
    return (
        f"short side {sides.short_side} px, long side at most {sides.long_side} px, "
        f"rounded {sides.rounding}, resize {sides.resize_method}, canvas {sides.canvas} of "
        f"{sides.multiple} px, {sides.color_order.upper()} minus {', '.join(mean)} over "
        f"{', '.join(std)}"
    )
