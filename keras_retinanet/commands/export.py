"""Write a model in another system's form: torchvision's state dict.

Examples:
    keras_retinanet export --model runs/20260101-120000-coco --format torchvision --out model.pth
    keras_retinanet export --model model.keras --format torchvision --out model.safetensors
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_retinanet.commands.common import add_model_argument, find_model, import_tensorflow
from keras_retinanet.errors import UserError


def _torchvision(model: Any, out: Path) -> None:
    from keras_retinanet.checkpoints.torchvision_export import builder_lines, export_torchvision

    names = export_torchvision(model, out)
    print(f"{out}: {len(names)} tensors, {len(model.class_names)} classes. In torchvision:")
    for line in builder_lines(model, out):
        print("    " + line.replace("\n", "\n    "))


# Format -> (suffixes of its file, what writes a model to it).
EXPORTERS: dict[str, tuple[tuple[str, ...], Callable[[Any, Path], None]]] = {
    "torchvision": ((".pth", ".pt", ".safetensors"), _torchvision),
}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags to the parser."""
    add_model_argument(parser)
    parser.add_argument("--format", required=True, choices=EXPORTERS, help="what to write")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write")


def run(args: Namespace) -> int:
    """Load, write; return the exit code."""
    suffixes, export = EXPORTERS[args.format]
    out = Path(args.out)
    if out.suffix not in suffixes:
        raise UserError(
            f"Expected a file that ends in {', '.join(suffixes)}. Received: --out {out}."
        )
    path = find_model(args.model)

    import_tensorflow()
    from keras_retinanet.saving import load

    export(load(path), out)
    return 0
