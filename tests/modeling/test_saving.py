"""One self-contained file: what goes in comes out, and what is not ours is refused in one line."""

import io
import json
import random
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config import (
    BackboneConfig,
    Config,
    FPNConfig,
    HeadConfig,
    ModelConfig,
    TrainConfig,
)
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import load, save_model
from keras_retinanet.training.building import provenance

CONFIG = ModelConfig(
    backbone=BackboneConfig("resnet18"),
    fpn=FPNConfig(channels=16, norm="batch_norm"),
    head=HeadConfig(channels=16, depth=1, norm="batch_norm"),
)
IMAGES = np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype("float32")


@pytest.fixture(scope="module")
def trained():
    """A model after one step, so that statistics and slots are not what they started as."""
    model = RetinaNet(CONFIG, ["cat", "ñandú"], class_ids=[7, 90], metadata={"license": "MIT"})
    model.compile()
    labels = {
        "boxes": np.array([[[10, 10, 60, 60]]], "float32"),
        "classes": np.array([[1]]),
        "ignore": np.array([[False]]),
    }
    data = tf.data.Dataset.from_tensors((IMAGES, labels))
    model.fit(data, verbose=0, shuffle=False)
    return model


def assert_same(one, other):
    for name, value in one(IMAGES, training=False).items():
        np.testing.assert_array_equal(value, other(IMAGES, training=False)[name])


@pytest.mark.long
def test_round_trip(trained, tmp_path):
    save_model(trained, tmp_path / "model.keras")
    loaded = load(tmp_path / "model.keras")
    assert_same(trained, loaded)
    assert loaded.config == trained.config
    assert (loaded.class_names, loaded.class_ids) == (["cat", "ñandú"], [7, 90])
    assert loaded.metadata["license"] == "MIT"


@pytest.mark.long
def test_keras_own_save_and_load_work_too(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    assert_same(trained, load(tmp_path / "model.keras"))
    compiled = keras.models.load_model(tmp_path / "model.keras")
    assert_same(trained, compiled)
    for ours, theirs in zip(trained.optimizer.variables, compiled.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_file_is_without_the_optimizer(trained, tmp_path):
    save_model(trained, tmp_path / "small.keras")
    weights = sum(value.nbytes for value in trained.get_weights())
    assert (tmp_path / "small.keras").stat().st_size < 1.1 * weights


def rewritten(source, target, change):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config)
            new.writestr(name, content)
    return target


def test_newer_format_is_refused(trained, tmp_path):
    save_model(trained, tmp_path / "model.keras")

    def raise_format(config):
        config["config"]["format"] = 99

    newer = rewritten(tmp_path / "model.keras", tmp_path / "newer.keras", raise_format)
    with pytest.raises(UserError, match=r"format 99; this version reads up to 1.*newer"):
        load(newer)


@pytest.mark.long
def test_other_graph_than_the_weights_is_refused(trained, tmp_path):
    save_model(trained, tmp_path / "model.keras")

    def widen(config):
        config["config"]["class_names"].append("dog")
        config["config"]["class_ids"].append(91)

    wider = rewritten(tmp_path / "model.keras", tmp_path / "wider.keras", widen)
    with pytest.raises(UserError, match="the weights do not fit the graph"):
        load(wider)


@pytest.mark.long
def test_what_our_models_do_not_have_is_refused(trained, tmp_path):
    """Keras would take other arguments, and build objects from some of them."""
    save_model(trained, tmp_path / "model.keras")
    for change in (
        lambda config: config["config"].update(dtype="float16"),
        lambda config: config["config"].update(name={"class_name": "Any"}),
        lambda config: config["config"]["metadata"].update(license=["MIT"]),
    ):
        changed = rewritten(tmp_path / "model.keras", tmp_path / "changed.keras", change)
        with pytest.raises(UserError, match="not written by keras_retinanet"):
            load(changed)


@pytest.mark.long
def test_files_with_the_key_in_british_spelling(trained, tmp_path):
    """So were they written before version 0.1.0; what is trained from them keeps the license."""
    save_model(trained, tmp_path / "model.keras")

    def change(config):
        metadata = config["config"]["metadata"]
        metadata["licence"] = metadata.pop("license")

    old = rewritten(tmp_path / "model.keras", tmp_path / "old.keras", change)
    for model in (load(old), keras.models.load_model(old, compile=False)):
        assert model.metadata == {"license": "MIT"}
    data = Dataset("made", "train", ["a"], [1], [])
    facts = provenance(Config(train=TrainConfig(weights=str(old))), data)
    assert facts["license"] == "MIT" and "licence" not in facts


def test_foreign_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="which is not a file"):
        load(tmp_path / "absent.keras")
    (tmp_path / "text.keras").write_text("no zip")
    with pytest.raises(UserError, match="is not a model file of keras_retinanet"):
        load(tmp_path / "text.keras")
    keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "mlp.keras")
    with pytest.raises(UserError, match="is not a model"):
        load(tmp_path / "mlp.keras")


def test_a_file_cut_in_half_is_refused(trained, tmp_path):
    save_model(trained, tmp_path / "model.keras")
    content = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "half.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="is not a model file"):
        load(tmp_path / "half.keras")


# ------------------------------------------------------------------------------------ damaged HDF5


def repacked(source, target, change):
    """Write `source` with other weights, whose checksum in the zip is right."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith(".h5") else content)
    return target


def outside_of_the_numbers(content):
    """Return the places of an HDF5 file that belong to its own structures."""
    taken = []

    def visit(_, item):
        if isinstance(item, h5py.Dataset) and item.id.get_offset():
            taken.append((item.id.get_offset(), item.id.get_storage_size()))

    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(visit)
    places, start = [], 0
    for offset, size in [*sorted(taken), (len(content), 0)]:
        places += range(start, offset)
        start = offset + size
    return places


def outcome_of(path):
    try:
        return load(path)
    except UserError as error:
        return str(error)


@pytest.mark.long
@pytest.mark.parametrize("seed", [7, 8, 10, 33, 36])
def test_damaged_hdf5_is_one_line_or_the_same_model(trained, tmp_path, seed):
    """Of seed 8 h5py raises a RuntimeError; others have ended the process."""
    save_model(trained, tmp_path / "model.keras")
    rng = random.Random(seed)

    def damage(content):
        places, changed = outside_of_the_numbers(content), bytearray(content)
        for _ in range(rng.randrange(5, 40)):
            changed[rng.choice(places)] = rng.choice([rng.randrange(256), 0, 255])
        return bytes(changed)

    path = repacked(tmp_path / "model.keras", tmp_path / "damaged.keras", damage)
    outcome = outcome_of(path)
    if isinstance(outcome, str):
        assert str(path) in outcome
        assert "\n" not in outcome
    else:
        assert_same(trained, outcome)


@pytest.mark.long
@pytest.mark.parametrize(
    "error", [RuntimeError("wrong B-tree signature"), AttributeError("no"), IndexError()]
)
def test_whatever_h5py_raises_is_one_line(trained, tmp_path, monkeypatch, error):
    save_model(trained, tmp_path / "model.keras")

    def broken(*_, **__):
        raise error

    monkeypatch.setattr(RetinaNet, "load_weights", broken)
    with pytest.raises(UserError, match="the weights do not fit the graph"):
        load(tmp_path / "model.keras")


@pytest.mark.long
def test_weights_are_not_read_through_the_zip(trained, tmp_path, monkeypatch):
    """`zipfile` reads a member again from its start at each of HDF5's steps back."""
    save_model(trained, tmp_path / "model.keras")

    def read(*_):
        raise AssertionError("a member of the zip is read")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", read)
    assert_same(trained, load(tmp_path / "model.keras"))


@pytest.mark.long
def test_weights_that_end_the_process_end_another_one(trained, tmp_path):
    """Data sets that claim what the file does not hold are found before Keras reads them."""

    def claim(_):
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            file.create_dataset("kernel", (10**6, 10**6), "f4", chunks=(1000, 1000))
            file["padding"] = np.zeros(1_000_000, "f4")
        return stream.getvalue()

    save_model(trained, tmp_path / "model.keras")
    path = repacked(tmp_path / "model.keras", tmp_path / "claims.keras", claim)
    with pytest.raises(UserError, match="larger than the file holds"):
        load(path)


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["model"]["head"].update(channels=4096, depth=32),
        lambda config: config["model"]["fpn"].update(channels=4096),
        lambda config: config.update(class_names=["a"] * 10**6, class_ids=[1] * 10**6),
        lambda config: config["model"]["anchors"].update(ratios=[1.0] * 10**6),
    ],
)
def test_a_graph_of_more_weights_than_the_file_has_is_not_built(
    trained, tmp_path, monkeypatch, change
):
    save_model(trained, tmp_path / "model.keras")
    monkeypatch.setattr(RetinaNet, "from_config", lambda _: pytest.fail("built"))
    large = rewritten(
        tmp_path / "model.keras", tmp_path / "large.keras", lambda stored: change(stored["config"])
    )
    with pytest.raises(UserError, match=r"bytes of weights are needed, 45,\d+,\d+ are there"):
        load(large)
