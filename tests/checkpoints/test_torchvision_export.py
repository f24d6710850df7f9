"""Our models as torchvision's state dicts: what was imported comes back bit for bit."""

import dataclasses
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDENS
from goldens.seeded_weights import seeded

from keras_retinanet.checkpoints.counters import counters_text, read_counters
from keras_retinanet.checkpoints.families.torchvision_export import (
    builder_lines,
    check_graph,
    export_torchvision,
)
from keras_retinanet.checkpoints.importing import import_checkpoint
from keras_retinanet.commands import export
from keras_retinanet.config import (
    AnchorConfig,
    BackboneConfig,
    BoxCoderConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
)
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import load, save_model
from keras_retinanet.weight_files.reading import read_checkpoint
from keras_retinanet.weight_files.torch_writer import Tensor, write_tensors

# A graph that torchvision has, small.
SMALL = ModelConfig(
    backbone=BackboneConfig(name="resnet18", stride_in_1x1=False),
    fpn=FPNConfig(channels=32),
    head=HeadConfig(channels=32, norm="group_norm"),
    anchors=AnchorConfig(offset=0.0, rounded=True, stride="true"),
)


def golden_values(version: str) -> dict[str, np.ndarray]:
    """The golden's weights under torchvision's names; counters count, each to another number."""
    with np.load(GOLDENS / f"torchvision_{version}.npz") as stored:
        spec, gain = json.loads(str(stored["spec"])), float(stored["class_gain"])
    values = {name: seeded(name, shape, dtype, gain) for name, shape, dtype in spec}
    counters = [name for name, value in values.items() if value.dtype == "int64"]
    return values | {name: np.array(1000 + index) for index, name in enumerate(counters)}


def write(path: Path, values: dict[str, np.ndarray]) -> None:
    write_tensors(path, [Tensor(n, v.shape, v.dtype, lambda v=v: v) for n, v in values.items()])


def assert_same(path: Path, values: dict[str, np.ndarray]) -> None:
    found = read_checkpoint(path).tensors
    assert list(found) == list(values)
    for name, value in values.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, name, strict=True)


@pytest.mark.long
@pytest.mark.parametrize(("version", "suffix"), [("v2", ".pth"), ("v1", ".safetensors")])
def test_import_and_export_is_the_identity(tmp_path, version, suffix):
    values = golden_values(version)
    write(tmp_path / f"in{suffix}", values)
    model = import_checkpoint(tmp_path / f"in{suffix}")
    names = export_torchvision(model, tmp_path / f"out{suffix}")
    assert names == list(values)
    assert_same(tmp_path / f"out{suffix}", values)
    # The same bytes, too: nothing in the file depends on the clock.
    assert (tmp_path / f"out{suffix}").read_bytes() == (tmp_path / f"in{suffix}").read_bytes()


@pytest.mark.long
def test_fine_tuned_classes_and_counters_travel_through_a_model_file(tmp_path, capsys):
    model = RetinaNet(SMALL, ["a", "b", "c"], load_weights=False)
    export_torchvision(model, tmp_path / "new.pth")
    written = dict(read_checkpoint(tmp_path / "new.pth").tensors)
    assert written["head.classification_head.cls_logits.weight"].shape == (27, 32, 3, 3)
    counters = [name for name in written if name.endswith("num_batches_tracked")]
    assert len(counters) == 20
    assert {int(written[name]) for name in counters} == {0}
    # Counted on, as training in torchvision does.
    for index, name in enumerate(counters):
        written[name] = np.array(index * 7, np.int64)
    write(tmp_path / "in.pth", written)
    save_model(import_checkpoint(tmp_path / "in.pth"), tmp_path / "model.keras")
    args = {"model": str(tmp_path / "model.keras"), "format": "torchvision"}
    assert export.run(Namespace(**args, out=str(tmp_path / "out.pth"))) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'out.pth'}: {len(written)} tensors, 3 classes." in said
    assert_same(tmp_path / "out.pth", written)
    assert load(tmp_path / "model.keras").class_names == ["class_0", "class_1", "class_2"]
    with pytest.raises(UserError, match=r"Expected a file that ends in \.pth, \.pt, \.safetensors"):
        export.run(Namespace(**args, out="model.onnx"))


def test_graphs_that_torchvision_lacks_are_refused_with_all_reasons():
    check_graph(SMALL)
    other = ModelConfig(
        backbone=BackboneConfig(name="efficientnet_lite0", padding="same"),
        fpn=FPNConfig(relu_before_p7=False),
        box_coder=BoxCoderConfig(code="corners"),
    )
    with pytest.raises(UserError) as error:
        check_graph(other)
    for reason in (
        "backbone.name=efficientnet_lite0, not one of resnet18",
        "backbone.padding=same, not symmetric",
        "fpn.relu_before_p7=False, not True",
        "anchors.offset=0.5, not 0.0",
        "anchors.stride=nominal, not true",
        "box_coder.code=corners, not xywh",
    ):
        assert reason in str(error.value)
    unequal = dataclasses.replace(SMALL, head=HeadConfig(channels=64))
    with pytest.raises(UserError, match=r"head\.channels=64, not fpn's 32"):
        check_graph(unequal)


def test_the_lines_for_torchvision_name_builder_classes_and_epsilon():
    model = RetinaNet(SMALL, ["a", "b"], load_weights=False)
    assert builder_lines(model, "m.pth") == ['model.load_state_dict(torch.load("m.pth"))']
    model.config = dataclasses.replace(
        SMALL,
        backbone=BackboneConfig(name="resnet50", stride_in_1x1=False, bn_epsilon=1e-37),
        fpn=FPNConfig(p6_from="p5"),
        head=HeadConfig(),
    )
    builder, _, epsilon = builder_lines(model, "m.pth")
    assert builder == (
        "model = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2)"
    )
    assert epsilon.endswith("m.eps = 0")


def test_counters_as_text():
    tensors = {
        "bn.n": np.array(3),
        "bn.m": np.array(2**40),
        "w": np.zeros(1, "i8"),
        "x": np.ones(()),
    }
    assert counters_text(tensors) == '{"bn.n":3,"bn.m":1099511627776}'
    assert read_counters(counters_text(tensors)) == {"bn.n": 3, "bn.m": 2**40}
    assert counters_text({}) == ""
    assert read_counters("") == {}
    for text in ('{"a":1.5}', "[1]", "{", '{"a b":1}', '{"a":true}'):
        with pytest.raises(UserError, match="Import the checkpoint again"):
            read_counters(text)
