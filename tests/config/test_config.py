"""Configuration: recipes, overrides, round trips, and errors that name the key."""

import dataclasses

import pytest
import yaml

from keras_retinanet.config import Config, ModelConfig
from keras_retinanet.config.files import (
    config_from_dict,
    config_names,
    config_to_dict,
    configs_folder,
    dotted_keys,
    load_config,
    model_config_from_dict,
    save_config,
    with_overrides,
)
from keras_retinanet.errors import UserError

COCO_RECIPES = {
    f"retinanet_{trunk}_coco_{side}"
    for trunk in ("r50", "r101", "x101")
    for side in (400, 500, 600, 700, 800)
}


def test_defaults_are_the_papers():
    config = load_config()
    assert config == Config()
    assert (config.train.batch_size, config.train.steps) == (16, 90_000)
    assert config.train.optimizer.learning_rate == 0.01
    assert config.train.optimizer.weight_decay == 1e-4
    assert (config.train.loss.alpha, config.train.loss.gamma) == (0.25, 2.0)
    assert (config.train.matching.positive_iou, config.train.matching.negative_iou) == (0.5, 0.4)
    assert config.model.head.prior == 0.01
    assert config.model.anchors.sizes == (32, 64, 128, 256, 512)
    assert len(config.model.anchors.scales) * len(config.model.anchors.ratios) == 9


# ------------------------------------------------------------------------------------ recipes


def test_the_recipes_are_these():
    others = {"retinanet_r50_coco_v2", "retinanet_lite0_320", "shapes", "bccd", "bccd_from_coco"}
    others.add("retinanet_r50_nasfpn_coco")
    spinenets = {f"spinenet_{n}_coco" for n in ("49s", "49", "96", "143", "190", "49_mobile")}
    assert set(config_names()) == COCO_RECIPES | others | spinenets


@pytest.mark.parametrize("name", sorted(COCO_RECIPES))
def test_coco_recipes_differ_from_the_paper_in_trunk_and_size_alone(name):
    config = load_config(name)
    short = int(name[-3:])
    sizes = config.model.preprocessing
    assert sizes.short_side == short
    assert abs(sizes.long_side - short * 1333 / 800) <= 0.5
    trunks = {"r50": "resnet50", "r101": "resnet101", "x101": "resnext101_32x8d"}
    assert config.model.backbone.name == trunks[name.split("_")[1]]
    back = {
        "model.backbone.name": "resnet50",
        "model.backbone.weights": None,
        "model.preprocessing.short_side": 800,
        "model.preprocessing.long_side": 1333,
    }
    assert with_overrides(config, back) == Config()


@pytest.mark.parametrize("name", config_names())
def test_a_recipe_states_only_differences_under_a_telling_header(name):
    text = (configs_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    for word in ("# command   keras_retinanet train", "# hardware  ", "# duration  ", "# AP   "):
        assert word in text
    stated = yaml.safe_load(text)
    below = config_to_dict(load_config(stated.pop("base", None)))

    def same_as_below(values, below, prefix=""):
        for key, value in values.items():
            if isinstance(value, dict):
                yield from same_as_below(value, below[key], f"{prefix}{key}.")
            elif value == below[key]:
                yield prefix + key

    # Said although they are the paper's, because the recipe is about them.
    told = {"model.fpn.p6_from", "model.backbone.freeze_bn"}
    assert set(same_as_below(stated, below)) <= told


def test_learning_rates_of_small_batches_are_given_per_16_pictures():
    for name in ("bccd", "retinanet_lite0_320"):
        train = load_config(name).train
        assert train.optimizer.learning_rate * train.batch_size / 16 == pytest.approx(1e-3)


def test_a_file_of_ones_own_builds_on_a_recipe_or_on_a_neighbour(tmp_path):
    (tmp_path / "own.yaml").write_text("base: bccd\ntrain: {batch_size: 4}\n")
    (tmp_path / "next.yaml").write_text("base: own.yaml\ntrain: {seed: 7}\n")
    config = load_config(tmp_path / "next.yaml", ["train.minutes=1"])
    assert (config.train.batch_size, config.train.seed, config.train.minutes) == (4, 7, 1.0)
    assert config.model == load_config("bccd").model


def test_an_empty_file_is_the_paper(tmp_path):
    (tmp_path / "empty.yaml").write_text("train:\n  # batch_size: 8\n")
    assert load_config(tmp_path / "empty.yaml") == Config()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: {batchsize: 8}", "train.batchsize. The nearest valid key is train.batch_size."),
        ("train: [1", "line 1: expected valid YAML"),
        ("- a", "should hold keys"),
        ("base: own.yaml", "cannot be its own base"),
        ("base: shape", "own.yaml: base: Expected a recipe's name"),
        ("base: shape", "The nearest recipe is shapes."),
        (f"base: {'x' * 5000}", "own.yaml: base: Expected a recipe's name"),
    ],
)
def test_a_bad_file_is_one_line_that_says_why(tmp_path, content, message):
    file = tmp_path / "own.yaml"
    file.write_text(content)
    with pytest.raises(UserError) as error:
        load_config(file)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match=r"'shaped'\. The nearest recipe is shapes\."):
        load_config("shaped")


# --------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("name", [None, *config_names()])
def test_saved_and_loaded_is_equal(tmp_path, name):
    config = load_config(name)
    save_config(config, tmp_path / "run" / "config.yaml")
    assert load_config(tmp_path / "run" / "config.yaml") == config
    assert config_from_dict(config_to_dict(config)) == config
    assert model_config_from_dict(config_to_dict(config.model)) == config.model


def test_plain_is_what_any_yaml_reader_knows():
    text = yaml.safe_dump(config_to_dict(Config()))
    assert yaml.safe_load(text) == config_to_dict(Config())
    assert config_to_dict(Config())["model"]["anchors"]["sizes"] == [32, 64, 128, 256, 512]


def test_dotted_keys_are_all_leaves():
    keys = dotted_keys()
    assert "train.optimizer.learning_rate" in keys
    assert "train.optimizer" not in keys
    assert len(keys) == len(set(keys))
    assert {key.split(".")[0] for key in keys} == {"model", "data", "train", "evaluate", "predict"}


# ----------------------------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train.batch_size=8", "train.batch_size", 8),
        ("train.optimizer.learning_rate=1e-4", "train.optimizer.learning_rate", 1e-4),
        ("train.optimizer.learning_rate=1", "train.optimizer.learning_rate", 1.0),
        ("data.augment.scale=[.5, 2]", "data.augment.scale", (0.5, 2.0)),
        ("data.classes=[a, b]", "data.classes", ("a", "b")),
        ("model.backbone.weights=", "model.backbone.weights", None),
        ("model.backbone.weights=a=b.h5", "model.backbone.weights", "a=b.h5"),
        ("train.loss.alpha=[.1, .2]", "train.loss.alpha", (0.1, 0.2)),
        ("model.fpn.separable=true", "model.fpn.separable", True),
    ],
)
def test_overrides_are_yaml_values_of_the_fields_type(text, key, value):
    changed = load_config(None, [text])
    found = changed
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)
    back = config_to_dict(Config())
    for part in key.split("."):
        back = back[part]
    assert with_overrides(changed, {key: back}) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.learning_rate=1", "nearest valid key is train.optimizer.learning_rate."),
        ("batch_size=8", "nearest valid key is train.batch_size."),
        ("model.backbon.name=x", "nearest valid key is model.backbone.name."),
        (
            "train.batch_size=eight",
            "train.batch_size: expected a valid integer. Received: 'eight' (str).",
        ),
        ("train.batch_size=true", "expected a valid integer. Received: True (bool)."),
        ("train.batch_size=8.5", "expected a valid integer. Received: 8.5 (float)."),
        ("train.batch_size=0", "expected greater than 0. Received: 0 (int)."),
        (
            "train.loss.box=iou",
            "expected 'smooth_l1', 'l1', 'giou', 'diou' or 'ciou'. Received: 'iou' (str).",
        ),
        ("train.loss.alpha=x", "train.loss.alpha: expected a valid number or a list."),
        ("model.anchors.sizes=[1, 2]", "model.anchors.sizes: expected at least 5 items."),
        ("data.name=3", "data.name: expected a valid string. Received: 3 (int)."),
        ("train=5", "Section train should hold keys (batch_size, "),
        ("train.seed", "should read key=value. Received: 'train.seed'."),
        ("train.seed=[", "--set train.seed, line 1: expected valid YAML."),
    ],
)
def test_a_bad_override_names_key_expectation_and_value(text, message):
    with pytest.raises(UserError) as error:
        load_config(None, [text])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_configs_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().backbone = None
