"""The rules that CONTRIBUTING.md states and no other test holds; each exception has its measure.

A name below that no longer exceeds its bound fails too, so that the lists only get shorter.
"""

import ast
import itertools
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "keras_retinanet").rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 40
# File -> lines.
LONG_FILES: dict[str, int] = {}
# Function -> lines beside its docstring.
LONG_FUNCTIONS = {
    "build_head": 43,
    "build_fpn": 44,
    "export_tflite": 46,
    "_record": 43,
    "RetinaNet.__init__": 44,
}


def functions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Give each function and method with its name; not those inside of functions."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield owner + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{node.name}.")


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def lines_of(function: ast.FunctionDef) -> int:
    """Return the lines of a function without those of its docstring."""
    first = function.body[0]
    is_text = ast.get_docstring(function) is not None
    docstring = first.end_lineno - first.lineno + 1 if is_text else 0
    return function.end_lineno - function.lineno + 1 - docstring


def assert_bounded(found: dict[str, int], exceptions: dict[str, int], bound: int) -> None:
    over = {name: lines for name, lines in found.items() if lines > bound}
    assert over.keys() == exceptions.keys()
    assert [name for name, lines in over.items() if lines > exceptions[name]] == []


def test_files_are_short():
    lines = {path.name: 0 for path in FILES}
    for path in FILES:
        count = len(path.read_text(encoding="utf-8").splitlines())
        lines[path.name] = max(lines[path.name], count)
    assert_bounded(lines, LONG_FILES, MAX_FILE_LINES)


def test_functions_are_short():
    lines: dict[str, int] = {}
    for path in FILES:
        for name, function in functions(parsed(path).body):
            lines[name] = max(lines.get(name, 0), lines_of(function))
    assert_bounded(lines, LONG_FUNCTIONS, MAX_FUNCTION_LINES)


def test_each_ignored_warning_has_a_date_and_a_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^filterwarnings = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    lines = [line.strip() for line in block.splitlines()]
    assert lines[0] == '"error",'
    for above, line in itertools.pairwise(lines):
        if line.startswith('"ignore'):
            assert re.match(r"# 20\d\d-\d\d: \S", above), line


def test_the_hooks_of_pre_commit_are_what_ci_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (local,) = hooks["repos"]  # no other repository, with versions of its own
    assert local["repo"] == "local"
    commands = [hook["entry"].removeprefix(".venv/bin/") for hook in local["hooks"]]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert len(commands) == 3 and set(commands) <= set(ci)


@pytest.fixture(scope="module")
def metadata() -> dict:
    """What setup.py tells setuptools."""
    import setuptools

    told: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", told.update)
        runpy.run_path(str(ROOT / "setup.py"))
    return told


def test_the_tools_are_pinned(metadata):
    for tool in ("ruff", "mypy"):
        (wanted,) = (need for need in metadata["extras_require"]["dev"] if need.startswith(tool))
        assert re.fullmatch(rf"{tool}==[\d.]+", wanted)


def test_ci_runs_on_every_python_that_is_promised(metadata):
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["ci"]
    versions = re.findall(r"Python :: (3\.\d+)$", "\n".join(metadata["classifiers"]), re.MULTILINE)
    assert job["strategy"]["matrix"]["python"] == versions == ["3.11", "3.12", "3.13"]
    assert metadata["python_requires"] == ">=3.11,<3.14"
    assert job["steps"][-1] == {"run": ".ci/run"}


def test_metadata_say_who_what_and_under_which_license(metadata):
    for name in ("author", "description", "keywords", "project_urls", "license_expression"):
        assert metadata[name]
    statuses = [text for text in metadata["classifiers"] if text.startswith("Development Status")]
    assert len(statuses) == 1
    # PyPI refuses classifiers of licenses beside an expression.
    assert not [text for text in metadata["classifiers"] if text.startswith("License ::")]


def test_the_changelog_has_an_entry_of_this_version(metadata):
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == metadata["version"] and headings[1][1]


def test_assets_are_small_licensed_and_whole():
    folder = ROOT / "tests" / "assets"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    assert (folder / "bccd/LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    for split, count in (("train", 16), ("val", 8), ("test", 72)):
        names = (folder / f"bccd/ImageSets/Main/{split}.txt").read_text().split()
        assert len(names) == count
        for name in names:
            assert folder / f"bccd/JPEGImages/{name}.jpg" in files
            assert folder / f"bccd/Annotations/{name}.xml" in files
    assert {path.suffix for path in files} == {".jpg", ".xml", ".txt", ".md", ".xz", ""}
