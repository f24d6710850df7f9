"""label_map.pbtxt: the published forms, round trips, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_retinanet.data.sources.label_map import LabelMap, label_map_text, read_label_map
from keras_retinanet.errors import UserError

# As object_detection/data has them: comments, either quotes, display names, nested fields.
PUBLISHED = """# COCO
item {
  name: "/m/01g317"
  id: 3
  display_name: "person"
  keypoints { id: 2 label: "nose" }
}
item: { id: 1, name: 'bi"cycle é' }
"""


def parsed(folder, text, name="label_map.pbtxt"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_label_map(path)


def test_published_forms(tmp_path):
    found = parsed(tmp_path, PUBLISHED)
    assert (found.names, found.ids) == (['bi"cycle é', "person"], [1, 3])
    assert found.by_text == {"person": 1, "/m/01g317": 1, 'bi"cycle é': 0}


def test_labels_txt_counts_from_one(tmp_path):
    found = parsed(tmp_path, "cat\n\ndog\n", "labels.txt")
    assert found == LabelMap(["cat", "dog"], [1, 3], {"cat": 0, "dog": 1})


@settings(deadline=None)
@given(names=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, unique=True))
def test_round_trip(tmp_path_factory, names):
    ids = [2 * number + 1 for number in range(len(names))]
    found = parsed(tmp_path_factory.mktemp("map"), label_map_text(names, ids))
    assert (found.names, found.ids) == (names, ids)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "item {",
        "words",
        "item { id: 1 name: 'a' } item { id: 1 name: 'b' }",
        "item { id: 1 name: 'a' } item { id: 2 name: 'a' }",
        "item { id: 1 }",
        "item { id: 99999999999999999999 name: 'a' }",
        "item { " + "deep { " * 100_000,
    ],
)
def test_what_is_no_label_map_is_named(tmp_path, text):
    with pytest.raises(UserError, match=r"label_map\.pbtxt"):
        parsed(tmp_path, text)
