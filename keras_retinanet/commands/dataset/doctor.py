"""Check every split of a data set and report its problems.

Examples:
    keras_retinanet dataset doctor --data_dir bccd
    keras_retinanet dataset doctor coco --data_dir my_coco --image_size 320 --out report.html
"""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.common import add_data_arguments, add_recipe_arguments, recipe_config
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.files.targets import check_target
from keras_retinanet.terminal import printable

DEFAULT_OUT = "doctor.html"

if TYPE_CHECKING:
    from keras_retinanet.doctor.diagnosis import Diagnosis

# What `--json` says of a finding; its other fields are for the page.
FINDING_FIELDS = ("code", "severity", "title", "meaning", "action", "items")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `dataset doctor` to its parser."""
    add = parser.add_argument
    add_data_arguments(parser)
    add_recipe_arguments(parser)
    add(
        "--out", metavar="FILE", default=DEFAULT_OUT, help=f"page to write (default: {DEFAULT_OUT})"
    )
    add("--quick", action="store_true", help="read the images without decoding them")


def run(args: Namespace) -> int:
    """Print the summary and write the page; findings do not change the exit code."""
    check_target(args.out, "page", flag="--out")
    config = recipe_config(args, {})

    import_tensorflow()
    from keras_retinanet.doctor.diagnosis import diagnose
    from keras_retinanet.doctor.doctor_page import write_report
    from keras_retinanet.doctor.text import lines
    from keras_retinanet.modeling.anchors import Anchors
    from keras_retinanet.modeling.preprocessing import Preprocessing

    diagnosis = diagnose(
        config.data,
        Preprocessing(**vars(config.model.preprocessing)),
        Anchors(**vars(config.model.anchors)),
        decode=not args.quick,
    )
    write_report(diagnosis, args.out)
    add_result(args, page=args.out, **_as_object(diagnosis))
    for line in lines(diagnosis):
        print(printable(line))
    print(f"\nHistograms, images and all names: {args.out}")
    return 0


def _as_object(diagnosis: "Diagnosis") -> dict[str, Any]:
    """Return what `--json` says of a data set."""
    named = zip(diagnosis.datasets, diagnosis.tables, diagnosis.class_counts, strict=True)
    return {
        "splits": [
            {
                "name": dataset.split,
                "images": len(dataset.records),
                "boxes": dict(zip(dataset.class_names, counts, strict=True)),
                "ignored": table.ignore.sum(),
            }
            for dataset, table, counts in named
        ],
        "findings": [
            {name: getattr(finding, name) for name in FINDING_FIELDS}
            for finding in diagnosis.findings
        ],
    }
