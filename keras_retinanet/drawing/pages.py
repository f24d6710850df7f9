"""Pages that hold all they show: they need no file and no network beside them.

Their charts are matplotlib's SVG text, in colors that the page's style may change, and letters in
its font.
"""

import base64
import hashlib
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

# The page's colors in its light dress -> the names that its style gives them.
INK, FAINT, GRID = "#1f2933", "#52606d", "#e4e7eb"
BLUE, AMBER, RED = "#2f6fb5", "#e0a030", "#c8433a"
COLOR_NAMES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    GRID: "var(--line)",
    BLUE: "var(--blue)",
    AMBER: "var(--amber)",
    RED: "var(--red)",
}
# In inches of 72 units: at this size a card of the page shows letters of 9 pixels and more, on a
# telephone too.
CHART_SIZE = (5.0, 3.0)
CHART_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "page",  # the same page for the same data
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "legend.frameon": False,
}


def chart_figure() -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes; draw within `chart_style()`."""
    figure = Figure(figsize=CHART_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(length=0, pad=5)
    return figure, axes


def chart_style() -> Any:
    """Return the context in which charts are drawn and written."""
    return matplotlib.rc_context(CHART_STYLE)


def chart_svg(figure: Figure) -> Markup:
    """Return a figure as an SVG element, without a date and with the page's colors by name."""
    figure.patch.set_alpha(0)
    stream = io.StringIO()
    with warnings.catch_warnings():
        # Matplotlib's font only measures the text; the page shows it in its reader's fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    text = stream.getvalue()
    for color, name in COLOR_NAMES.items():
        text = text.replace(color, name)
    return Markup(text[text.index("<svg") :])


def picture_uri(image: np.ndarray, *, side: int, quality: int) -> str:
    """Return an image (H, W, 3) uint8 as the data URI of a JPEG, no side over `side`."""
    small = Image.fromarray(image)
    small.thumbnail((side, side))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _with_code(text: str) -> Markup:
    """Return escaped `text` with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def render_page(template: str, values: Mapping[str, Any], *, scripts: Sequence[str] = ()) -> str:
    """Fill in a page of `templates/`.

    What `values` holds is escaped, for names come from files that anyone may have written. The
    template gets `scripts`, the texts of the files named, and `policy`, by which a browser runs
    these alone and fetches nothing.
    """
    environment = Environment(
        loader=PackageLoader("keras_retinanet.drawing"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _with_code
    environment.filters["themed"] = lambda color: COLOR_NAMES.get(color, color)
    loader = environment.loader
    texts = [loader.get_source(environment, name)[0] for name in scripts] if loader else []
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src 'unsafe-inline'; script-src {allowed}"
    )
    own = {"policy": Markup(policy), "scripts": [Markup(text) for text in texts]}
    return environment.get_template(template).render({**values, **own})
