"""The law of the house: a room imports from rooms before it alone; files of a room make no circle.

Imports in functions count; those for types alone do not.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "keras_retinanet"
PLAIN = "errors version lazy terminal files processes"
ROOMS = f"""{PLAIN} config weight_files modeling data drawing checkpoints doctor evaluation
exporting training inference speed ui commands cli""".split()
DEAR = {"tensorflow", "keras", "matplotlib", "pycocotools"}


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imported(name: str) -> set[str]:
    """Return the package's modules that a file imports."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    ifs = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
    skipped = {id(n) for i in ifs if "TYPE_CHECKING" in ast.dump(i.test) for n in ast.walk(i)}
    found = set()
    for node in (n for n in ast.walk(tree) if id(n) not in skipped):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [f if f.partition(".")[2] in FILES else str(node.module) for f in full]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {n.partition(".")[2] for n in names if n.startswith("keras_retinanet.")}
    return found - {name}


def test_rooms_import_from_rooms_before_them_alone():
    places = {name: name.partition(".")[0] for name in FILES if name not in ("", "__main__")}
    assert set(places.values()) <= set(ROOMS)
    arrows = [(name, used) for name in places for used in imported(name)]
    back = [(a, b) for a, b in arrows if ROOMS.index(places[a]) < ROOMS.index(places[b])]
    assert len(arrows) > 100 and back == []


def test_no_file_imports_itself_over_others():
    TopologicalSorter({name: imported(name) for name in FILES}).prepare()


def test_only_handlers_pay_for_tensorflow():
    for name in (n for n in FILES if n.partition(".")[0] in ("cli", "commands", "config", "lazy")):
        top = ast.parse(FILES[name].read_text(encoding="utf-8")).body
        roots = {a.name.split(".")[0] for n in top if isinstance(n, ast.Import) for a in n.names}
        roots |= {str(n.module).split(".")[0] for n in top if isinstance(n, ast.ImportFrom)}
        assert not roots & DEAR, name
