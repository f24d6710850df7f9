"""Seeded weights for MMDetection, odtk and yhenon by their own names, and the tables of these."""

import re
from pathlib import Path

from goldens.seeded_weights import seeded

LAYOUTS = Path(__file__).parent / "layouts"
# Their names -> the names by which `seeded` knows what an array is for.
ALIASES = (
    (r"bbox_head\.retina_cls|cls_head\.8|classificationModel\.output", "cls_logits"),
    (r"bbox_head\.retina_reg|box_head\.8|regressionModel\.output", "bbox_reg"),
    # The last batch norm of a basic block ends the branch, as bn3 does elsewhere.
    (r"(.*)\.bn2\.weight", r"\1.bn3.weight"),
)
STEM_OF_RAW_PIXELS = "backbone.bottom_up.stem.conv1.weight"


def seeded_peer(shapes, *, class_gain, raw_pixels=False):
    """Return name -> array for a table of shapes; `raw_pixels`: the input is not divided by std."""
    deep = any(name.endswith(".bn3.weight") for name in shapes)
    tensors = {}
    for name, shape in shapes.items():
        alias = name
        for pattern, replacement in ALIASES[: 2 if deep else 3]:
            alias = re.sub(pattern, replacement, alias)
        if raw_pixels and name == "backbone.conv1.weight":
            alias = STEM_OF_RAW_PIXELS
        dtype = "int64" if name.endswith("num_batches_tracked") else "float32"
        tensors[name] = seeded(alias, shape, dtype, class_gain)
    return tensors


def read_layout(name):
    """Return name -> shape; a line "layer1.[1-2].conv1.weight 64 256 1 1" stands for two."""
    shapes = {}
    for line in (LAYOUTS / f"{name}.txt").read_text("utf-8").splitlines():
        tensor, *shape = line.split()
        bounds = re.search(r"\[(\d+)-(\d+)\]", tensor)
        numbers = range(int(bounds[1]), int(bounds[2]) + 1) if bounds else [0]
        for number in numbers:
            full = tensor.replace(bounds[0], str(number)) if bounds else tensor
            shapes[full] = tuple(map(int, shape))
    return shapes


def layout_text(shapes):
    """Return the table of `shapes`: blocks of a stage that repeat share a line for each tensor."""
    lines, rows = {}, list(shapes.items())
    for name, shape in rows:
        match = re.fullmatch(r"(.*layer\d\.)(\d+)(\..*)", name)
        # The first block of a stage differs from the others.
        if match is None or match[2] == "0":
            lines[name, shape] = name
            continue
        head, number, tail = match.groups()
        first = lines.get((head, tail, shape), f"[{number}-").split("[")[-1].split("-")[0]
        lines[head, tail, shape] = f"{head}[{first}-{number}]{tail}"
    texts = [f"{text} {' '.join(map(str, key[-1]))}".rstrip() for key, text in lines.items()]
    return "\n".join(texts) + "\n"
