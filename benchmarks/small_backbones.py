"""Train SpineNet-49S, ResNet-50 and EfficientNet-Lite2 on blood cells in the same minutes.

    python benchmarks/small_backbones.py --data_dir bccd --out runs/backbones --docs docs

Each run is a `keras_retinanet train` of the recipe `bccd` (320 px) with another backbone, scored on
`val` after the last step. Runs are made one after the other; one that was cut is resumed, one that
is complete is not repeated. The table is written to the page `spinenet.md` of the folder --docs.
"""

import argparse
from pathlib import Path

from distillation import STEPS, steps
from marked_section import replace_section
from recipe_study import FIGURES, figures, folder_of, recipe, train

SECTION = "table of small runs"
# Weights at random, and norms that learn with them.
FROM_SCRATCH = ("model.backbone.weights=null", "model.backbone.freeze_bn=false")
# Name of a row -> what it changes in the recipe.
ROWS = {
    "SpineNet-49S, random": (
        *FROM_SCRATCH,
        "model.backbone.name=spinenet49s",
        "model.head.activation=swish",
        "train.optimizer.backbone_multiplier=1",
    ),
    "ResNet-50, random": (
        *FROM_SCRATCH,
        "model.backbone.name=resnet50",
        "train.optimizer.backbone_multiplier=1",
    ),
    "EfficientNet-Lite2, ImageNet": ("model.backbone.name=efficientnet_lite2",),
}


def table(out: Path, seed: int) -> str:
    """Return AP, AP50, AP75 and the steps of the complete runs, in Markdown."""
    lines = [f"| backbone, start | {' | '.join(FIGURES)} | steps |", "|---" * 5 + "|"]
    for row in ROWS:
        folder = folder_of(out, row, seed)
        if found := figures(folder):
            cells = " | ".join(f"{found[name]:.3f}" for name in FIGURES)
            lines.append(f"| {row} | {cells} | {steps(folder):,} |")
    return "\n".join(lines)


def main() -> None:
    """Make the runs that are missing; after each print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/backbones"))
    parser.add_argument("--docs", type=Path, help="folder of spinenet.md")
    args = parser.parse_args()
    limits = f"train.minutes={args.minutes:g}", f"train.steps={STEPS}", f"train.eval_every={STEPS}"
    for row, changes in ROWS.items():
        train(
            folder_of(args.out, row, args.seed),
            recipe(args.data_dir, args.seed, [*limits, *changes]),
        )
        text = table(args.out, args.seed)
        print(text, flush=True)
        if args.docs:
            replace_section(args.docs / "spinenet.md", SECTION, text)


if __name__ == "__main__":
    main()
