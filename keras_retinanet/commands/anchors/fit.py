"""Fit anchor sizes, scales and ratios to the boxes of a data set; write them as a recipe.

Examples:
    keras_retinanet anchors fit voc --data_dir bccd --config bccd
    keras_retinanet anchors fit coco --data_dir my_coco --image_size 640 --scales 2 --ratios 5
"""

import itertools
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from keras_retinanet.commands.common import add_data_arguments, add_recipe_arguments, recipe_config
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.config import Config
from keras_retinanet.config.files import config_names
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files import atomic_write
from keras_retinanet.files.targets import check_target

DEFAULT_OUT = "anchors.yaml"
# Flag -> key of the configuration.
FIT_KEYS = {"split": "data.split", "seed": "train.seed"}
# Bins of the square root of a box's area in pixels of the network input.
SIZE_BOUNDS = (0, 16, 32, 96, 256, float("inf"))


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `anchors fit` to its parser."""
    add = parser.add_argument
    add_data_arguments(parser)
    add_recipe_arguments(parser)
    add("--split", help="split whose boxes are used (default: the training split)")
    add("--scales", type=int, metavar="N", help="number of scales (default: as in the recipe, 3)")
    add(
        "--ratios",
        type=int,
        metavar="N",
        help="number of aspect ratios (default: as in the recipe, 3)",
    )
    add("--seed", type=int, metavar="N", help="seed of the search")
    add(
        "--out",
        metavar="FILE",
        default=DEFAULT_OUT,
        help=f"recipe to write (default: {DEFAULT_OUT})",
    )


def run(args: Namespace) -> int:
    """Fit, print the coverage before and after, and write the recipe."""
    out = Path(args.out)
    if args.config is not None and Path(args.config).resolve() == out.resolve():
        raise UserError(
            "Expected another --out than the recipe that it builds on. "
            f"Received: --config {args.config} --out {args.out}."
        )
    check_target(out, "recipe", flag="--out")
    config = recipe_config(args, FIT_KEYS)

    import_tensorflow()
    from keras_retinanet.data.loading import load_train_val
    from keras_retinanet.doctor.anchor_fitting import best_ious, fit, network_boxes
    from keras_retinanet.modeling.anchors import Anchors
    from keras_retinanet.modeling.preprocessing import Preprocessing

    dataset, _ = load_train_val(config.data, config.train.seed)
    for line in dataset.problems.lines():
        print(f"  {line}")
    sizes = Preprocessing(**vars(config.model.preprocessing))
    boxes, canvases = network_boxes(dataset, sizes, tile=config.model.tiles.side)
    print(
        f"{dataset.name}, {dataset.split}: {counted(len(boxes), 'box')} at short side "
        f"{sizes.short_side} px, long side at most {sizes.long_side}"
    )
    start, seed = Anchors(**vars(config.model.anchors)), config.train.seed
    found = fit(boxes, canvases, start, scales=args.scales, ratios=args.ratios, seed=seed)
    before, after = (best_ious(boxes, canvases, anchors) for anchors in (start, found))
    print("\n".join(table := _table(boxes, before, after)))
    fields = {name: list(getattr(found, name)) for name in ("sizes", "scales", "ratios")}
    for name, values in fields.items():
        print(f"{name:8}" + ", ".join(f"{value:g}" for value in values))
    add_result(args, recipe=out, anchors=fields, mean_iou=[before.mean(), after.mean()])
    if found == start:
        print("No better anchors were found: these are the ones it started from.")
    with atomic_write(out) as file:
        file.write(_recipe(args, config, fields, table))
    place = f" --data_dir {args.data_dir}" if args.data_dir else ""
    print(f"{out}: train with `keras_retinanet train {config.data.source}{place} --config {out}`")
    return 0


def _table(boxes, before, after) -> list[str]:
    """Return the table of coverage by box size, before -> after, as lines of text."""
    import numpy as np

    from keras_retinanet.doctor.anchor_fitting import coverage

    lines = [
        "box size, px     boxes        IoU >= .4         IoU >= .5         IoU >= .6       mean IoU"
    ]
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    bins = list(itertools.pairwise(SIZE_BOUNDS))
    rows = [(f"{low} to {high}", (sides >= low) & (sides < high)) for low, high in bins]
    rows[-1] = (f"{SIZE_BOUNDS[-2]} or more", rows[-1][1])
    for name, chosen in [*rows, ("all", np.ones(len(boxes), bool))]:
        if chosen.any():
            old, new = coverage(before[chosen]), coverage(after[chosen])
            pairs = [
                f"{old_share:7.2%} -> {new_share:7.2%}".replace("%", "")
                for old_share, new_share in (
                    (old.at_40, new.at_40), (old.at_50, new.at_50), (old.at_60, new.at_60),
                )
            ]  # fmt: skip
            pairs.append(f"{old.mean:.3f} -> {new.mean:.3f}")
            lines.append(f"{name:14}{old.count:8}   " + "  ".join(pairs))
    return [*lines, "(shares of the boxes in percent, by their best anchor, before -> after)"]


def _recipe(args: Namespace, config: Config, fields: dict[str, list[float]], table) -> str:
    """Return the YAML text: a header with the coverage, the base recipe, and the anchors."""
    lines = [f"# Anchors fitted to {config.data.source} by `keras_retinanet anchors fit`.", "#"]
    lines += [f"# {line}".rstrip() for line in table]
    if args.config is not None:
        base = args.config
        if base not in config_names():  # a file's name is taken from the recipe's own folder
            base = os.path.relpath(base, Path(args.out).resolve().parent)
        lines.append(f"base: {_quoted(base)}")
    lines.append("model:")
    if args.image_size:
        sizes = config.model.preprocessing
        lines.append(
            f"  preprocessing: {{short_side: {sizes.short_side}, long_side: {sizes.long_side}}}"
        )
    lines.append("  anchors:")
    lines += [f"    {name}: {values}" for name, values in fields.items()]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
