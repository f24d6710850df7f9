"""A foreign checkpoint -> a `RetinaNet` that detects what the original detects."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from keras_retinanet.checkpoints.counters import COUNTERS, counters_text
from keras_retinanet.checkpoints.families import (
    detectron2,
    fizyr,
    kerascv,
    kerashub,
    mmdet,
    model_garden,
    model_garden_mobilenet,
    model_garden_spinenet,
    odtk,
    torchvision,
    tpu_resnet,
    tpu_spinenet,
    yhenon,
)
from keras_retinanet.checkpoints.families.coco_names import COCO80_NAMES
from keras_retinanet.checkpoints.families.family import Family, Preset, Shapes, fill, shapes_of
from keras_retinanet.config import Config, ModelConfig
from keras_retinanet.config.files import with_overrides
from keras_retinanet.errors import UserError, listed
from keras_retinanet.files import sha256_of
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.version import __version__
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.reading import read_checkpoint

COCO80 = "coco80"
# In the order in which they are asked; the first that recognizes a file has it.
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        torchvision.V1,
        torchvision.V2,
        detectron2.FAMILY,
        mmdet.FAMILY,
        mmdet.PYTORCH,
        mmdet.CAFFE,
        odtk.FAMILY,
        odtk.FLOAT_ANCHORS,
        yhenon.FAMILY,
        fizyr.FAMILY,
        kerashub.FAMILY,
        kerascv.FAMILY,
        model_garden_spinenet.FAMILY,
        model_garden_mobilenet.FAMILY,
        model_garden.FAMILY,
        tpu_spinenet.FAMILY,
        tpu_resnet.FAMILY,
    )
}


def recognise(shapes: Shapes) -> Family:
    """Return the family whose checkpoint has tensors of these names and shapes.

    Raises:
        UserError: none has; the message says what there is and which families are known.
    """
    for family in FAMILIES.values():
        if family.recognizes(shapes):
            return family
    seen = listed([f"{name} {shape}" for name, shape in shapes.items()])
    raise UserError(
        f"expected a RetinaNet of a known family ({', '.join(FAMILIES)}). "
        f"Received: {len(shapes)} tensors: {seen}. If it is one of them all the same, name it with "
        "--family."
    )


def import_checkpoint(
    path: str | Path,
    *,
    family: str | None = None,
    image_size: tuple[int, int] | None = None,
    classes: str | Sequence[str] | None = None,
    overrides: Sequence[str] = (),
) -> RetinaNet:
    """Build the model of a foreign checkpoint and fill it.

    Args:
        path: of the file, or of a TensorFlow checkpoint's prefix or folder.
        family: key of `FAMILIES`; None: recognized by the tensors' names and shapes.
        image_size: short side and bound on the long side in pixels; None: the family's own.
        classes: "coco80", or names: the outputs to keep, in that order; None: all.
        overrides: "model.fpn.relu_before_p7=true" texts that change the family's preset.

    Returns:
        The model, with the family's preprocessing, detections, class names and ids. `metadata`
        says where it comes from.

    Raises:
        UserError: the file cannot be read, belongs to no family, or its tensors are not the
            graph's; the classes or the family are unknown.
    """
    if family is not None and family not in FAMILIES:
        raise UserError(
            f"expected a family among {', '.join(FAMILIES)}. Received: family={family!r}."
        )
    checkpoint = read_checkpoint(path)
    chosen = recognise(shapes_of(checkpoint.tensors)) if family is None else FAMILIES[family]
    return model_of(
        checkpoint, chosen, path, image_size=image_size, classes=classes, overrides=overrides
    )


def model_of(
    checkpoint: Checkpoint,
    family: Family,
    path: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    classes: str | Sequence[str] | None = None,
    overrides: Sequence[str] = (),
) -> RetinaNet:
    """Do what `import_checkpoint` does with a checkpoint that was read from `path`."""
    counters = counters_text(checkpoint.tensors)
    if family.adapt is not None:
        checkpoint = family.adapt(checkpoint)
    preset = _preset(checkpoint, family, path)
    outputs = None if classes is None else _outputs(preset.class_names, classes)
    if image_size is not None:
        sides = {"short_side": image_size[0], "long_side": image_size[1]}
        preset = preset.having(preprocessing=sides)
    preset = dataclasses.replace(preset, config=_overridden(preset.config, overrides))
    kept = [] if outputs is None else [f"{len(outputs)} of {len(preset.class_names)} outputs kept"]
    preset = preset if outputs is None else _cut(preset, outputs)
    model = RetinaNet(
        preset.config, preset.class_names, class_ids=preset.class_ids, load_weights=False
    )
    used = fill(model, checkpoint, family, outputs=outputs)
    facts = {
        "family": family.label or family.name,
        "origin": family.origin,
        "license": preset.license,
        "assumptions": preset.assumptions,
        "from_file": Path(path).name,
        "sha256": _sha256(Path(path)),
        "tensors": f"{len(used)} of {len(checkpoint.tensors)} mapped, the others are not needed",
        "changes": "; ".join([*overrides, *kept]),
        "versions": (
            f"keras_retinanet {__version__}, tensorflow {tf.__version__}, keras {keras.__version__}"
        ),
        COUNTERS: counters,
    }
    model.metadata = {name: text for name, text in facts.items() if text}
    return model


def _preset(checkpoint: Checkpoint, family: Family, path: str | Path) -> Preset:
    try:
        preset = family.preset(shapes_of(checkpoint.tensors))
    except KeyError as error:  # of the family's own first look at the tensors it builds on
        raise UserError(
            f"expected a {family.name} checkpoint. Received: {path}, without tensor {error}. "
            "Leave --family out to have it recognized."
        ) from error
    if family.refine is None:
        return preset
    return family.refine(preset, {**checkpoint.metadata, "file_name": Path(path).name})


def _overridden(config: ModelConfig, overrides: Sequence[str]) -> ModelConfig:
    foreign = [text for text in overrides if not text.startswith("model.")]
    if foreign:
        raise UserError(
            "expected keys of the model, such as model.fpn.relu_before_p7=true. "
            f"Received: {', '.join(foreign)}."
        )
    return with_overrides(Config(model=config), overrides).model


def _outputs(names: Sequence[str], classes: str | Sequence[str]) -> list[int]:
    """The outputs of the classes that are wanted, in the wanted order."""
    wanted = COCO80_NAMES if classes == COCO80 else classes
    if isinstance(wanted, str):
        raise UserError(f"expected classes {COCO80!r} or a list of names. Received: {classes!r}.")
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted or len(set(wanted)) < len(wanted):
        raise UserError(
            f"expected different classes of the checkpoint's {len(names)}: {listed(names)}. "
            f"Received: {listed(wanted)}" + (f"; unknown: {listed(unknown)}." if unknown else ".")
        )
    return [names.index(name) for name in wanted]


def _cut(preset: Preset, outputs: Sequence[int]) -> Preset:
    """Keep some outputs; one is background only while it is the checkpoint's own output 0."""
    stays = preset.config.detections.background_output and outputs[0] == 0
    return dataclasses.replace(
        preset.having(detections={"background_output": stays}),
        class_names=[preset.class_names[i] for i in outputs],
        class_ids=[preset.class_ids[i] for i in outputs],
    )


def _sha256(path: Path) -> str:
    """Of the file; of a folder or a prefix, of all its files one after the other."""
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    else:
        files = sorted(path.parent.glob(f"{path.name}.*"))
    return sha256_of(*files)
