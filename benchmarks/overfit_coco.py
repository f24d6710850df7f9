"""Overfit a few COCO images to check that labels, loss, decoding and evaluation fit together.

    python benchmarks/overfit_coco.py tiny_coco --out runs/overfit

Takes the first 20 training images with boxes (all 80 classes stay, with the gaps in their ids and
the crowds), trains on them without augmentation and scores on the same ones.
"""

import argparse
import json
from pathlib import Path

from keras_retinanet.config import load_config, with_overrides
from keras_retinanet.evaluation import format_metrics
from keras_retinanet.files import atomic_write

PICTURES = 20


def first_pictures(annotations: Path, count: int) -> dict:
    """Return the COCO annotations of the first `count` images that have boxes."""
    content = json.loads(annotations.read_text())
    annotated = {row["image_id"] for row in content["annotations"]}
    images = [row for row in content["images"] if row["id"] in annotated][:count]
    kept = {row["id"] for row in images}
    rows = [row for row in content["annotations"] if row["image_id"] in kept]
    return {**content, "images": images, "annotations": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="COCO layout with train2017")
    parser.add_argument("--out", type=Path, default=Path("runs/overfit"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()

    subset = args.out / "annotations.json"
    with atomic_write(subset) as stream:
        json.dump(
            first_pictures(args.folder / "annotations/instances_train2017.json", PICTURES), stream
        )
    recipe = {
        "data.annotations": str(subset),
        "data.images": str(args.folder / "train2017"),
        "data.val_split": "none",
    }
    config = load_config(Path(__file__).with_name("overfit_coco.yaml"), recipe)
    config = with_overrides(config, args.set)

    from keras_retinanet.data import load_dataset
    from keras_retinanet.evaluation import evaluate
    from keras_retinanet.modeling import load
    from keras_retinanet.training import train

    result = train(config, args.out)
    figures = evaluate(load(result["last"]), load_dataset(config.data, "all"))
    print(format_metrics(figures))
    print(f"{result['steps']} steps, {result['seconds'] / 60:.1f} minutes of training")


if __name__ == "__main__":
    main()
