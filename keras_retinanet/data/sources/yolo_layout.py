"""Where the parts of a YOLO dataset lie: its data.yaml read safely, its places found."""

import glob
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keras_retinanet.config import DataConfig
from keras_retinanet.data.names import split_word
from keras_retinanet.data.regular_files import find_folder, matching
from keras_retinanet.data.sources.folders import is_inside
from keras_retinanet.data.sources.source_files import excerpt, pictures_by_stem, text_lines
from keras_retinanet.data.sources.yolo_labels import PICTURES
from keras_retinanet.errors import UserError, shown
from keras_retinanet.files.names import stored_path
from keras_retinanet.files.text_files import TextLoader, parse_yaml, read_yaml_text

DEFAULT_DIR = "data/yolo"
YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
# Darknet's: `train = data/train.txt`, `valid = ...`, `names = data/obj.names`.
DARKNET_FILE = "*.data"
# A class a line.
CLASS_FILES = ("classes.txt", "labels/classes.txt", "*.names", "*/_darknet.labels")
# Files of other names or places.
OTHER_YAML_FILES = ("*.yaml", "*.yml")
OTHER_CLASS_FILES = ("*/classes.txt", "*/labels/classes.txt")
SPLITS = ("train", "val", "valid", "validation", "test")
# Exports name a test part even where there is none.
OPTIONAL_SPLIT = "test"
_SURROGATE = re.compile("[\ud800-\udfff]")
NOTHING = ("", "null", "~")
LAYOUT = (
    f"data.yaml with train, val and names; or {CLASS_FILES[0]}, images/*.jpg and labels/*.txt; or "
    "Darknet's obj.data and obj.names"
)


@dataclass(frozen=True)
class Layout:
    """A dataset's parts.

    Attributes:
        folder: nothing outside is read, unless `allow_outside`; `root`: what places are below.
        names: class number -> name.
        places: split -> folders, or txt files that list images; empty without splits.
        has_keypoints: rows are boxes with key points, not outlines.
    """

    folder: Path
    root: Path
    names: dict[int, str]
    places: dict[str, list[str]] = field(default_factory=dict)
    has_keypoints: bool = False
    allow_outside: bool = False


def find_layout(config: DataConfig) -> Layout:
    """Return the layout that `config.annotations` (a YAML) or `config.data_dir` has.

    Raises:
        UserError: there is none, or its YAML is cut off or of another form.
    """
    if config.annotations is not None:
        file = Path(config.annotations)
        return _from_yaml(file, Path(config.data_dir or file.parent), config)
    folder = Path(config.data_dir or DEFAULT_DIR)
    for read, patterns in (
        (_from_yaml, YAML_FILES),
        (_from_darknet, (DARKNET_FILE,)),
        (_from_class_file, CLASS_FILES),
        (_from_yaml, OTHER_YAML_FILES),
        (_from_class_file, OTHER_CLASS_FILES),
    ):
        for file in (file for pattern in patterns for file in matching(folder, pattern)):
            return read(file, folder, config)
    raise UserError(
        f"Expected a YOLO data set: {LAYOUT}. Received: data_dir={folder}, without them. Point "
        "--data_dir at one, or name the YAML with --annotations FILE."
    )


def resolve(layout: Layout, text: str) -> Path:
    """Return the folder or list that `text` of the YAML means.

    Below `path`, as written; else without a leading "../", as Ultralytics does for Roboflow's
    exports; else below the YAML's folder, where a dataset ends up that has been moved: there also
    by the end of the path, in any case.

    Raises:
        UserError: none of these is there and inside the dataset's folder.
    """
    found = _look_up(layout, text)
    if found is None:
        raise UserError(
            f"Expected a folder of images, or a list of them, inside {layout.folder}. "
            f"Received: {excerpt(text)}, which is not there. Fix path, train, val or test of the "
            "YAML, or read outside of that folder with --set data.allow_outside=true."
        )
    return found


def _look_up(layout: Layout, text: str) -> Path | None:
    plain = text.replace("\\", "/")
    names = [plain] if not plain.startswith("../") else [plain, plain.removeprefix("../")]
    for root in (layout.root, layout.folder):
        for name in names:
            path = Path(stored_path(str(root / name)))
            # Unlike Path.exists, this is False for a name that is too long for any file.
            if (layout.allow_outside or is_inside(layout.folder, path)) and os.path.exists(path):
                return path
    return _end_of(layout.folder, plain)


def _end_of(folder: Path, name: str) -> Path | None:
    """Return what the longest end of a path means below `folder`, in any case.

    A split's name is no part that may be lost: the images of another one lie there.
    """
    words = [word for word in name.split("/") if word not in ("", ".", "..")]
    for start in range(len(words)):
        end = words[start:]
        if any(map(split_word, words[:start])) and not any(map(split_word, end)):
            return None
        if found := matching(folder, glob.escape("/".join(end))):
            return found[0]
    return None


def _class_lines(file: Path) -> dict[int, str]:
    lines = text_lines(file, "a class name a line")
    return {number: text.strip() for number, (_, text) in enumerate(lines)}


def _from_class_file(file: Path, folder: Path, config: DataConfig) -> Layout:
    """Return the layout without a YAML: a split for each folder below images/, if there are.

    Or for each folder that is called as a split.
    """
    images = find_folder(folder, *PICTURES)
    above = images or folder
    parts = [] if pictures_by_stem(above) else filter(Path.is_dir, matching(above, "*"))
    if images is None:
        parts = [path for path in parts if split_word(path.name)]
    places = {path.name: [path.relative_to(folder).as_posix()] for path in parts}
    return Layout(folder, folder, _class_lines(file), places, allow_outside=config.allow_outside)


def _from_darknet(file: Path, folder: Path, config: DataConfig) -> Layout:
    """Return the layout that Darknet's .data file has, as CVAT and FiftyOne write it."""
    pairs = [text.partition("=") for _, text in text_lines(file, "lines of key = value")]
    values = {key.strip().lower(): value.strip() for key, _, value in pairs}
    names = _end_of(folder, values.get("names", "").replace("\\", "/"))
    places = {key: [value] for key, value in values.items() if split_word(key) and value}
    if names is None or not places:
        raise UserError(
            f"Expected train and names in Darknet's form. Received: {file}, with "
            f"{', '.join(key for key in values if key) or 'nothing'}. Put both files beside it."
        )
    layout = Layout(folder, folder, _class_lines(names), places, False, config.allow_outside)
    return replace(layout, places={k: v for k, v in places.items() if _look_up(layout, v[0])})


def _from_yaml(file: Path, folder: Path, config: DataConfig) -> Layout:
    content = {str(key).lower(): value for key, value in _read_yaml(file).items()}
    places = {name: _texts(content.get(name, ""), name, file) for name in SPLITS}
    path = content.get("path", "")
    if not isinstance(path, str) or "\0" in path:
        raise _wrong(file, "path", path)
    layout = Layout(
        folder,
        folder if path in NOTHING else folder / path,
        _class_names(content, file),
        {name: texts for name, texts in places.items() if texts},
        "kpt_shape" in content,
        config.allow_outside,
    )
    if not any(_look_up(layout, text) for text in layout.places.get(OPTIONAL_SPLIT, [])):
        layout.places.pop(OPTIONAL_SPLIT, None)
    if not layout.places:
        raise _wrong(file, "train, val", "none of them")
    return layout


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(read_yaml_text(file), str(file), loader=TextLoader)
    except UserError as error:
        raise UserError(f"{error} Fix it.") from error
    if not isinstance(content, dict):
        raise UserError(
            "Expected YAML with train, val and names. "
            f"Received: {file}, line 1: no mapping. Fix it."
        )
    return content


def _texts(value: Any, key: str, file: Path) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and "\0" not in text for text in values):
        raise _wrong(file, key, value)
    return [text for text in values if text not in NOTHING]


def _class_names(content: dict[str, Any], file: Path) -> dict[int, str]:
    names = content.get("names")
    by_key = dict(enumerate(names)) if isinstance(names, list) else names
    pairs = by_key.items() if isinstance(by_key, dict) else ()
    try:
        numbered = {int(key): name for key, name in pairs}
    except ValueError:
        numbered = {}
    if not numbered or not all(map(_is_name, numbered.values())):
        raise _wrong(file, "names", names)
    if "nc" in content and content["nc"] != str(len(numbered)):
        raise _wrong(file, f"nc: {len(numbered)}, as many as names", content["nc"])
    return dict(sorted(numbered.items()))


def _is_name(name: Any) -> bool:
    """Whether `name` is a text that UTF-8 can write: YAML's escapes can also make other ones."""
    return isinstance(name, str) and bool(name) and not _SURROGATE.search(name)


def _wrong(file: Path, key: str, value: Any) -> UserError:
    return UserError(
        "Expected train, val, test: a folder, a list of images, or several; names: the class "
        f"names, by number; nc: how many. Received: {file}, {key}: {shown(value)}. Fix it."
    )
