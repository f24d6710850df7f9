"""Train SpineNet-49S, ResNet-50 and EfficientNet-Lite2 on blood cells in the same minutes.

    python benchmarks/small_backbones.py --data_dir bccd --out runs/backbones --docs docs

Each run is a `keras_retinanet train` of the recipe `bccd` (320 px) with another backbone, scored on
`val` after the last step. Runs are made one after the other; the table is written to the page
`spinenet.md` of the folder --docs.
"""

from distillation import STEPS
from studies import make, study_parser, table

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


if __name__ == "__main__":
    parser = study_parser(__doc__, ROWS, out="runs/backbones", seeds=[0])
    parser.add_argument("--minutes", type=float, default=5)
    args = parser.parse_args()
    limits = f"train.minutes={args.minutes:g}", f"train.steps={STEPS}", f"train.eval_every={STEPS}"
    make(
        args,
        lambda row: (*limits, *ROWS[row]),
        study="small_backbones",
        page="spinenet.md",
        section=SECTION,
        table=lambda runs: table(runs, ROWS, args.seeds, title="backbone, start"),
    )
