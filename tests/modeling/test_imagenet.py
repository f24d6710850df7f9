"""ImageNet trunks: the transfer is exact, and what is missing or unfit is said in one line."""

import hashlib
import json
import urllib.error
import urllib.request

import h5py
import keras
import numpy as np
import pytest
from conftest import GOLDENS
from goldens.seeded_weights import seeded
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import (
    backbone_preprocessing,
    build_backbone,
    imagenet,
    weights_license,
)
from keras_retinanet.modeling.backbones.foreign_weights import (
    transfer_keras_applications,
    transfer_torch_resnet,
)

pytestmark = pytest.mark.peer

LEVELS = {"c3": "conv3_block4_out", "c4": "conv4_block6_out", "c5": "conv5_block3_out"}


@pytest.fixture(scope="module")
def source():
    """keras.applications' ResNet-50 with every weight random, biases and statistics too."""
    rng = np.random.default_rng(0)
    model = keras.applications.ResNet50(include_top=False, weights=None)
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            noise = rng.normal(size=weight.shape)
            if weight.name == "kernel":
                value = noise * np.sqrt(2 / np.prod(weight.shape[:3]))
            elif weight.name == "gamma":
                # Small where a residual branch ends, so that 16 sums do not blow up.
                value = (0.3 if layer.name.endswith("_3_bn") else 1.0) + 0.1 * noise
            elif weight.name == "moving_variance":
                value = 1 + 0.5 * np.abs(noise)
            else:
                value = 0.2 * noise
            values.append(value)
        layer.set_weights(values)
    return model


def tensors_of(model):
    return {
        f"{layer.name}/{layer.name}/{weight.name}:0": weight.numpy()
        for layer in model.layers
        for weight in layer.weights
    }


def assert_same_maps(trunk, source, image):
    outputs = {level: source.get_layer(name).output for level, name in LEVELS.items()}
    expected = keras.Model(source.input, outputs)(image)
    for level, values in trunk(image).items():
        reference = expected[level].numpy()
        assert reference.std() > 0.1
        np.testing.assert_allclose(values, reference, atol=1e-3 * np.abs(reference).max())


@pytest.mark.parametrize("size", [(96, 128), (75, 101)])
def test_transfer_is_exact(source, size):
    trunk = build_backbone("resnet50", stride_in_1x1=True, bn_epsilon=1.001e-5)
    transfer_keras_applications(tensors_of(source), trunk)
    image = np.random.default_rng(1).normal(size=(1, *size, 3)).astype("float32")
    assert_same_maps(trunk, source, image)


def test_the_real_file_layout_is_read_from_a_path(source, tmp_path):
    path = tmp_path / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, source)
    # The options are the weights' own: none is given here.
    trunk = build_backbone("resnet50", weights=str(path))
    image = np.random.default_rng(1).normal(size=(1, 64, 96, 3)).astype("float32")
    assert_same_maps(trunk, source, image)
    assert not trunk.get_layer("stage2_block3_conv3").trainable
    assert trunk.get_layer("stage3_block1_conv1").trainable


def test_another_depth_is_refused(source):
    with pytest.raises(UserError, match="conv4_block7_1_conv"):
        transfer_keras_applications(tensors_of(source), build_backbone("resnet101"))
    with pytest.raises(UserError, match=r"unmapped: conv2_block1_0_conv/kernel.* more"):
        transfer_keras_applications(tensors_of(source), build_backbone("resnet18"))


def test_what_the_weights_demand():
    demanded = backbone_preprocessing("resnet101", "imagenet")
    assert demanded["color_order"] == "bgr"
    assert demanded["mean"] == (103.939, 116.779, 123.68)
    assert demanded["std"] == (1.0, 1.0, 1.0)
    # keras.applications' own preprocessing, on one pixel of three different values.
    pixel = np.array([[[[10.0, 20.0, 30.0]]]])
    ours = (pixel[..., ::-1] - demanded["mean"]) / demanded["std"]
    theirs = keras.applications.resnet.preprocess_input(pixel.copy())
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert backbone_preprocessing("resnet50", "run/best.keras") is None
    assert backbone_preprocessing("resnext50_32x4d", "imagenet") is None


def test_offline_one_line_says_which_file_goes_where(monkeypatch, tmp_path):
    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", offline)
    with pytest.raises(UserError) as caught:
        build_backbone("resnet101", weights="imagenet")
    file = "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5"
    address = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
    message = str(caught.value)
    assert f"Expected to fetch {address}{file}. Received: no network." in message
    assert message.endswith(f"put it at {tmp_path / 'models' / file}.")
    assert "\n" not in message
    (tmp_path / "models" / file).write_bytes(b"another file")
    with pytest.raises(UserError, match="with md5 88cf7a10940856eca736dc7b7e228a21, as published"):
        build_backbone("resnet101", weights="imagenet")


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet18", "imagenet", "resnet50, resnet101, resnet152.*resnet18"),
        ("resnext50_32x4d", "imagenet", "resnet50, resnet101, resnet152.*resnext50_32x4d"),
        ("resnet18", "imagenet_v2", "imagenet_v2 of torchvision .resnet50,.*Received: resnet18"),
        ("resnext101_64x4d", "imagenet_v2", "resnext101_32x8d.. Received: resnext101_64x4d"),
        ("efficientnet_lite0", "imagenet_v2", "Received: efficientnet_lite0"),
        ("resnet50", "other.npz", "notop .h5 file.*weights=other.npz"),
        ("resnet34", "other.h5", "notop .h5 file.*weights=other.h5"),
        ("resnet50", "absent.h5", "absent.h5 .No such file"),
        ("resnext50_32x4d", "absent.safetensors", "absent.safetensors .No such file"),
        ("efficientnet_lite0", "absent.pth", "absent.pth .No such file"),
    ],
)
def test_weights_that_cannot_be_had(name, weights, message):
    with pytest.raises(UserError, match=message):
        build_backbone(name, weights=weights)


def test_a_damaged_file(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="expected a whole weight file"):
        build_backbone("resnet50", weights=str(path))


# -------------------------------------------------------------------------- torchvision and timm


@pytest.fixture(scope="module")
def golden():
    """What torchvision gives for seeded weights (tests/parity/make_torch_trunks.py)."""
    with np.load(GOLDENS / "torch_trunks.npz") as file:
        return dict(file)


def seeded_state_dict(golden, name):
    shapes = json.loads(str(golden[f"{name}.shapes"]))
    return {key: seeded(key, tuple(shape)) for key, shape in shapes.items()}


def write_safetensors(path, tensors):
    header, place = {}, 0
    for name, array in tensors.items():
        end = place + array.nbytes
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    parts = [len(text).to_bytes(8, "little"), text, *(a.tobytes() for a in tensors.values())]
    path.write_bytes(b"".join(parts))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_torchvision_trunks_give_torchvisions_maps(golden, tmp_path, name):
    path = tmp_path / "weights.safetensors"
    write_safetensors(path, seeded_state_dict(golden, name))
    # Graph and colours are the weights' own: none is given here.
    trunk = build_backbone(name, weights=str(path))
    for level, values in trunk(golden["image"]).items():
        expected = golden[f"{name}.{level}"]
        assert expected.std() > 0.1
        close = {"atol": 1e-4 * np.abs(expected).max(), "err_msg": level}
        np.testing.assert_allclose(values[..., ::16], expected, **close)


def test_torchvision_colours():
    demanded = backbone_preprocessing("resnext101_64x4d", "weights.pth")
    pixel = np.array([10.0, 20.0, 30.0])
    theirs = (pixel / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ours = (pixel - demanded["mean"]) / demanded["std"]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert (demanded["color_order"], demanded["stride_in_1x1"]) == ("rgb", False)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder of downloads, without a network."""

    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("KERAS_RETINANET_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", offline)
    return tmp_path


def test_torchvisions_second_weights_by_name(golden, cache, monkeypatch):
    name = "resnext50_32x4d"
    path = cache / "weights"
    write_safetensors(path, seeded_state_dict(golden, name))
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(imagenet.TORCHVISION_V2, name, digits)
    path.rename(cache / f"{name}-{digits}.pth")
    trunk = build_backbone(name, weights="imagenet_v2")
    expected = golden[f"{name}.c5"]
    found = trunk(golden["image"])["c5"][..., ::16]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert not trunk.get_layer("stage2_block3_conv3").trainable
    assert weights_license(name, "imagenet_v2").startswith("BSD-3-Clause")
    # Colors and graph are those of torchvision's files given by path.
    for other in ("resnet50", name):
        by_path = backbone_preprocessing(other, "weights.pth")
        assert backbone_preprocessing(other, "imagenet_v2") == by_path


def test_offline_one_line_says_where_torchvisions_file_goes(cache):
    with pytest.raises(UserError) as caught:
        build_backbone("resnet50", weights="imagenet_v2")
    address = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    message = str(caught.value)
    assert f"Expected to fetch {address}. Received: no network." in message
    assert message.endswith(f"put it at {cache / 'resnet50-11ad3fa6.pth'}.") and "\n" not in message
    (cache / "resnet50-11ad3fa6.pth").write_bytes(b"another file")
    with pytest.raises(UserError, match="with sha256 11ad3fa6, as published"):
        build_backbone("resnet50", weights="imagenet_v2")


def test_another_torch_trunk_is_refused(golden, tmp_path):
    path = tmp_path / "weights.safetensors"
    tensors = seeded_state_dict(golden, "resnet18")
    write_safetensors(path, tensors)
    with pytest.raises(UserError, match=r"resnet34\. Received: missing: layer1\.2\.conv1\.weight"):
        build_backbone("resnet34", weights=str(path))
    tensors["layer1.0.conv1.weight"] = tensors["layer1.0.conv1.weight"][:32]
    write_safetensors(path, tensors)
    with pytest.raises(
        UserError, match=r"layer1\.0\.conv1\.weight \(32, 64, 3, 3\) for \(3, 3, 64, 64\)"
    ):
        build_backbone("resnet18", weights=str(path))


def test_half_precision_is_taken(golden):
    trunk = build_backbone("resnet18")
    tensors = seeded_state_dict(golden, "resnet18")
    transfer_torch_resnet({k: v.astype("float16") for k, v in tensors.items()}, trunk)
    expected = tensors["conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(trunk.get_layer("stem_conv").kernel, expected, rtol=1e-3)
