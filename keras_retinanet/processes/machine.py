"""Say what ran: the machine, the versions, the command and the state of the source."""

import json
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from keras_retinanet.version import __version__

PACKAGE = "keras_retinanet"
# Of which the version decides times and the last digits of results.
LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "ai-edge-litert", "onnxruntime", "numpy")
GIT_SECONDS = 10.0


def machine() -> dict[str, Any]:
    """Return the facts that times depend on, and the command."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": psutil.cpu_count(),
        "memory GiB": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "keras_retinanet": __version__,
        **versions,
        "command": command(),
    }


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system than Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def command() -> str:
    """Return the command line of this process, as a shell takes it."""
    program = Path(sys.argv[0]).name.replace("__main__.py", PACKAGE)
    return shlex.join([program, *sys.argv[1:]])


def source_commit() -> str | None:
    """Return the commit of this package, "+changes" added where files differ from it.

    None where neither a clone nor pip knows it, as of a release from an index.
    """
    folder = Path(__file__).parent
    commit = _git(folder, "rev-parse", "HEAD")
    # A package installed below somebody's clone is no part of it.
    if commit and _git(folder, "ls-files", Path(__file__).name):
        return commit + ("+changes" if _git(folder.parent, "status", "--porcelain", ".") else "")
    try:
        found = metadata.distribution(PACKAGE).read_text("direct_url.json")
        return json.loads(found or "{}").get("vcs_info", {}).get("commit_id")
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _git(folder: Path, *words: str) -> str:
    """Return what git prints, nothing where there is no git or no clone."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
