"""The list of operators against the signatures of models of every kind."""

import pytest

from keras_retinanet.config.files import load_config
from keras_retinanet.exporting.saved_model.operators import OPERATORS
from keras_retinanet.exporting.saved_model.serving import Serving
from keras_retinanet.modeling.retinanet import RetinaNet

SMALL = {
    "fpn.channels": 16,
    "head.channels": 16,
    "head.depth": 1,
    "preprocessing.short_side": 96,
    "preprocessing.long_side": 96,
}
# Options of the model, of the export.
CASES = {
    "lite": (
        {
            **{"backbone.name": "efficientnet_lite0", "fpn.separable": True},
            **{"head.separable": True, "head.norm": "group_norm", "fpn.norm": "group_norm"},
            **{"preprocessing.canvas": "exact", "preprocessing.rounding": "floor"},
            **{"preprocessing.resize_method": "rounded", "anchors.stride": "true"},
            **{"anchors.clip": True, "detections.suppress": "best_class"},
            "box_coder.log_clip": "both",
        },
        {"xla": True, "precision": "bfloat16"},
    ),
    "bottlenecks": (
        {
            **{"backbone.name": "resnet50", "backbone.padding": "same", "fpn.norm": "batch_norm"},
            **{"fpn.norm_at": "merged", "head.norm": "batch_norm", "fpn.p6_from": "p5"},
            **{"preprocessing.canvas": "exact_beyond", "preprocessing.rounding": "half_up"},
            **{"preprocessing.resize_method": "pillow", "anchors.rounded": True},
            **{"detections.pre_nms_top_k": None, "detections.clip_to": "canvas"},
            "box_coder.code": "corners",
        },
        {"precision": "float16"},
    ),
    "groups": (
        {
            **{"backbone.name": "resnext50_32x4d", "preprocessing.canvas": "square"},
            **{"preprocessing.antialias": True, "preprocessing.exact_scale": "both"},
            **{"preprocessing.color_order": "bgr", "anchors.rounded_base": True},
            **{"detections.top_k_per": "class", "detections.clip_to": "none"},
            **{"detections.clip_before_nms": False, "box_coder.code": "yxhw"},
        },
        {"xla": True},
    ),
    "padded": (
        {
            **{"backbone.name": "resnet18", "preprocessing.pad_first": True},
            **{"preprocessing.antialias": True, "detections.drop_empty": True},
            **{"detections.background_output": True, "detections.clip_margin": 1.0},
        },
        {"keep_going": True},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_exports_have_no_operator_outside_of_the_list(case):
    options, of_export = CASES[case]
    changes = {f"model.{name}": value for name, value in {**SMALL, **options}.items()}
    model = RetinaNet(load_config("shapes", changes).model, ["a", "b"], load_weights=False)
    found = set()
    for function in Serving(model, "{}", **of_export).signatures().values():
        graph = function.get_concrete_function().graph.as_graph_def()
        found |= {node.op for node in graph.node}
        found |= {node.op for each in graph.library.function for node in each.node_def}
    assert len(found) > 60
    assert found - OPERATORS == set()
