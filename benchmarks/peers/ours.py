"""Train this package on BCCD with its recipe, and write detections at equal intervals.

The same as `keras_retinanet train --config bccd --minutes M`, but without a validation split:
evaluations would count as training time, and no model is to be chosen by them. What is not set
below is the recipe's.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import keras
from shared import TrainingClock, arguments, write_facts

import keras_retinanet
from keras_retinanet.modeling import save_model
from keras_retinanet.training.callbacks import averaged_weights

NEVER = 10**6  # steps
# The start that KerasHub has here. From random weights, the statistics must be learned too.
RANDOM = {
    "model.backbone.name": "resnet18",
    "model.backbone.weights": None,
    "model.backbone.freeze_bn": False,
    "train.optimizer.backbone_multiplier": 1.0,
}


class Snapshots(keras.callbacks.Callback):
    """Save the model at equal intervals, as the run would at its end."""

    def __init__(self, folder: Path, minutes: float):
        super().__init__()
        self.folder, self.minutes = folder, minutes

    def on_train_begin(self, logs=None):
        self.clock = TrainingClock(self.minutes)

    def on_train_batch_end(self, batch, logs=None):
        self.clock.step(float(logs["loss"]))
        self.save(self.clock.due())

    def on_train_end(self, logs=None):
        # The run's own clock ends it, which began a little earlier.
        self.save(self.clock.due(is_last=True))

    def save(self, number: int | None) -> None:
        if number is not None:
            with averaged_weights(self.model):
                save_model(self.model, self.folder / f"snapshot-{number}.keras")


def settings(args: argparse.Namespace) -> dict[str, object]:
    """Return what differs from the recipe `bccd`."""
    values = {
        "data.source": "coco",
        "data.data_dir": str(args.data_dir),
        "data.val_split": "none",
        "model.preprocessing.short_side": args.input[0],
        "model.preprocessing.long_side": args.input[1],
        "train.batch_size": args.batch_size,
        "train.minutes": args.minutes,
        "train.eval_every": NEVER,
    }
    return values | (RANDOM if args.random else {})


def detect(model: Path, data_dir: Path, split: str, out: Path) -> None:
    """Write the detections of a model in a split."""
    words = ["evaluate", "coco", "--data_dir", str(data_dir), "--split", split]
    words += ["--model", str(model), "--out", str(out)]
    subprocess.run([sys.executable, "-m", "keras_retinanet", *words], check=True)


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--random", action="store_true", help="a ResNet-18 from random weights")
    args = parser.parse_args()
    snapshots = Snapshots(args.out, args.minutes)
    config = keras_retinanet.load_config("bccd", settings(args))
    keras_retinanet.train(config, args.out / "run", callbacks=[snapshots])
    write_facts(
        args,
        snapshots.clock,
        version=f"keras_retinanet {keras_retinanet.__version__}",
        start="ResNet-18, random" if args.random else "EfficientNet-Lite0, ImageNet",
    )
    for number in snapshots.clock.snapshots:
        model = args.out / f"snapshot-{number}.keras"
        detect(model, args.data_dir, "val", args.out / f"val-{number}.json")
    detect(model, args.data_dir, "test", args.out / "test.json")


if __name__ == "__main__":
    main()
