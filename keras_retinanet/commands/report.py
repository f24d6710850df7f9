"""Compare evaluations side by side on one page.

Examples:
    keras_retinanet report a.json b.json --out compare.html
    keras_retinanet report a_results.json b_results.json --annotations instances.json
"""

from argparse import ArgumentParser, Namespace

from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.files.targets import check_target

DEFAULT_OUT = "compare.html"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `report` to its parser."""
    add = parser.add_argument
    add(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder with an evaluation.json, such a file, or a COCO results file",
    )
    add("--annotations", metavar="FILE", help="COCO annotations for COCO results files")
    add("--out", metavar="FILE", default=DEFAULT_OUT, help=f"page to write ({DEFAULT_OUT})")


def run(args: Namespace) -> int:
    """Write the page; print the AP of each run."""
    check_target(args.out, "page", flag="--out")
    import_tensorflow()
    from keras_retinanet.evaluation.report.comparison import write_comparison
    from keras_retinanet.evaluation.report.saved import read_runs

    runs = read_runs(args.runs, annotations=args.annotations)
    for each in runs:
        print(f"AP {each.evaluation.coco['AP']:.3f}  {each.name}")
    write_comparison(args.out, runs)
    names_aps = [{"name": each.name, "AP": each.evaluation.coco["AP"]} for each in runs]
    add_result(args, page=args.out, runs=names_aps)
    print(f"Wrote {args.out}")
    return 0
