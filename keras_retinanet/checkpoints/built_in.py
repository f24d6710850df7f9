"""The trained models that the package comes with: `.keras` files, which say what they are.

`benchmarks/built_in_model.py` writes them. Their facts are read as text, without TensorFlow.
"""

import functools
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from keras_retinanet.files import sha256_of
from keras_retinanet.weight_files.keras_config import KERAS_CONFIG, config_text
from keras_retinanet.weight_files.mapped_file import map_file, zip_members

FOLDER, SUFFIX = "models", ".keras"
# Of each: every installation downloads them.
MAX_BYTES = 6_000_000
# As `weights list --family` takes it.
FAMILY = "built_in"


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """One model of the package.

    Attributes:
        name: what `--model` takes.
        path: of the file.
        backbone: key of `backbones.BACKBONES`.
        class_names: in the order of the outputs.
        metadata: what the file says of its origin.
    """

    name: str
    path: Path
    backbone: str
    class_names: tuple[str, ...]
    metadata: dict[str, str]

    @property
    def figure(self) -> str:
        """Its AP, and on which images, for this is no AP on COCO."""
        facts = self.metadata
        return f"{100 * float(facts['AP_test']):.1f} ({facts['data']} test)"

    @property
    def sha256(self) -> str:
        """Hex digits of the file's hash."""
        return sha256_of(self.path)


@functools.cache
def built_in_models() -> dict[str, BuiltIn]:
    """Return name -> model; the first is the one to use where none is named."""
    folder = Path(str(resources.files(__package__) / FOLDER))
    return {path.stem: _described(path) for path in sorted(folder.glob(f"*{SUFFIX}"))}


def default_model() -> BuiltIn:
    """Return the model to use where the user has none."""
    return next(iter(built_in_models().values()))


def _described(path: Path) -> BuiltIn:
    view = map_file(path)
    stored = json.loads(config_text(view, zip_members(view)[KERAS_CONFIG]))["config"]
    return BuiltIn(
        name=path.stem,
        path=path,
        backbone=stored["model"]["backbone"]["name"],
        class_names=tuple(stored["class_names"]),
        metadata=stored["metadata"],
    )
