"""The words that must not return to comments, docstrings, messages, help and documentation.

Identifiers, keys, flags, file names and code are exempt: they are no prose.
"""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from keras_retinanet.data.problems import KINDS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_retinanet"

# Pattern of a word -> what the field says instead.
WORDS = {
    r"trunks?": "backbone",
    r"whole numbers?": "integer",
    r"anew": "again",
    r"(?:go|goes|going|went|gone) on": "resume, or continue",
    r"mend(?:s|ed|ing)?": "fix",
    r"so many(?: of)?": "up to N, or the number of",
    r"(?<!ground )(?<!ground-)truths?": "ground truth",
    r"licences?": "license",
    r"pictures?|pictured": "image",
    r"colour\w*": "color",
    r"grey\w*": "gray",
    r"centre\w*": "center",
    r"(?:neighbour|behaviour|favour|honour)\w*": "-or",
    r"labelling|labelled|modelling|artefacts?": "labeling, labeled, modeling, artifact",
    r"(?:normal|recogn|summar|optim|organ|maxim|minim|initial|general|serial|quant|visual|random"
    r"|synchron|standard|util|special|penal|discret|final|character|real)is(?:e|ed|es|er|ers|ing"
    r"|ation|ations)": "-ize",
    r"analys(?:e|ed|es(?= the)|ing)": "analyze",
}
PATTERN = re.compile(rf"(?<![\w-])(?:{'|'.join(WORDS)})(?![\w-])", re.IGNORECASE)

# What may stand where it stands: a part of the text, with the word in it.
ALLOWED = (
    "what goes on in",
    "goes on to pytest",
    '"unreadable picture" or "huge picture"',
    "(?P<picture>",
)

# Keys of files that runs, conversions and the doctor write: they stay as they are.
PROBLEM_KINDS = {*KINDS, *KINDS.values(), "empty pictures", "turned pictures", "unlisted pictures"}

# Pages whose rows are those kinds.
EXEMPT = {"docs/faults.md"}

# Modules of `commands` that are a room of their own here.
DETECTING = ("detecting.py", "predict.py", "passes.py", "evaluate.py")

# Code in prose: quoted, a flag, a path, a dotted or joined name, a setting, an address.
CODE = re.compile(
    r"```.*?```|``.+?``|`[^`]*`|\]\([^)]*\)|\S*(?:--|[_/=\\]|\w\.\w)\S*"
    r"|(?<=\n) +\w+(?:, \w+)*: ",  # the arguments of a docstring
    re.DOTALL,
)


def prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of the comments, docstrings and strings of several words in a module."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    parts = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr == "split":  # a list of names
            parts.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            constants = [part for part in node.values if isinstance(part, ast.Constant)]
            parts |= set(map(id, constants))
            # A value stands for a word of its own.
            yield (
                node.lineno,
                "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = "" if id(node) in parts or is_key(node.value) else node.value
            yield from [(node.lineno, text)] if " " in text else []


def is_key(text: str) -> bool:
    """Whether `text` is a kind of problem, as files of runs and reports have it, or only names."""
    words = text.split()
    is_names = any("_" in word for word in words) and all(word.isidentifier() for word in words)
    return is_names or text in PROBLEM_KINDS


def prose_of_markdown(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of a page's prose: code blocks are left blank."""
    blank = re.sub(r"```.*?```", lambda code: "\n" * code[0].count("\n"), text, flags=re.DOTALL)
    yield 1, blank


def prose_of_notebook(text: str) -> Iterator[tuple[int, str]]:
    """Yield (cell, text) of the texts of a notebook and the comments and strings of its code."""
    for number, cell in enumerate(json.loads(text)["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield number, source
        else:
            yield number, "\n".join(re.findall(r"# .*", source))


def prose_of_script(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of the comments of a shell script or YAML file, and what it prints."""
    for number, line in enumerate(text.splitlines(), 1):
        comment = re.search(r"#.*", line)
        if comment or "echo" in line:
            yield number, comment[0] if comment else line


READERS = {
    ".py": prose_of_python,
    ".md": prose_of_markdown,
    ".ipynb": prose_of_notebook,
    ".yaml": prose_of_script,
    "": prose_of_script,
}


def rooms() -> dict[str, list[Path]]:
    """Return name -> files of the rooms of the package and of what stands beside it."""
    named = {path.name: sorted(path.rglob("*.py")) for path in PACKAGE.iterdir() if path.is_dir()}
    named = {name: files for name, files in named.items() if files}
    named["commands/detecting"] = [PACKAGE / "commands" / name for name in DETECTING]
    named["commands"] = [path for path in named["commands"] if path.name not in DETECTING]
    named["top"] = sorted(PACKAGE.glob("*.py"))
    named["docs"] = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("notebooks/*")])
    for name in ("docs/faults.md", "docs/generate.py"):
        named[name] = [ROOT / name]
    named["docs"].remove(ROOT / "docs" / "faults.md")
    named["pages"] = sorted(ROOT.glob("*.md"))
    named["scripts"] = sorted([*(ROOT / "bin").iterdir(), ROOT / ".ci" / "run"])
    for name in ("export", "benchmarks"):
        named[name] = sorted([*(ROOT / name).glob("*.md"), *(ROOT / name).glob("*.py")])
    named["configs"] = sorted((ROOT / "configs").glob("*.yaml"))
    return named


def forbidden(text: str, suffix: str) -> list[str]:
    """Return "line: word, in its surroundings" of every forbidden word of a file's text."""
    lines = []
    for start, prose in READERS[suffix](text):
        plain = " ".join(CODE.sub(" ", prose).split())
        for match in PATTERN.finditer(plain):
            where = plain[max(0, match.start() - 30) : match.end() + 30]
            if not any(allowed in where for allowed in ALLOWED):
                lines.append(f"{start}: {match[0]!r} in {where!r}")
    return lines


@pytest.mark.parametrize("room", sorted(set(rooms()) - EXEMPT))
def test_prose_has_the_words_of_the_field(room):
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in rooms()[room]
        if path.suffix in READERS
        for line in forbidden(path.read_text(encoding="utf-8"), path.suffix)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("suffix", "text", "words"),
    [
        (".py", '"""Draw a picture."""\n', ["picture"]),
        (".py", "# The trunk\npicture = pictures['picture']\n", ["trunk"]),
        (".py", 'print(f"{n} pictures go on")\n', ["pictures", "go on"]),
        (".py", 'add("--pictures", help="ground truth of `pictures`")\n', []),
        (".md", "The truth.\n```\ntrunk\n```\n[a](licence.md) in `colour`", ["truth"]),
        ("", "# go\nno comment on a picture\necho grey\n", ["grey"]),
    ],
)
def test_words_are_found_in_prose_alone(suffix, text, words):
    assert [line.split("'")[1] for line in forbidden(text, suffix)] == words
