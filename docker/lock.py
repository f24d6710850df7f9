"""Write docker/constraints.txt: the versions of all that the images install, as they are here.

    .venv/bin/python docker/lock.py

Run it in the environment in which the tests passed.
"""

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT_NAME = "keras_retinanet"
EXTRAS = ("fast", "hub", "onnx", "ui", "video")
# The tools of pip's own world come with the image.
SKIPPED = {"pip", "setuptools", canonicalize_name(ROOT_NAME)}
# Name -> the same library for processors alone, which may stand here in its place.
ALONE = {"tensorflow": "tensorflow-cpu"}
TARGET = Path(__file__).parent / "constraints.txt"


def installed(name: str) -> Distribution | None:
    """Return a distribution, or what stands here in its place; None where neither is there."""
    for each in filter(None, (name, ALONE.get(name))):
        try:
            return distribution(each)
        except PackageNotFoundError:
            continue
    return None


def add_versions(
    needs: list[str], extras: tuple[str, ...], found: dict[str, str], asked: dict[str, set]
) -> None:
    """Add name -> version of what `needs` lists, and of all that these need.

    Args:
        asked: name -> the extras with which it was added already.
    """
    for need in map(Requirement, needs):
        marker, name = need.marker, canonicalize_name(need.name)
        is_wanted = marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras))
        if not is_wanted or (name in asked and need.extras <= asked[name]):
            continue
        asked[name] = asked.get(name, set()) | need.extras
        there = installed(name)
        if there is None:
            print(f"{name} is not installed here: it is not pinned")
            continue
        found[name] = there.version
        add_versions(there.requires or [], tuple(need.extras), found, asked)


def main() -> None:
    """Write the file."""
    found: dict[str, str] = {}
    add_versions(distribution(ROOT_NAME).requires or [], EXTRAS, found, {})
    lines = [f"{name}=={found[name]}" for name in sorted(found) if name not in SKIPPED]
    TARGET.write_text("# Written by docker/lock.py.\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
