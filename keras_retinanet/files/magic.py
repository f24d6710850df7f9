"""The first bytes of the containers that files come in; those of images are in `data.images`."""

ZIP = b"PK\x03\x04"
GZIP = b"\x1f\x8b"
HDF5 = b"\x89HDF\r\n\x1a\n"
# Not at the start of the file.
TAR = b"ustar"
TAR_PLACE = 257


def is_archive(head: bytes | memoryview) -> bool:
    """Return whether a file that begins with `head` is a `.gz` or a `.tar`."""
    return head[:2] == GZIP or head[TAR_PLACE : TAR_PLACE + len(TAR)] == TAR
