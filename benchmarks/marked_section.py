"""Replace a section of a page that a benchmark writes, between two comments."""

from pathlib import Path

from keras_retinanet.files import atomic_write


def replace_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between "<!-- NAME -->" and "<!-- end of NAME -->" in `page`."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = page.read_text(encoding="utf-8").split(start)
    with atomic_write(page) as stream:
        stream.write(f"{before}{start}\n\n{text.strip()}\n\n{end}{rest.split(end)[1]}")
