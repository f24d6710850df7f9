"""Precision "auto": what it becomes, what it prints, and what a resumed run keeps."""

import keras
import pytest
import tensorflow as tf

from keras_retinanet.config import Config, ModelConfig
from keras_retinanet.config.files import save_config, with_overrides
from keras_retinanet.config.model import BackboneConfig, FPNConfig, HeadConfig
from keras_retinanet.training import precision
from keras_retinanet.training.team import Team

ALONE = Team(tf.distribute.get_strategy())
AUTO = with_overrides(Config(), {"train.precision": "auto"})


@pytest.mark.parametrize(
    ("share", "chosen"), [(0.5, "mixed_bfloat16"), (0.79, "mixed_bfloat16"), (0.8, "float32")]
)
def test_bfloat16_is_chosen_where_it_is_clearly_faster(
    share, chosen, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(precision, "bfloat16_share", lambda model: share)
    config = precision.resolved_precision(AUTO, tmp_path, ALONE, resume=False)
    assert config == with_overrides(Config(), {"train.precision": chosen})
    assert (
        f"train.precision: {chosen}, because bfloat16 takes {share:.2f}" in capsys.readouterr().out
    )


def test_a_resumed_run_keeps_what_it_began_with(monkeypatch, tmp_path):
    monkeypatch.delattr(precision, "bfloat16_share")  # nothing is measured
    save_config(
        with_overrides(Config(), {"train.precision": "mixed_bfloat16"}), tmp_path / "config.yaml"
    )
    config = precision.resolved_precision(AUTO, tmp_path, ALONE, resume=True)
    assert config.train.precision == "mixed_bfloat16"


def test_a_run_that_can_be_repeated_measures_nothing(monkeypatch, tmp_path):
    monkeypatch.delattr(precision, "bfloat16_share")
    asked = with_overrides(AUTO, {"train.deterministic": True})
    config = precision.resolved_precision(asked, tmp_path, ALONE, resume=False)
    assert config.train.precision == "float32"


def test_a_precision_of_the_user_stays(monkeypatch, tmp_path):
    monkeypatch.delattr(precision, "bfloat16_share")
    assert precision.resolved_precision(Config(), tmp_path, ALONE, resume=False) is not AUTO
    assert precision.resolved_precision(Config(), tmp_path, ALONE, resume=False) == Config()


@pytest.mark.long
def test_both_networks_are_timed_and_the_policy_stays(monkeypatch):
    built = []
    network = precision.RetinaNet

    def build(*args, **kwargs):
        built.append(keras.config.dtype_policy().name)
        return network(*args, **kwargs)

    monkeypatch.setattr(precision, "RetinaNet", build)
    monkeypatch.setattr(precision, "SIDE", 64)
    small = ModelConfig(
        BackboneConfig("resnet18"), FPNConfig(channels=8), HeadConfig(channels=8, depth=0)
    )
    assert precision.bfloat16_share(small) > 0
    assert built == ["float32", "mixed_bfloat16"]
    assert keras.config.dtype_policy().name == "float32"
