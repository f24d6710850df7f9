"""When two names mean the same thing: letter case, a tool's prefix, the words for a split.

Every comparison of the names of files, folders and splits goes through here.
"""

import re

from keras_retinanet.files.names import name_key

# Label Studio writes eight hexadecimal digits and a hyphen before the name of an uploaded image.
# Eight digits that are a date are the user's own.
_HASH = re.compile(r"(?!(?:19|20)\d{6}-)[0-9a-f]{8}-(?=.)", re.IGNORECASE)
_YEAR = re.compile(r"\d{4}$")
# The words for a split -> its usual one.
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def fold(name: str) -> str:
    """Return what two names that differ only in case, or in Unicode's form, have in common."""
    return name_key(name).lower()


def without_hash(name: str) -> str:
    """Return `name` without the prefix that Label Studio puts before it."""
    return _HASH.sub("", name, count=1)


def split_word(name: str) -> str | None:
    """Return train, val or test for a name of that split, such as Train, valid or val2017."""
    return SPLIT_WORDS.get(_YEAR.sub("", name.lower()))


def split_in(name: str) -> str | None:
    """Return the word for a split that a file's name has, such as train of raccoon_train_labels."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if split_word(word)]
    return words[0] if len(words) == 1 else None
