"""From a foreign file to a model file: recognition, classes, sizes, the command, fine-tuning."""

import numpy as np
import pytest
from foreign import foreign_tensors
from test_family import small_model

from keras_retinanet.checkpoints.families.coco_names import (
    COCO80_IDS,
    COCO80_NAMES,
    COCO91_NAMES,
    coco_classes,
)
from keras_retinanet.checkpoints.families.torchvision import V1
from keras_retinanet.checkpoints.importing import FAMILIES, import_checkpoint, recognise
from keras_retinanet.commands import import_checkpoint as command
from keras_retinanet.config import ModelConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.saving import load
from keras_retinanet.modeling.transfer import transfer_weights, transferred_config
from keras_retinanet.weight_files.torch_writer import Tensor, write_tensors

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
SMALL_HEAD = ("--set", "model.head.depth=1")


def write(path, classes):
    """A small file with torchvision's names; the model that it came from."""
    model = small_model(classes)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "variance" not in weight.path:
            weight.assign(rng.normal(0, 0.05, weight.shape))
    write_arrays(path, foreign_tensors(model, V1))
    return model


def write_arrays(path, arrays):
    write_tensors(
        path,
        [Tensor(name, a.shape, np.dtype("f4"), lambda a=a: a) for name, a in arrays.items()],
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """91 outputs on resnet18, heads of one convolution."""
    path = tmp_path_factory.mktemp("peer") / "mine.v1.pth"
    return path, write(path, 91)


def small_import(path, **options):
    return import_checkpoint(path, overrides=["model.head.depth=1"], **options)


def raw(model):
    return model(PICTURE[None].astype("f4"))["class_logits"].numpy()


def test_the_family_is_recognised_and_all_is_filled(file):
    path, original = file
    model = small_import(path, image_size=(64, 96))
    assert model.metadata["family"] == "torchvision_v1"
    assert model.metadata["from_file"] == "mine.v1.pth"
    assert len(model.metadata["sha256"]) == 64
    assert model.config.backbone.name == "resnet18"
    assert (model.preprocessing.short_side, model.preprocessing.long_side) == (64, 96)
    for ours, theirs in zip(model.weights, original.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.long
def test_coco80_cuts_the_91(file):
    path, _ = file
    whole, cut = small_import(path), small_import(path, classes="coco80")
    assert (cut.class_names, cut.class_ids) == (COCO80_NAMES, COCO80_IDS)
    # Output i of torchvision is COCO's id i.
    np.testing.assert_allclose(raw(cut), raw(whole)[..., COCO80_IDS], rtol=0, atol=1e-6)
    assert cut.metadata["changes"] == "model.head.depth=1; 80 of 91 outputs kept"


@pytest.mark.long
def test_classes_by_name_in_the_order_given(file):
    path, _ = file
    whole, cut = small_import(path), small_import(path, classes=["dog", "cat"])
    assert (cut.class_names, cut.class_ids) == (["dog", "cat"], [18, 17])
    np.testing.assert_allclose(raw(cut), raw(whole)[..., [18, 17]], rtol=0, atol=1e-6)


def test_unknown_classes_families_and_keys(file, tmp_path):
    path, _ = file
    with pytest.raises(UserError, match=r"unknown: unicorn\."):
        small_import(path, classes=["dog", "unicorn"])
    with pytest.raises(UserError, match=r"expected a family among .*detectron2"):
        small_import(path, family="yolo")
    with pytest.raises(UserError, match="without tensor"):
        small_import(path, family="detectron2")
    with pytest.raises(UserError, match=r"keys of the model.*train\.steps=3"):
        import_checkpoint(path, overrides=["train.steps=3"])
    other = tmp_path / "other.pth"
    write_arrays(other, {"fc.weight": np.zeros((2, 3), "f4")})
    with pytest.raises(UserError, match=r"known family \(torchvision_v1, .*1 tensors: fc.weight"):
        import_checkpoint(other)


def test_every_family_has_a_name_of_its_own():
    assert all(name == family.name for name, family in FAMILIES.items())
    with pytest.raises(UserError, match="0 tensors"):
        recognise({})


def test_coco_names_and_ids():
    assert len(COCO80_NAMES) == len(COCO80_IDS) == len(set(COCO80_NAMES)) == 80
    assert len(COCO91_NAMES) == len(set(COCO91_NAMES)) == 91
    assert [COCO91_NAMES[i] for i in (0, 1, 12, 13, 90)] == [
        "__background__", "person", "N/A_12", "stop sign", "toothbrush",
    ]  # fmt: skip
    assert [COCO91_NAMES[i] for i in COCO80_IDS] == COCO80_NAMES
    assert coco_classes(90)[0][0] == "person"
    assert coco_classes(2) == (["class_0", "class_1"], [1, 2])


# ----------------------------------------------------------------------------------- the command


def run(*words):
    from argparse import ArgumentParser

    parser = ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


@pytest.mark.long
def test_the_command_writes_a_model_and_says_what_it_did(file, tmp_path, capsys):
    path, _ = file
    out = tmp_path / "out.keras"
    words = (path, "--out", out, "--classes", "coco80", "--image_size", "64,96", *SMALL_HEAD)
    assert run(*words) == 0
    printed = capsys.readouterr().out
    for text in (
        "family         torchvision_v1, by its tensors' names and shapes",
        "mapped",
        "resnet18, stride in the 3x3, BN epsilon 0, P6 from P5, a ReLU before P7, heads 1 x 8",
        "short side 64 px, long side at most 96 px, rounded floor",
        "classes        80: person, bicycle",
        "score 0.05, NMS IoU 0.5, 1000 per level, 300 per image",
        "license        BSD-3-Clause",
        "assumptions    batch norms' epsilon 0",
        f"written        {out}",
    ):
        assert text in printed
    stored, again = load(out), small_import(path, classes="coco80")
    np.testing.assert_allclose(raw(stored), raw(again), rtol=0, atol=1e-6)
    assert stored.metadata["license"] == "BSD-3-Clause"


def test_the_command_keeps_its_input(file, tmp_path):
    path, _ = file
    with pytest.raises(UserError, match=r"ends in \.keras"):
        run(path, "--out", tmp_path / "model.h5")


# ------------------------------------------------------------------------------------ fine-tuning


@pytest.mark.long
def test_fine_tuning_keeps_the_graph_and_freezes_its_batch_norms(file):
    path, _ = file
    source = small_import(path)
    config = transferred_config(source, ModelConfig(), "mine.keras")
    assert config.backbone.bn_epsilon == 0
    assert config.fpn.p6_from == "p5"
    assert config.anchors.rounded
    assert (config.preprocessing.canvas, config.preprocessing.rounding) == ("buckets", "even")
    model = type(source)(config, ["RBC", "WBC", "Platelets"], load_weights=False)
    report = transfer_weights(source, model)
    assert report == [
        "backbone: 40 layers kept, 25 frozen",
        "fpn: 8 layers kept",
        "class_head: 1 layers kept, new: final",
        "box_head: 1 layers kept, new: final",
    ]
    norms = [layer for layer in model.backbone.layers if layer.name.endswith(("bn", "bn1", "bn2"))]
    assert len(norms) == 20
    assert not any(layer.trainable for layer in norms)
    name = "stage5_block1_conv1"
    kept, theirs = (each.backbone.get_layer(name).kernel for each in (model, source))
    np.testing.assert_array_equal(kept, theirs)
