"""Make a model that ships with the package of a run: small, and with its facts inside.

    python benchmarks/built_in_model.py runs/bccd --data_dir bccd --duration "13 minutes" \\
        --command "keras_retinanet train voc --data_dir bccd --config bccd"
    python docs/generate.py

It writes `keras_retinanet/checkpoints/models/<name>.keras`, an ordinary model file: every command
takes it, training starts from it. To be small, kernels are rounded to few bits and the file is
compressed. It is scored after that, so that the AP in it is that of the very file.
"""

import argparse
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from keras_retinanet.checkpoints import built_in
from keras_retinanet.config import load_config, with_overrides
from keras_retinanet.data import load_dataset
from keras_retinanet.evaluation import evaluate
from keras_retinanet.files import atomic_path
from keras_retinanet.modeling import RetinaNet, load, save_model
from keras_retinanet.version import __version__

MODELS = Path(built_in.__file__).parent / built_in.FOLDER
SPLITS = ("val", "test")
# Of all files in it, in place of the time.
DATE = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    """Write the file and print its facts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="run folder, whose best.keras is taken")
    add("--data_dir", required=True, metavar="DIR", help="the run's data, with a test split")
    add("--command", required=True, help="the command of the run, for readers")
    add("--duration", required=True, help="of the run, with its machine: 13 minutes on 2 CPU cores")
    add("--name", default="blood_cells", help="of the model, for --model (blood_cells)")
    add("--data", default="BCCD", help="name of the data set (BCCD)")
    add("--subject", default="blood cells under a microscope", help="what its images show")
    add("--source", default="https://github.com/Shenggan/BCCD_Dataset", help="the data's address")
    add("--data_license", default="MIT", help="license of the data (MIT)")
    add("--bits", type=int, default=9, help="of a kernel; one less saves half a megabyte (9)")
    args = parser.parse_args()

    model = load(args.run / "best.keras")
    for variable in model.weights:
        variable.assign(rounded(variable.numpy(), args.bits))
    model.metadata |= facts(args, model.metadata["license"]) | scores(args, model)
    for name, text in model.metadata.items():
        print(f"{name:<14} {text}")
    content = packed(model)
    target = MODELS / f"{args.name}{built_in.SUFFIX}"
    if len(content) > built_in.MAX_BYTES:
        parser.error(
            f"expected at most {built_in.MAX_BYTES:,} bytes. Received: {len(content):,}. "
            "Give fewer --bits."
        )
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
    print(f"{target}: {len(content):,} bytes")


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Return kernels with each filter rounded to signed integers of `bits` times a power of two.

    Depthwise kernels and what is no kernel stay: they are few, and errors in them cost more.
    """
    if values.ndim != 4 or values.shape[-1] == 1:
        return values
    largest = np.abs(values).max(axis=(0, 1, 2), keepdims=True)
    step = 2.0 ** (np.ceil(np.log2(np.maximum(largest, 1e-12))) - (bits - 1))
    return (np.rint(values / step) * step).astype(values.dtype)


def packed(model: RetinaNet) -> bytes:
    """Return the model as a compressed `.keras` file."""
    stream = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.keras"
        save_model(model, plain)
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(stream, "w") as target:
            for name in source.namelist():
                info = zipfile.ZipInfo(name, DATE)
                target.writestr(info, source.read(name), zipfile.ZIP_DEFLATED, compresslevel=9)
    return stream.getvalue()


def facts(args: argparse.Namespace, license: str) -> dict[str, str]:
    """Return the origin of the model, as its metadata has it.

    Args:
        license: of the weights that the run started from, "NAME (of what)".
    """
    name, _, what = license.partition(" (")
    return {
        "origin": f"trained by keras_retinanet {__version__} on {args.data}",
        "data": args.data,
        "subject": args.subject,
        "source": args.source,
        "license": f"{args.data_license} and {name} (the images of {args.data}; {what}",
        "command": args.command,
        "duration": args.duration,
        "rounding": f"kernels to {args.bits} bits",
    }


def scores(args: argparse.Namespace, model: RetinaNet) -> dict[str, str]:
    """Return AP and AP50 of the rounded model on each split, and the numbers of images."""
    config = with_overrides(load_config(args.run / "config.yaml"), {"data.data_dir": args.data_dir})
    found = {}
    for split in SPLITS:
        metrics = evaluate(model, load_dataset(config.data, split))
        found[f"AP_{split}"] = f"{metrics['AP']:.3f}"
        found[f"AP50_{split}"] = f"{metrics['AP50']:.3f}"
        found[f"images_{split}"] = str(metrics["pictures"])
    found["images_train"] = str(len(load_dataset(config.data, config.data.split).records))
    return found


if __name__ == "__main__":
    main()
