"""Rebuild tests/goldens/tide.npz by running tidecv, the package of TIDE's authors.

    python tests/parity/tide_goldens.py [--out DIR] [--data DIR] [--detections FILE.npz]

In an environment of its own: pip install tidecv==1.0.1 numpy pycocotools

The file holds, per case, tidecv's AP and costs (of 100) and the kind of each error. The cases are:
"made" (tests/support/error_cases.py); "bccd", the detections of a RetinaNet of this project in the
test part of BCCD, taken from the golden itself unless --detections gives others; "tiny_coco" and
"cocoapi". The true boxes of all but the first are read from --data.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from tidecv import TIDE, Data

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "support")]
from error_cases import bccd_truths, coco_case, made_case  # noqa: E402

NAME = "tide.npz"
KINDS = ["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"]
# Other thresholds than the paper's, for one case.
STRICT = (0.75, 0.2)
STORED = "found_image found_classes found_xywh found_scores pictures classes".split()


def as_data(case: dict[str, np.ndarray]) -> tuple[Data, Data]:
    """Returns ground truth and detections of a case in tidecv's own form."""
    truths, found = Data("truths"), Data("found")
    for index in range(int(case["classes"])):
        truths.add_class(index, f"class {index}")
    for image in range(int(case["pictures"])):
        truths.add_image(image, f"picture {image}")
    columns = (case[f"truth_{name}"].tolist() for name in ("image", "classes", "xywh", "ignore"))
    for image, index, box, ignore in zip(*columns, strict=True):
        add = truths.add_ignore_region if ignore else truths.add_ground_truth
        add(image, index, box)
    columns = (case[f"found_{name}"].tolist() for name in ("image", "classes", "scores", "xywh"))
    for image, index, score, box in zip(*columns, strict=True):
        found.add_detection(image, index, score, box)
    return truths, found


def outcome(
    case: dict[str, np.ndarray], thresholds: tuple[float, float] = (0.5, 0.1)
) -> dict[str, np.ndarray]:
    """Returns what tidecv says of a case: rows are those of its columns."""
    truths, found = as_data(case)
    run = TIDE(*thresholds).evaluate(truths, found)
    main = {error.short_name: cost for error, cost in run.fix_main_errors().items()}
    special = {error.short_name: cost for error, cost in run.fix_special_errors().items()}
    class_ap = np.full(int(case["classes"]), np.nan)
    for index, data in run.ap_data.objs.items():
        if not data.is_empty():
            class_ap[index] = data.get_ap()
    kinds = np.zeros(len(case["found_scores"]), np.int8)  # 0: none of the errors
    missed = np.zeros(len(case["truth_image"]), bool)
    for error in run.errors:
        if error.short_name == "Miss":
            missed[error.gt["_id"]] = True
        else:
            kinds[error.pred["_id"]] = 1 + KINDS.index(error.short_name)
    return {
        "ap": np.array(run.ap),
        "class_ap": class_ap,
        "costs": np.array([main[kind] for kind in KINDS]),
        "special": np.array([special["FalsePos"], special["FalseNeg"]]),
        "kinds": kinds,
        "missed": missed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=TESTS / "goldens", metavar="DIR")
    parser.add_argument("--data", type=Path, default=TESTS.parents[1] / "shared" / "data")
    parser.add_argument("--detections", type=Path, help="columns of the case bccd")
    args = parser.parse_args()
    with np.load(TESTS / "goldens" / NAME) as file:
        golden = dict(file)
    source = np.load(args.detections) if args.detections else None
    bccd = {name: source[name] if source else golden[f"bccd/{name}"] for name in STORED}
    cases = {"made": made_case()}
    if args.data.is_dir():
        sample = args.data / "cocoapi"
        cases["bccd"] = bccd | bccd_truths(args.data / "bccd")
        cases["tiny_coco"] = coco_case(args.data / "tiny_coco/annotations/instances_val2017.json")
        cases["cocoapi"] = coco_case(
            sample / "instances_val2014_100.json",
            sample / "instances_val2014_fakebbox100_results.json",
        )
    else:
        print(f"Kept what is stored of the real data sets: {args.data} is not there.")
    results = {name: outcome(case) for name, case in cases.items()}
    results["made_75"] = outcome(cases["made"], STRICT)
    for name, out in results.items():
        golden |= {f"{name}/{key}": value for key, value in out.items()}
    for name, case in (("made", cases["made"]), ("bccd", bccd)):
        golden |= {f"{name}/{key}": value for key, value in case.items()}
    for name, out in results.items():
        costs = (f"{kind} {cost:.4f}" for kind, cost in zip(KINDS, out["costs"], strict=True))
        print(f"{name:10s} AP {out['ap']:.4f}", *costs)
    np.savez_compressed(args.out / NAME, **golden)


if __name__ == "__main__":
    main()
