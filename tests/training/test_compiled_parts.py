"""The options of matching and loss reach the model that is trained."""

import keras_retinanet
from keras_retinanet.config import load_config
from keras_retinanet.modeling import AnchorLabeler, AtssLabeler
from keras_retinanet.training import compile_model


def compiled_parts(*overrides):
    """Return the labeler and loss of a model compiled with these options."""
    model = keras_retinanet.retinanet("resnet18", num_classes=2)
    compile_model(model, load_config(None, list(overrides)).train)
    parts = model.get_compile_config()
    return parts["labeler"], parts["loss"]


def test_the_paper_is_the_default():
    labeler, loss = compiled_parts()
    assert labeler["class_name"] == AnchorLabeler.__name__
    assert (labeler["config"]["positive_iou"], labeler["config"]["negative_iou"]) == (0.5, 0.4)
    assert (loss["config"]["classes"], loss["config"]["box"]) == ("focal", "smooth_l1")


def test_atss_and_the_losses_are_chosen_by_their_names():
    labeler, loss = compiled_parts(
        "train.matching.name=atss",
        "train.matching.top_k=5",
        "train.loss.classes=varifocal",
        "train.loss.varifocal_alpha=0.5",
        "train.loss.box=ciou",
    )
    assert (labeler["class_name"], labeler["config"]["top_k"]) == (AtssLabeler.__name__, 5)
    chosen = {key: loss["config"][key] for key in ("classes", "varifocal_alpha", "box")}
    assert chosen == {"classes": "varifocal", "varifocal_alpha": 0.5, "box": "ciou"}
