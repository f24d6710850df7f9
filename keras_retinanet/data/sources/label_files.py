"""Which label file belongs to which image, where names need not be the same.

A key is the path of a file below its folder, without the suffix.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from keras_retinanet.config import DataConfig
from keras_retinanet.data.names import fold, without_hash
from keras_retinanet.data.problems import Problems
from keras_retinanet.errors import UserError, listed
from keras_retinanet.files.names import name_key

# From here on, images without a label file and label files without an image are no accident.
MIN_UNMATCHED, MIN_UNMATCHED_SHARE = 2, 0.05
SHOWN_NAMES = 2


def _bare(key: str) -> str:
    folder, slash, name = fold(key).rpartition("/")
    return folder + slash + without_hash(name)


def _last(key: str) -> str:
    return fold(key).rpartition("/")[2]


# Ways to compare an image's key with a label's: the same, the same name, in another case, one with
# a tool's prefix, one in a folder where the other is in none.
_WAYS: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (str, str),
    (name_key, name_key),
    (fold, fold),
    (fold, _bare),
    (_bare, fold),
    (_last, fold),
    (fold, _last),
)


def match_names(pictures: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
    """Return the key of each image that has a label file -> the key of that file.

    Equal keys match first; of the others only those that one image and one file alone share.
    """
    left, unused = dict.fromkeys(pictures), dict.fromkeys(labels)
    matched: dict[str, str] = {}
    for picture_key, label_key in _WAYS:
        wanted, found = _grouped(left, picture_key), _grouped(unused, label_key)
        for key in wanted.keys() & found.keys():
            if len(wanted[key]) == len(found[key]) == 1:
                matched[wanted[key][0]] = found[key][0]
        left = dict.fromkeys(key for key in left if key not in matched)
        unused = dict.fromkeys(unused.keys() - set(matched.values()))
        if not left or not unused:
            break
    return matched


def _grouped(keys: Iterable[str], way: Callable[[str], str]) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for key in keys:
        groups[way(key)].append(key)
    return groups


def note_renamed(matched: dict[str, str], problems: Problems) -> None:
    """Count the pairs that are not called alike."""
    for picture, label in sorted(matched.items()):
        if name_key(picture) != name_key(label):
            problems.note("label file of another name", f"{label} for {picture}")


def refuse_unmatched(
    pictures: Sequence[str], labels: Sequence[str], *, count: int, config: DataConfig, where: str
) -> None:
    """Raise a `UserError` if many images and many label files found no match.

    Args:
        pictures, labels: the names of those without one.
        count: the number of all images.
        where: the data set, for the message.
    """
    unmatched = min(len(pictures), len(labels))
    if config.unmatched == "accept" or unmatched < max(MIN_UNMATCHED, MIN_UNMATCHED_SHARE * count):
        return
    raise UserError(
        f"Expected label files called as their images. Received: {where}, where {len(pictures)} of "
        f"{count} images have no label file ({listed(pictures, limit=SHOWN_NAMES)}) and "
        f"{len(labels)} label files have no image ({listed(labels, limit=SHOWN_NAMES)}). Rename "
        "one or the other, or read them all the same with --unmatched accept."
    )
