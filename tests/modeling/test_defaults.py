"""No default is written twice: parts and builders take the configuration's."""

import dataclasses
import inspect

import pytest

from keras_retinanet.config import (
    AnchorConfig,
    BackboneConfig,
    BoxCoderConfig,
    Config,
    FPNConfig,
    HeadConfig,
    LossConfig,
    MatchConfig,
    OptimizerConfig,
    PreprocessingConfig,
    dotted_keys,
    option_help,
)
from keras_retinanet.modeling import (
    AnchorLabeler,
    Anchors,
    AtssLabeler,
    BoxCoder,
    CoupledSGD,
    DetectorAdamW,
    Preprocessing,
    RetinaNetLoss,
    build_backbone,
    build_fpn,
    build_head,
)
from keras_retinanet.modeling.necks import build_neck


@pytest.mark.parametrize(
    ("part", "section"),
    [(Anchors, AnchorConfig), (BoxCoder, BoxCoderConfig), (Preprocessing, PreprocessingConfig)],
)
def test_a_part_is_its_section(part, section):
    assert issubclass(part, section)
    assert vars(part()) == vars(section())
    assert [f.name for f in dataclasses.fields(part)] == [
        f.name for f in dataclasses.fields(section)
    ]


@pytest.mark.parametrize(
    ("builders", "section", "others"),
    [
        # A backbone is always named; the class head alone has a prior.
        ([build_backbone], BackboneConfig, {"name"}),
        ([build_neck, build_fpn], FPNConfig, set()),
        ([build_head], HeadConfig, {"prior"}),
        ([RetinaNetLoss], LossConfig, set()),
    ],
)
def test_a_builder_takes_every_option_of_its_section_with_its_default(builders, section, others):
    parameters = {}
    for build in builders:
        parameters |= inspect.signature(build).parameters
    for entry in dataclasses.fields(section):
        assert entry.name in parameters
        if entry.name not in others:
            assert parameters[entry.name].default == entry.default


def test_the_labelers_take_every_option_of_matching_with_its_default():
    taken = {}
    for labeler in (AnchorLabeler, AtssLabeler):
        taken |= inspect.signature(labeler).parameters
    for entry in dataclasses.fields(MatchConfig):
        if entry.name != "name":  # chooses between the two
            assert taken[entry.name].default == entry.default


def test_optimizers_take_the_papers_values():
    options = OptimizerConfig()
    sgd = CoupledSGD()
    assert float(sgd.learning_rate) == pytest.approx(options.learning_rate)
    assert (sgd.momentum, sgd.coupled_decay) == (options.momentum, options.weight_decay)
    for optimizer in (sgd, DetectorAdamW()):
        assert optimizer.slow_multiplier == options.backbone_multiplier
        assert optimizer.clip_norm == options.clip_norm


def test_every_option_has_a_description_that_is_a_sentence():
    for key in dotted_keys(Config):
        text = option_help(key)
        assert text[:1].isupper() or text.startswith(
            ("tfds", "csv", "openimages", "shapes", '"')
        ), key
        assert text.endswith("."), key
