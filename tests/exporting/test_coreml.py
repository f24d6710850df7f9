"""Core ML packages: their input, outputs, facts and weights. Only Apple's systems can run them."""

import base64
import gc
import sys

import numpy as np
import pytest
from exporting_cases import small_model

from keras_retinanet.commands.common import find_model
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.coreml_package import ANCHORS_KEY, check_package, export_coreml
from keras_retinanet.exporting.facts import FACTS_KEY, read_facts
from keras_retinanet.exporting.folding import folded
from keras_retinanet.exporting.staging import check_place

# coremltools leaves its temporary folders to the garbage collector, which says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Implicitly cleaning up:ResourceWarning",
    "ignore:Exception ignored in. <finalize object:pytest.PytestUnraisableExceptionWarning",
)
SIZE = (64, 96)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The tools, the model, and its package in float16."""
    tools = pytest.importorskip("coremltools", reason="needs the extra `coreml`")
    model, path = small_model(), tmp_path_factory.mktemp("coreml") / "model.mlpackage"
    options = {"precision": "float16", "image_size": SIZE, "say": lambda line: None}
    export_coreml(model, path, **options)
    gc.collect()
    return tools, model, path


@pytest.mark.conversion
def test_input_outputs_facts_and_anchors(exported):
    tools, model, path = exported
    description = tools.utils.load_spec(str(path)).description
    (image,) = description.input
    assert (image.type.imageType.height, image.type.imageType.width) == SIZE
    anchors = model.anchors(*SIZE).numpy()
    shapes = {each.name: tuple(each.type.multiArrayType.shape) for each in description.output}
    assert shapes == {"class_logits": (1, len(anchors), 3), "box_deltas": (1, len(anchors), 4)}
    stored = description.metadata.userDefined
    facts = read_facts(stored[FACTS_KEY], "package")
    assert (facts["kind"], facts["form"], facts["precision"]) == ("coreml", "raw", "float16")
    assert facts["input"]["image_size"] == list(SIZE)
    found = np.frombuffer(base64.b64decode(stored[ANCHORS_KEY]), "<f4").reshape(-1, 4)
    np.testing.assert_array_equal(found, anchors)


@pytest.mark.conversion
def test_every_kernel_of_the_network_is_in_it(exported):
    tools, model, path = exported
    package = tools.models.MLModel(str(path), skip_model_load=True)
    weights = tools.optimize.coreml.get_weights_metadata(package, weight_threshold=100)
    stored = [np.abs(entry.val.astype("f8")).sum() for entry in weights.values()]
    kernels = [weight.numpy() for weight in folded(model).weights if len(weight.shape) == 4]
    assert len(kernels) > 20
    for kernel in kernels:
        wanted = np.abs(kernel.astype("f8")).sum()
        assert np.abs(np.array(stored) / wanted - 1).min() < 1e-3
    assert {str(entry.val.dtype) for entry in weights.values()} == {"float16"}
    del package, weights
    gc.collect()


@pytest.mark.conversion
def test_a_package_of_other_outputs_is_refused(exported):
    _, model, path = exported
    anchors = model.anchors(*SIZE).numpy()
    check_package(path, {"class_logits": 3, "box_deltas": 4}, anchors)
    with pytest.raises(ValueError, match="Expected an input image"):
        check_package(path, {"class_logits": 5, "box_deltas": 4}, anchors)


def test_what_cannot_be_is_one_line(tmp_path, monkeypatch):
    package = tmp_path / "old.mlpackage"
    with pytest.raises(UserError, match="precision='int8'"):
        export_coreml(None, package, precision="int8")
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(UserError, match="pip install coremltools"):
        export_coreml(None, package)
    assert list(tmp_path.iterdir()) == []
    package.mkdir()
    (package / "Manifest.json").touch()
    with pytest.raises(UserError, match="Expected a new or an empty folder"):
        check_place(package, "coreml")
    with pytest.raises(UserError, match="which only Apple's systems run"):
        find_model(package)
