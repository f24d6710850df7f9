"""Install the peers, each in an environment of its own, and rebuild the goldens they made.

    python tests/parity/rebuild.py [NAME ...] [--work DIR]

Needs Python 3.11, the network (PyPI and, for detectron2, odtk and yhenon, GitHub) and some 15 GB
below DIR. The scripts overwrite tests/goldens; `git diff --stat tests/goldens` then tells what has
changed: nothing, on the machine that made them, and last bits elsewhere.
"""

import argparse
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TORCH = "torch==2.13.0"
TORCHVISION = "--no-deps torchvision==0.28.0"
GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Peer:
    """A script, arguments for pip line by line, and checkouts: (flag, owner/name@commit)."""

    script: str
    installs: tuple[str, ...]
    checkouts: tuple[tuple[str, str], ...] = ()


PEERS = {
    "torchvision": Peer("torchvision_goldens.py", (f"{TORCH} numpy pillow", TORCHVISION)),
    "trunks": Peer("make_torch_trunks.py", (f"{TORCH} numpy pillow", TORCHVISION)),
    "detectron2": Peer(
        "detectron2_goldens.py",
        (
            f"{TORCH} fvcore iopath omegaconf hydra-core pycocotools cloudpickle termcolor yacs "
            "tabulate matplotlib tqdm pillow",
            TORCHVISION,
        ),
        (
            (
                "--detectron2",
                "facebookresearch/detectron2@02b5c4e295e990042a714712c21dc79b731e8833",
            ),
        ),
    ),
    "torch_peers": Peer(
        "torch_peers_goldens.py",
        (
            f"{TORCH} mmengine scikit-image opencv-python-headless pycocotools requests six",
            f"{TORCHVISION} mmcv-lite==2.2.0 mmdet==3.3.0",
        ),
        (
            ("--odtk", "NVIDIA/retinanet-examples@65e63109bf5d12c9ad11b6f5bcdec12a117ee888"),
            ("--yhenon", "yhenon/pytorch-retinanet@0348a9d57b279e3b5b235461b472d37da5feec3d"),
        ),
    ),
    "metrics": Peer(
        "metric_goldens.py",
        ("detection-tools==0.3 tensorflow-cpu==2.21.*",),
        (
            (
                "--detectron2",
                "facebookresearch/detectron2@02b5c4e295e990042a714712c21dc79b731e8833",
            ),
        ),
    ),
    "tide": Peer("tide_goldens.py", ("tidecv==1.0.1 numpy pycocotools",)),
    "kerashub": Peer(
        "kerashub_goldens.py", ("tensorflow-cpu==2.21.* keras==3.15.* keras-hub==0.32.*",)
    ),
    "kerascv": Peer(
        "kerascv_goldens.py", ("tensorflow-cpu==2.21.* keras==3.15.* keras-cv==0.9.0",)
    ),
    "fizyr": Peer(
        "fizyr_goldens.py",
        (
            "tensorflow-cpu==2.19.* tf-keras==2.19.* opencv-python-headless progressbar2 pillow "
            "cython setuptools<80 wheel",
            "--no-deps keras-resnet==0.2.0",
            "--no-deps --no-build-isolation keras-retinanet==1.0.0",
        ),
    ),
    "model_garden": Peer(
        "model_garden_goldens.py",
        (
            "tensorflow-cpu==2.20.* tf-keras==2.20.* opencv-python-headless pyyaml gin-config "
            "tensorflow-hub pillow pycocotools six tensorflow_datasets matplotlib scipy",
            "--no-deps tensorflow-text==2.20.* tf-models-official==2.20.*",
        ),
    ),
}


def rebuild(name: str, work: Path) -> None:
    """Make the environment of one peer, unless it is there, and run its script."""
    peer, folder = PEERS[name], work / name
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        for line in peer.installs:
            run(python, "-m", "pip", "install", "--quiet", *line.split())
        done.touch()
    flags: list[str | Path] = []
    for flag, place in peer.checkouts:
        flags += [flag, checkout(place, work)]
    run(python, HERE / peer.script, *flags)


def checkout(place: str, work: Path) -> Path:
    """Return the folder of "owner/name@commit", fetching that commit alone."""
    repository, _, commit = place.partition("@")
    folder = work / repository.replace("/", "+")
    if not (folder / ".git").exists():
        run("git", "init", "--quiet", folder)
    run("git", "-C", folder, "fetch", "--quiet", "--depth", "1", GITHUB + repository, commit)
    run("git", "-C", folder, "checkout", "--quiet", "--detach", commit)
    return folder


def run(*words: str | Path) -> None:
    print("+", *words, flush=True)
    subprocess.run([str(word) for word in words], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--work", type=Path, default=Path("parity"), metavar="DIR")
    args = parser.parse_args()
    unknown = set(args.names) - PEERS.keys()
    if unknown:
        sys.exit(f"Expected names of {', '.join(PEERS)}. Received: {', '.join(unknown)}.")
    for name in args.names or PEERS:
        rebuild(name, args.work.resolve())


if __name__ == "__main__":
    main()
