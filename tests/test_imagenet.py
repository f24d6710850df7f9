"""ResNets of keras.applications: the transfer is exact, and what is missing is said in one line."""

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from keras_retinanet.backbones import backbone_preprocessing, build_backbone
from keras_retinanet.backbones.imagenet import transfer_keras_applications
from keras_retinanet.errors import UserError

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
    transfer_keras_applications(source, trunk)
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
    with pytest.raises(ValueError, match="conv4_block7_1_conv"):
        transfer_keras_applications(source, build_backbone("resnet101"))
    with pytest.raises(ValueError, match="expected a trunk as deep"):
        transfer_keras_applications(source, build_backbone("resnet18"))


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
    assert backbone_preprocessing("resnet50", "mine.pth") is None
    assert backbone_preprocessing("resnext50_32x4d", "imagenet") is None


def test_offline_one_line_says_which_file_goes_where(monkeypatch):
    def offline(**_):
        raise Exception("URL fetch failure on https://storage.googleapis.com: None -- No address")

    monkeypatch.setattr(keras.applications, "ResNet101", offline)
    with pytest.raises(UserError) as caught:
        build_backbone("resnet101", weights="imagenet")
    message = str(caught.value)
    assert "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5" in message
    assert "https://storage.googleapis.com/tensorflow/keras-applications/resnet/" in message
    assert "~/.keras/models/" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet18", "imagenet", "resnet50, resnet101, resnet152.*resnet18"),
        ("resnext50_32x4d", "imagenet", "resnet50, resnet101, resnet152.*resnext50_32x4d"),
        ("resnet50", "other.pth", "notop .h5 file.*weights=other.pth"),
        ("resnet34", "other.h5", "notop .h5 file.*weights=other.h5"),
        ("resnet50", "absent.h5", "absent.h5 .no such file"),
        ("efficientnet_lite0", "absent.pth", "absent.pth .No such file"),
    ],
)
def test_weights_that_cannot_be_had(name, weights, message):
    with pytest.raises(UserError, match=message):
        build_backbone(name, weights=weights)


def test_a_damaged_file(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="does not load"):
        build_backbone("resnet50", weights=str(path))
