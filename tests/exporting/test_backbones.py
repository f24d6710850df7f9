"""Exports and tiles of networks whose backbone computes P3 to P7, of MobileNetV2 and NAS-FPN.

What an untrained class head gives is spread: otherwise all scores are nearly the prior.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from exported_models import SIDE, spread_model

from keras_retinanet.config.tiles import TilesConfig
from keras_retinanet.data.sources.shapes import draw
from keras_retinanet.exporting import (
    export_onnx,
    export_saved_model,
    export_tflite,
    load_detector,
)
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.backbones.spinenet import SPINENETS, SpineNetSpec, spinenet

pytestmark = pytest.mark.conversion

FORMATS = {"saved": export_saved_model, "m.tflite": export_tflite, "m.onnx": export_onnx}
SMALL = SpineNetSpec(width=0.25, repeats=1, alpha=0.5, channels=16)
# Backbone, or its neck -> its options and those of the heads.
NETWORKS = {
    "spinenet_small": {
        **{"backbone.stochastic_depth": 0.2, "backbone.single_pool": True},
        **{"backbone.padding": "symmetric", "head.activation": "swish"},
    },
    "spinenet49xs_mobile": {"head.activation": "hard_swish", "head.separable": True},
    "spinenet49s_mobile": {
        **{"backbone.activation": "swish", "backbone.smooth_gates": True},
        **{"backbone.stochastic_depth": 0.2, "head.activation": "swish"},
    },
    "mobilenet_v2": {"head.activation": "relu6", "fpn.activation": "relu6"},
    "mobilenet_v2_separable": {
        **{"backbone.name": "mobilenet_v2", "fpn.separable": True, "fpn.norm": "batch_norm"},
        **{"head.separable": True, "head.activation": "relu6", "fpn.activation": "relu6"},
    },
    "nas_fpn": {
        **{"backbone.name": "mobilenet_v2", "head.activation": "relu6"},
        **{"fpn.name": "nas_fpn", "fpn.repeats": 2, "fpn.norm": "batch_norm"},
    },
}


@pytest.fixture(scope="module", params=NETWORKS)
def model(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SPINENETS, "spinenet_small", SMALL)
        patch.setitem(BACKBONES, "spinenet_small", partial(spinenet, SMALL))
        options = NETWORKS[request.param] | {"head.norm": "batch_norm"}
        built = spread_model(**{"backbone.name": request.param, **options})
        logits = built(draw("test", 0, SIDE)[None].astype("f4"), training=False)["class_logits"]
        kernel = built.class_head.get_layer("final").weights[-2]  # pointwise, of a separable one
        kernel.assign(kernel / np.std(logits))
        yield built


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_detects_what_the_model_detects(model, name, tmp_path):
    if name.endswith(".onnx"):
        pytest.importorskip("onnxruntime", reason="runs the .onnx file")
        pytest.importorskip("tf2onnx", reason="writes the .onnx file")
    image = draw("test", 0, SIDE)
    FORMATS[name](model, tmp_path / name, say=lambda line: None)
    (found,) = load_detector(tmp_path / name, trust=True).detect([image])
    (expected,) = model.detect([image])
    assert len(expected) > 0
    assert len(found) == len(expected)
    np.testing.assert_allclose(np.sort(found.scores), np.sort(expected.scores), atol=1e-3)


def test_tiles_of_the_networks_own_size_find_what_it_finds(model):
    image = draw("test", 0, SIDE)
    (expected,) = model.detect([image])
    plain, model.config = model.config, replace(model.config, tiles=TilesConfig(side=SIDE))
    (found,) = model.detect([image])
    model.config = plain
    np.testing.assert_allclose(np.sort(found.scores), np.sort(expected.scores), atol=1e-5)
