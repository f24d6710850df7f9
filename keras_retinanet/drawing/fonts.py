"""Fonts for labels: class names come in every script, and no font has the letters of all."""

import functools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from PIL import ImageFont

from keras_retinanet.errors import listed

# A font so styled is taken only where no plain one has the letters.
_STYLED = re.compile("bold|italic|oblique|mono|serif|condensed|black|thin|light", re.IGNORECASE)
# Has every code point, but as one box of its script.
_BOXES_ALONE = "lastresort"


def font_files() -> list[str]:
    """Return the fonts to try after Pillow's: Matplotlib's own first, then the machine's."""
    # Imported here: Matplotlib takes a second, and Pillow's font has the letters of English.
    import matplotlib
    from matplotlib import font_manager

    packaged = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    others = [path for path in font_manager.findSystemFonts() if _BOXES_ALONE not in path.lower()]
    others.sort(key=lambda path: (bool(_STYLED.search(os.path.basename(path))), path))
    return [str(packaged), *others]


class Fonts:
    """Finds a font with all letters of a text; each file is read once.

    Args:
        files: gives the font files to try, the best first; called once a text needs them.
    """

    def __init__(self, files: Callable[[], Sequence[str]] = font_files):
        self._files = functools.cache(files)
        self._letters = functools.cache(_letters)
        self._chosen = functools.cache(self._choose)
        self._told: set[tuple[str, ...]] = set()

    def font(self, text: str, size: int) -> ImageFont.FreeTypeFont:
        """Return a font of `size` pixels with all letters of `text`, else Pillow's own."""
        file = self._chosen(frozenset(text))
        return _load(file or "", size)

    def drawn_names(self, class_names: Sequence[str]) -> list[str]:
        """Return what to draw for each class: its name, or its number where no font has it.

        The numbers are printed with their names, once for each list of names.
        """
        lacking = [i for i, name in enumerate(class_names) if self._chosen(frozenset(name)) is None]
        key = tuple(class_names)
        if lacking and key not in self._told:
            self._told.add(key)
            legend = listed([f"{i + 1} = {class_names[i]}" for i in lacking], limit=len(lacking))
            print(
                f"No font here has the letters of {len(lacking)} class names, which are drawn as "
                f"their numbers: {legend}. Install a font that has them, such as Noto Sans CJK."
            )
        numbers = {i: f"class {i + 1}" for i in lacking}
        return [numbers.get(i, name) for i, name in enumerate(class_names)]

    def _choose(self, letters: frozenset[str]) -> str | None:
        """Return the file that has `letters`; "" for Pillow's font, None where there is none."""
        # What has no ink of its own, such as joiners, is not looked for.
        codes = {ord(letter) for letter in letters if letter.isprintable() and letter != " "}
        if "".join(letters).isascii() or codes <= _default_letters():
            return ""
        return next((file for file in self._files() if codes <= self._letters(file)), None)


@functools.cache
def machine_fonts() -> Fonts:
    """Return the fonts of this machine."""
    return Fonts()


@functools.lru_cache(maxsize=64)
def _load(file: str, size: int) -> ImageFont.FreeTypeFont:
    # Always FreeType where a size is given.
    default = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=size))
    return ImageFont.truetype(file, size) if file else default


@functools.cache
def _default_letters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(_load("", 10).path).get_charmap())


def _letters(file: str) -> frozenset[int]:
    """Return the code points of a font that can be drawn at any size; none if it cannot."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(file)
        ImageFont.truetype(file, 10)
    except (OSError, RuntimeError):
        return frozenset()
    # Fonts of bitmaps, as those of colored emoji are, have sizes of their own.
    return frozenset(font.get_charmap()) if font.scalable else frozenset()
