"""The documentation: nothing is left out of it. That it builds without a warning, CI shows."""

import hashlib
import importlib
import json
import re
from pathlib import Path

import pytest

import keras_retinanet
from keras_retinanet.checkpoints.built_in import built_in_models
from keras_retinanet.checkpoints.catalogue_file import catalogue
from keras_retinanet.config import Config
from keras_retinanet.config.files import config_names, dotted_keys
from keras_retinanet.config.reference import recipe_facts

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generate():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        return importlib.import_module("generate")


def toctree_entries(page: Path) -> set[str]:
    trees = re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.strip() for tree in trees for line in tree.splitlines()]
    return {line for line in lines if line and not line.startswith(":")}


def test_the_navigation_lists_every_page_and_notebook_once():
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert toctree_entries(DOCS / "index.md") == pages
    notebooks = {f"notebooks/{file.stem}" for file in DOCS.glob("notebooks/*.ipynb")}
    assert toctree_entries(DOCS / "notebooks.md") == notebooks
    assert len(notebooks) == 4


def test_every_option_has_an_entry_with_a_text_and_its_default(generate):
    text = generate.configuration()
    listed = re.findall(r"```\{confval\} (\S+)", text)
    sections = {name for name, _ in generate.sections()}
    assert sorted(listed) == sorted(set(dotted_keys(Config)) - sections)
    options = [o for name, section in generate.sections() for o in generate.options(section, name)]
    assert [option.name for option in options if not option.text] == []
    defaults = {option.name: option.default for option in options}
    assert defaults["model.anchors.sizes"] == "[32, 64, 128, 256, 512]"
    assert defaults["train.optimizer.learning_rate"] == "0.01"
    assert defaults["data.data_dir"] == "null" and defaults["model.backbone.freeze_bn"] == "true"
    kinds = {option.name: option.kind for option in options}
    assert kinds["model.fpn.p6_from"] == "`c5` or `p5`"
    assert kinds["model.head.prior"] == "number, over 0, below 1"
    assert kinds["model.anchors.sizes"] == "5 numbers, over 0, up to 1000000"
    assert kinds["model.detections.pre_nms_top_k"] == "integer, over 0, up to 2147483647; or none"
    texts = {option.name: option.text for option in options}
    assert texts["data.split"].startswith("Split to train on; none: ")
    assert kinds["model.detections.max_detections"] == "integer, over 0, up to 65536; or `auto`"


def test_recipes_and_commands_are_listed_as_they_are(generate):
    names = re.findall(r"^\| `(\w+)` \|", generate.recipes(), re.MULTILINE)
    assert names == sorted(config_names())
    assert "| 4.2 min |" in generate.recipes()
    commands = re.findall(r"^## (.+)$", generate.commands(), re.MULTILINE)
    assert {"train", "evaluate", "predict", "export", "dataset doctor"} <= set(commands)


def test_page_of_recipes_and_options_is_current(generate):
    """It is committed, for readers without the site: `python docs/generate.py` writes it."""
    text = generate.LISTS.read_text(encoding="utf-8")
    assert text == generate.lists()
    assert "| `train.batch_size` | `16` | Number of images per step" in text
    assert all(line.count(" | ") == 2 for line in text.splitlines() if line.startswith("| `train."))


def test_the_model_zoo_is_current_and_has_every_model(generate):
    text = generate.ZOO.read_text(encoding="utf-8")
    assert text == generate.zoo()
    for model in built_in_models().values():
        digest = hashlib.sha256(model.path.read_bytes()).hexdigest()
        assert f"| SHA-256 | `{digest}` |" in text
        assert f"| test | AP {model.metadata['AP_test']}, " in text
    for entry in catalogue().values():
        assert f"| [{entry.name}]({entry.address}) | {entry.family} |" in text
        assert f"| {entry.backbone} | {entry.figure} |" in text
        assert f"License: {entry.license}." in text
    ran = [name for name, facts in recipe_facts().items() if facts["AP"][:7] != "not run"]
    assert "bccd" in ran and "shapes" in ran
    assert all(f"| `{name}` | `keras_retinanet train" in text for name in ran)


def test_links_out_of_docs_lead_to_the_pages_that_show_those_files(generate):
    text = "[a](../export/README.md#letterbox) [b](data.md) [c](https://x.org/a.md) [d](#here)"
    expected = "[a](applications.md#letterbox) [b](data.md) [c](https://x.org/a.md) [d](#here)"
    assert generate.relinked(text, DOCS) == expected
    assert generate.relinked("[a](docs/data.md)", DOCS.parent) == "[a](data.md)"


def test_the_api_page_has_every_public_name():
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. auto\w+:: (\w+)$", text, re.MULTILINE))
    assert named == set(keras_retinanet.__all__) - {"__version__"}


@pytest.mark.parametrize("file", sorted(DOCS.glob("notebooks/*.ipynb")), ids=lambda f: f.stem)
def test_notebooks_are_kept_without_outputs(file):
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code and not any(cell["outputs"] or cell["execution_count"] for cell in code)


def test_nothing_installs_the_other_project_of_the_same_name():
    """PyPI's keras-retinanet is not this package: only a clone or an archive installs it."""
    root = DOCS.parent
    files = [*root.glob("keras_retinanet/**/*.py"), *root.glob("*.md"), *root.glob("export/*.md")]
    files += [*DOCS.glob("*.md"), *DOCS.glob("notebooks/*.ipynb")]
    install = re.compile(r"""pip install [^`\n]*["' ]keras[-_]retinanet\b""")
    found = [file.name for file in files if install.search(file.read_text(encoding="utf-8"))]
    assert len(files) > 250
    assert found == []
