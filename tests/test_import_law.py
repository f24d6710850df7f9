"""Only handlers of commands pay for TensorFlow."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "keras_retinanet"


def test_only_handlers_pay_for_tensorflow():
    for file in [
        *PACKAGE.glob("commands/**/*.py"),
        *map(PACKAGE.joinpath, ("cli.py", "config/schema.py")),
    ]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        roots = {a.name.split(".")[0] for n in top for a in n.names if isinstance(n, ast.Import)}
        roots |= {n.module.split(".")[0] for n in top if isinstance(n, ast.ImportFrom)}
        assert not roots & {"tensorflow", "keras", "matplotlib", "pycocotools"}, file.name
