"""Scripts of `benchmarks/` as modules, for the tests of what they compute and write."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@contextmanager
def driver(*names: str) -> Iterator[list[ModuleType]]:
    """Gives modules of `benchmarks/` and of its folder `peers/`; none of them stays imported."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks" / "peers")
        patch.syspath_prepend(ROOT / "benchmarks")
        yield [importlib.import_module(name) for name in names]
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and ROOT / "benchmarks" in Path(file).parents:
            del sys.modules[name]


def complete(folder: Path, *, ap: float, step: int, seconds: float = 4.5) -> None:
    """Makes the folder of a run whose last evaluation, which counts, gave `ap`."""
    folder.mkdir(parents=True)
    (folder / "last.keras").touch()
    lines = ["step,loss,AP,AP50,AP75,seconds", "1,1.0,0.1,0.2,0.1,3.0", f"{step},1.0,,,,"]
    lines.append(f"{step},,{ap},{ap + 0.1},{ap - 0.1},{seconds}")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
