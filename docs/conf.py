"""The documentation site: `sphinx-build --fail-on-warning --fresh-env docs build/site`.

Sphinx with MyST reads the same Markdown as GitHub shows. It was taken over mkdocs-material for its
upkeep: mkdocs 1 had its last release in 2024, and the theme ends with it. Nothing is fetched while
the site is built or read: furo takes the fonts of the reader's system.
"""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]
# Width of the commands' help; no lines about processors from TensorFlow; and for the notebooks'
# kernels, which are processes of their own, the same package.
os.environ |= {"COLUMNS": "88", "TF_CPP_MIN_LOG_LEVEL": "2"}
os.environ["PYTHONPATH"] = os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")])

from generate import PAGES, relinked  # noqa: E402
from sphinx.util import inspect  # noqa: E402

from keras_retinanet.version import __version__  # noqa: E402

project = "keras_retinanet"
author = "The keras_retinanet authors"
project_copyright = f"{author}. Apache-2.0"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["images"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
# Headings are link targets under GitHub's names.
myst_heading_anchors = 4

# Of the notebooks, the one without a training is run, for its pictures. A test runs all of them.
nb_execution_mode = "force"
nb_execution_excludepatterns = ["train_*", "fine_tune*", "export_*"]
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "remove"

# Docstrings are Google's, with single backticks around code.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_param = False  # "alpha, gamma: both of ..." is one line
napoleon_use_rtype = False
autodoc_inherit_docstrings = False  # not those of Keras
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
add_module_names = False
toc_object_entries = False
python_display_short_literal_types = True

html_theme = "furo"
html_title = "keras_retinanet"
smartquotes_action = "D"  # dashes alone: quotes are part of values
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b6e5f",
        "color-brand-content": "#0b6e5f",
        "color-api-name": "#0b6e5f",
        "color-api-pre-name": "#0b6e5f",
    },
    "dark_css_variables": {
        "color-brand-primary": "#5fd3bd",
        "color-brand-content": "#5fd3bd",
        "color-api-name": "#5fd3bd",
        "color-api-pre-name": "#5fd3bd",
    },
}


def _complete(app, name, content):
    """Puts generated parts in place of their marks, and links of the repository on pages here."""
    text = relinked(content[0], DOCS)
    for mark, page in PAGES.items():
        if mark in text:
            text = text.replace(mark, page())
    content[0] = text


def _signature(app, what, name, obj, options, signature, return_annotation):
    """Shows what a Keras class takes: of its base class alone Sphinx would see *args, **kwargs."""
    if what != "class":
        return None
    own = inspect.signature(obj.__init__, bound_method=True)
    return inspect.stringify_signature(own, show_return_annotation=False), None


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _signature)
    app.connect("source-read", _complete)
