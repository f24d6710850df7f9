"""Measure what each choice of the recipe `bccd` gives, one at a time, at the same steps.

    python benchmarks/recipe_study.py --data_dir bccd --out runs/study --docs docs
    python benchmarks/recipe_study.py --data_dir bccd --out runs/study --rows lite1 ATSS --seeds 0

Each run is a `keras_retinanet train` of its own, scored on `val` after its last step; `test` is
never read. Runs are bounded by steps and made one after the other, first all rows of one seed. The
table is printed after each run, and written to the page `recipe_study.md` of the folder --docs.
"""

from studies import make, study_parser, table

STEPS = 160
BATCH = 8
TURNS = ("data.augment.flip_vertical=0.5", "data.augment.rotate90=0.5")
NO_TURNS = ("data.augment.flip_vertical=0", "data.augment.rotate90=0")
# The recipe, shortened, without turns; `train.steps` counts batches of 16 images.
BASE = (
    *NO_TURNS,
    f"train.steps={STEPS * BATCH // 16}",
    f"train.eval_every={STEPS}",
)
# Name of a row -> what it changes.
ROWS = {
    "base": (),
    "lite1": ("model.backbone.name=efficientnet_lite1",),
    "lite2": ("model.backbone.name=efficientnet_lite2",),
    "input 384x512": ("model.preprocessing.short_side=384", "model.preprocessing.long_side=512"),
    "vertical flips, turns": TURNS,
    "ATSS": ("train.matching.name=atss",),
    "quality focal": ("train.loss.classes=quality_focal",),
    "varifocal": ("train.loss.classes=varifocal",),
    "CIoU": ("train.loss.box=ciou",),
    "L1": ("train.loss.box=l1", "train.loss.box_weight=1"),
    "no low-quality matches": ("train.matching.low_quality=false",),
    "batch norm trains": ("model.backbone.freeze_bn=false",),
    "freeze 2 stages": ("model.backbone.frozen_stages=2",),
    "no EMA": ("train.optimizer.ema=0",),
    "mosaic .5": ("data.augment.mosaic=0.5",),
    "batch 16": (
        "train.batch_size=16",
        f"train.eval_every={STEPS // 2}",
    ),
    "input 240x320": ("model.preprocessing.short_side=240", "model.preprocessing.long_side=320"),
    "vertical flips": ("data.augment.flip_vertical=0.5",),
    "input 480x640": ("model.preprocessing.short_side=480", "model.preprocessing.long_side=640"),
}


if __name__ == "__main__":
    args = study_parser(__doc__, ROWS, out="runs/study", seeds=[0, 1]).parse_args()
    make(
        args,
        lambda row: (*BASE, *ROWS[row]),
        study="recipe_study",
        page="recipe_study.md",
        section="table of the study",
        table=lambda runs: table(runs, ROWS, args.seeds, title="change", base="base"),
    )
