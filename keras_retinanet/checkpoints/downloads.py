"""A file of the catalogue -> a verified file in the cache."""

from pathlib import Path

from keras_retinanet.checkpoints.catalogue_file import Entry
from keras_retinanet.files import downloads


def cached_path(entry: Entry, cache: Path | None = None) -> Path:
    """Return where the file of `entry` lies, or would lie."""
    return (cache or downloads.cache_folder()) / entry.file


def fetch(entry: Entry, *, cache: Path | None = None, progress: bool = True) -> Path:
    """Return the verified file of `entry`, downloading what is missing of it.

    Args:
        cache: folder (default `cache_folder()`). A file put there by hand is verified too.
        progress: draw a bar where standard error is a terminal.

    Raises:
        UserError: as of `files.downloads.fetch`.
    """
    return downloads.fetch(entry.download, cache or downloads.cache_folder(), progress=progress)
