"""The law of the house: a file imports only from files above it, in the order of the data."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "keras_retinanet"
# Reading order. A name stands for a module or for all of a subpackage; the first match from a
# module's full name upwards counts.
ORDER = """
    version errors signals owners child_processes
    model_config config files targets pages config_files
    resizing boxes preprocessing
    checkpoints.checkpoint checkpoints.mapped_file checkpoints.h5_trial checkpoints.keras_config
    checkpoints.pickle_names checkpoints.pickle_machine checkpoints.torch_file
    checkpoints.safetensors_file checkpoints.h5_file checkpoints.tf_file checkpoints.reading
    backbones fpn heads
    anchors labeling losses
    detections optimizers model transfer saving
    data.problems data.folders data.records data.splits
    data.headers data.images data.exif
    data.source_files data.label_map data.shards
    data.tfds data.tfrecord data.coco_json data.coco_rows data.coco
    data.voc_xml data.voc_files data.voc data.shapes data.csv data.kitti
    data.openimages_classes data.openimages data.yolo_layout data.yolo
    data.recognition data data.writers
    data.plan data.colors data.geometry data.erasing data.transforms data.mixing
    data.windows data.fetching data.cache data.pipeline
    evaluation.results evaluation.tables evaluation.overlaps evaluation.reference_coco
    evaluation.fast_coco evaluation.coco_figures evaluation.coco
    evaluation.average_precision evaluation.matching evaluation.voc evaluation.openimages
    evaluation.thresholds evaluation.calibration evaluation.summary
    evaluation.error_kinds evaluation.tide evaluation.worst evaluation.confusion
    evaluation.breakdown evaluation.curves evaluation.charts evaluation.gallery evaluation.report
    evaluation.saved evaluation.comparison evaluation.pictures evaluation.class_map
    evaluation.replicas evaluation.streaming evaluation.runner evaluation
    evolution anchor_fitting drawing visualization learning_curves label_view data.doctor
    schedules building resources event_log validation run_state callbacks distribution
    rehearsal training
    checkpoints exporting
    merging composed tiling test_time videos ui
    commands.common commands.train commands.passes commands.detecting commands.figures
    commands.evaluate commands.predict commands.info
    commands.dataset commands.anchors commands
    cli __main__
""".split()
MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Return "data.coco" for data/coco.py and "data" for data/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def place(name: str) -> int:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in ORDER:
            return ORDER.index(".".join(parts[:end]))
    pytest.fail(f"{name} has no place in the order: add it to ORDER where it is read")


def imported(tree: ast.AST, modules: set[str]) -> set[str]:
    """Return the package's modules that a file imports, those in functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            known = [name.removeprefix("keras_retinanet.") in modules for name in submodules]
            # `from package import module` is about the module; else it is about the package.
            pairs = zip(submodules, known, strict=True)
            names = [submodule if is_module else node.module for submodule, is_module in pairs]
        else:
            continue
        found |= {n.removeprefix("keras_retinanet.") for n in names if "keras_retinanet." in n}
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_upwards_only(path):
    name = module_name(path)
    if not name:  # the public API names everything, lazily
        return
    modules = {module_name(module) for module in MODULES}
    used = imported(ast.parse(path.read_text(encoding="utf-8")), modules)
    # Files of a subpackage that share one place in the order may build on each other.
    below = {
        other
        for other in used - {name}
        if place(other) > place(name)
        or (place(other) == place(name) and other.split(".")[0] != name.split(".")[0])
    }
    assert sorted(below) == []


def test_the_order_names_no_module_twice():
    assert len(ORDER) == len(set(ORDER))


def test_only_handlers_pay_for_tensorflow():
    for file in [
        *PACKAGE.glob("commands/**/*.py"),
        *map(PACKAGE.joinpath, ("cli.py", "config.py")),
    ]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        roots = {a.name.split(".")[0] for n in top for a in n.names if isinstance(n, ast.Import)}
        roots |= {n.module.split(".")[0] for n in top if isinstance(n, ast.ImportFrom)}
        assert not roots & {"tensorflow", "keras", "matplotlib", "pycocotools"}, file.name
