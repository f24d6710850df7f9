"""Rebuild tests/goldens/metrics.npz: VOC's and Open Images' average precisions by other people.

    python tests/parity/metric_goldens.py --detectron2 CHECKOUT [--out DIR]

In an environment of its own: pip install detection-tools==0.3 tensorflow-cpu==2.21.*

VOC's are by the port of the development kit in detectron2 (02b5c4e2), of which the functions are
run as they stand, without its torch; and by the TensorFlow Object Detection API, of which the
package detection-tools is a copy. Open Images' are by the latter's challenge evaluator, with and
without classes that nobody looked for.

The detections, stored with the figures, are those of tests/support/error_cases.py with true boxes
of whole pixels, a class of crowds alone and no equal scores: these peers sort such by chance.
"""

import argparse
import ast
import sys
import tempfile
import types
import xml.etree.ElementTree as ET
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "support")]
from error_cases import made_case  # noqa: E402

CROWD_CLASS = 5
VOC_FILE = "detectron2/evaluation/pascal_voc_evaluation.py"


def metric_case() -> dict[str, np.ndarray]:
    """Returns the columns; `verified` (pictures, classes) bool says who was looked for where."""
    case = made_case()
    rng = np.random.default_rng(8)
    case["truth_xywh"] = np.maximum(np.round(case["truth_xywh"]), 1.0)
    case["truth_ignore"] = case["truth_ignore"] | (case["truth_classes"] == CROWD_CLASS)
    # Scores have two decimals: none changes its place among others.
    case["found_scores"] = case["found_scores"] - 1e-6 * rng.permutation(len(case["found_scores"]))
    case["verified"] = rng.uniform(size=(int(case["pictures"]), int(case["classes"]))) < 0.4
    return case


def voc_eval_of(checkout: Path):
    """Returns detectron2's `voc_eval`, run without the imports of its file."""
    tree = ast.parse((checkout / VOC_FILE).read_text(encoding="utf-8"))
    wanted = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name in ("parse_rec", "voc_ap", "voc_eval")
    ]
    names = {"np": np, "ET": ET, "lru_cache": lru_cache}
    names["PathManager"] = types.SimpleNamespace(open=open)
    exec(compile(ast.Module(wanted, []), VOC_FILE, "exec"), names)
    return names["voc_eval"]


def write_voc(case: dict[str, np.ndarray], folder: Path) -> None:
    """Writes annotations, the list of pictures and one file of detections a class."""
    pictures, classes = int(case["pictures"]), int(case["classes"])
    truth_xywh, found_xywh = case["truth_xywh"], case["found_xywh"]
    for image in range(pictures):
        root = ET.Element("annotation")
        for row in np.flatnonzero(case["truth_image"] == image):
            entry = ET.SubElement(root, "object")
            x, y, width, height = truth_xywh[row]
            ET.SubElement(entry, "name").text = str(case["truth_classes"][row])
            ET.SubElement(entry, "pose").text = "Unspecified"
            ET.SubElement(entry, "truncated").text = "0"
            ET.SubElement(entry, "difficult").text = str(int(case["truth_ignore"][row]))
            box = ET.SubElement(entry, "bndbox")
            corners = {"xmin": x, "ymin": y, "xmax": x + width, "ymax": y + height}
            for name, value in corners.items():
                ET.SubElement(box, name).text = str(int(value))
        ET.ElementTree(root).write(folder / f"{image}.xml")
    (folder / "list.txt").write_text("\n".join(str(image) for image in range(pictures)))
    for index in range(classes):
        lines = []
        for row in np.flatnonzero(case["found_classes"] == index):
            x, y, width, height = found_xywh[row].tolist()
            corners = " ".join(repr(value) for value in (x, y, x + width, y + height))
            lines.append(f"{case['found_image'][row]} {float(case['found_scores'][row])} {corners}")
        (folder / f"class_{index}.txt").write_text("\n".join(lines))


def voc_by_detectron2(case: dict[str, np.ndarray], checkout: Path) -> np.ndarray:
    """Returns (2, K): the 11-point and the area AP of each class, NaN without boxes to find."""
    voc_eval = voc_eval_of(checkout)
    result = np.full((2, int(case["classes"])), np.nan)
    wanted = np.unique(case["truth_classes"][~case["truth_ignore"]])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_voc(case, folder)
        for index in wanted:
            if (folder / f"class_{index}.txt").read_text():
                for kind, eleven in enumerate((True, False)):
                    result[kind, index] = voc_eval(
                        str(folder / "class_{}.txt"),
                        str(folder / "{}.xml"),
                        str(folder / "list.txt"),
                        str(index),
                        use_07_metric=eleven,
                    )[2]
            else:
                result[:, index] = 0.0  # its reader wants a line
    return result


@cache
def object_detection_api():
    """Imports the evaluators, which were written for an older NumPy and need no label maps."""
    np.float = float
    protos = types.ModuleType("detection_tools.protos")
    protos.string_int_label_map_pb2 = None
    sys.modules["detection_tools.protos"] = protos
    from detection_tools.utils import object_detection_evaluation

    return object_detection_evaluation


def score(evaluator, case: dict[str, np.ndarray], flag: str, verified=None) -> np.ndarray:
    """Returns (K,) the AP of each class by an evaluator of the API; NaN where it gives none."""
    for image in range(int(case["pictures"])):
        there = np.flatnonzero(case["truth_image"] == image)
        found = np.flatnonzero(case["found_image"] == image)
        truths = {
            "groundtruth_boxes": corners_yx(case["truth_xywh"][there]),
            "groundtruth_classes": case["truth_classes"][there] + 1,
            flag: case["truth_ignore"][there],
        }
        if verified is not None:
            truths["groundtruth_image_classes"] = np.flatnonzero(verified[image]) + 1
        evaluator.add_single_ground_truth_image_info(str(image), truths)
        evaluator.add_single_detected_image_info(
            str(image),
            {
                "detection_boxes": corners_yx(case["found_xywh"][found]),
                "detection_scores": case["found_scores"][found],
                "detection_classes": case["found_classes"][found] + 1,
            },
        )
    metrics = evaluator.evaluate()
    return np.array(
        [
            next((value for key, value in metrics.items() if key.endswith(f"/name{index}")), np.nan)
            for index in range(int(case["classes"]))
        ]
    )


def corners_yx(xywh: np.ndarray) -> np.ndarray:
    return np.concatenate([xywh[:, 1::-1], xywh[:, 1::-1] + xywh[:, :1:-1]], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--detectron2", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--out", type=Path, default=TESTS / "goldens", metavar="DIR")
    args = parser.parse_args()
    case = metric_case()
    api = object_detection_api()
    categories = [{"id": index + 1, "name": f"name{index}"} for index in range(case["classes"])]
    verified = case["verified"]
    challenge = "groundtruth_group_of"
    results = {
        "voc": voc_by_detectron2(case, args.detectron2),
        "voc_api": score(api.PascalDetectionEvaluator(categories), case, "groundtruth_difficult"),
        "open_images": score(
            api.OpenImagesDetectionChallengeEvaluator(categories),
            case,
            challenge,
            np.ones_like(verified),
        ),
        "open_images_verified": score(
            api.OpenImagesDetectionChallengeEvaluator(categories), case, challenge, verified
        ),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out / "metrics.npz", **case, **results)
    for name, values in results.items():
        print(name, np.round(values, 6).tolist())


if __name__ == "__main__":
    main()
