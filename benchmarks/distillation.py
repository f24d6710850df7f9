"""Train EfficientNet-Lite0 on blood cells with and without a teacher, in the same minutes.

    python benchmarks/distillation.py --data_dir bccd --out runs/distillation --docs docs
    python benchmarks/distillation.py --data_dir bccd --teacher runs/large --minutes 20 --seeds 0 1

Each run is a `keras_retinanet train` of the recipe `bccd`, whose schedule is fitted to its minutes:
a step with a teacher takes longer, so that such a run has fewer of them. All are scored on `val`
after the last step; `test` is never read. The teacher must not have been trained on `val`. Runs are
made one after the other, first all rows of one seed. The table is printed after each run, and
written to the page `distillation.md` of the folder --docs.
"""

from studies import make, study_parser, table

SECTION = "table of students"
ALONE = "no teacher"
# Name of a row -> weights of the imitation of features and of outputs; None: no teacher.
ROWS = {
    ALONE: None,
    "features": (10, 0),
    "outputs": (0, 1),
    "features and outputs": (10, 1),
    "features of weight 1, and outputs": (1, 1),
}
# More than the minutes allow, so that they end the run.
STEPS = 1_000_000


def changes(row: str, *, teacher: str, minutes: float, every: int) -> list[str]:
    """Return what a row changes in the recipe."""
    found = [f"train.minutes={minutes:g}", f"train.steps={STEPS}", f"train.eval_every={every}"]
    weights = ROWS[row]
    if weights is None:
        return found
    names = "feature_weight", "output_weight"
    pairs = zip(names, weights, strict=True)
    options = [f"train.distillation.{name}={weight}" for name, weight in pairs]
    return [*found, f"train.teacher={teacher}", *options]


if __name__ == "__main__":
    parser = study_parser(__doc__, ROWS, out="runs/distillation", seeds=[0, 1, 2])
    parser.add_argument("--teacher", default="blood_cells", help="default: the built-in model")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--eval_every", type=int, default=125, help="steps between evaluations")
    args = parser.parse_args()
    options = {"teacher": args.teacher, "minutes": args.minutes, "every": args.eval_every}
    make(
        args,
        lambda row: changes(row, **options),
        study="distillation",
        page="distillation.md",
        section=SECTION,
        table=lambda runs: table(runs, ROWS, args.seeds, title="imitated", base=ALONE),
    )
