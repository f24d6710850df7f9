"""The image formats that are read: how their files begin and how their names end."""

# First bytes -> format. What a file holds is told by these, never by its name.
SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"RIFF": "WEBP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF, for more than 4 GB
}
# Format -> suffixes, the usual one first.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}
# What a folder is searched for.
IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def image_format(start: bytes) -> str | None:
    """Return the format of a file by its first bytes, 12 or more; None for no such format."""
    kind = next((kind for first, kind in SIGNATURES.items() if start.startswith(first)), None)
    # Other files of the RIFF family are sound and video.
    return None if kind == "WEBP" and start[8:12] != b"WEBP" else kind
