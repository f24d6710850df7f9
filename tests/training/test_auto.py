"""What `train` decides for a data set and a machine, and what a user's own choice changes."""

from dataclasses import replace

import numpy as np
import pytest
from real_sets import BCCD
from tiny_command import TINY, run

from keras_retinanet.config import Config
from keras_retinanet.config.files import load_config, with_overrides
from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.training.auto import facts, planning, run_rules
from keras_retinanet.training.auto.facts import Machine, look_at

LAPTOP = Machine(cores=2, memory=16)
GPU = Machine(cores=16, memory=64, gpus=1, bfloat16=True)


def record(index, size, boxes, classes) -> Record:
    return Record(
        image_id=index,
        image=ImageRef(f"{index}.jpg"),
        height=size[0],
        width=size[1],
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        classes=np.array(classes, np.int32),
        ignore=np.zeros(len(boxes), bool),
        areas=np.ones(len(boxes), np.float32),
        file_name=f"{index}.jpg",
    )


def dataset(images, *, size=(480, 640), side=60, per_image=5, names=("cat", "dog")) -> Dataset:
    """Return images with square boxes of `side` pixels on a grid, of all classes in turn."""
    records = []
    for index in range(images):
        corners = [
            (10 + (side + 4) * (n % 5), 10 + (side + 4) * (n // 5 % 5)) for n in range(per_image)
        ]
        boxes = [(x, y, x + side, y + side) for x, y in corners]
        classes = [(index + n) % len(names) for n in range(per_image)]
        records.append(record(index, size, boxes, classes))
    return Dataset("set", "train", list(names), list(range(len(names))), records)


@pytest.fixture
def planned(monkeypatch):
    """Return a function: training and validation data -> the plan's configuration and lines."""

    def decide(
        train,
        val=None,
        *,
        machine=LAPTOP,
        at_hand=("efficientnet_lite0",),
        is_held_out=False,
        **given,
    ):
        monkeypatch.setattr(run_rules, "weights_at_hand", lambda name: name in at_hand)

        def load(options, seed):
            if options.val_split == "none" and is_held_out:
                return replace(train, records=[*train.records, *val.records]), None
            return train, None if options.val_split == "none" else val

        monkeypatch.setattr(planning, "load_train_val", load)
        given = {key.replace("__", "."): value for key, value in given.items()}
        found = planning.plan(with_overrides(Config(), given), given, machine=machine)
        return found.config, {line.split(":")[0].strip(): line for line in found.lines[1:]}

    return decide


def test_facts_count_sides_and_images_of_classes():
    rows = [
        record(0, (100, 200), [(0, 0, 30, 30), (0, 0, 10, 40)], [0, 0]),
        record(1, (300, 100), [(0, 0, 60, 60)], [2]),
    ]
    found = look_at(Dataset("set", "train", ["a", "b", "c"], [0, 1, 2], rows), None)
    assert found.sides.tolist() == [30, 20, 60]
    np.testing.assert_allclose(found.relative_sides, [0.15, 0.1, 0.2])
    assert found.class_images.tolist() == [1, 0, 1]
    assert (found.images, found.long_side, found.most_objects, found.val_images) == (2, 250, 2, 0)
    assert found.aspect == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_a_few_hundred_images_on_a_laptop(planned):
    config, lines = planned(dataset(200), dataset(40))
    assert config.model.backbone.name == "efficientnet_lite0"
    assert config.model.backbone.weights == "imagenet"
    assert (config.model.fpn.channels, config.model.head.norm) == (64, "group_norm")
    assert (config.model.preprocessing.short_side, config.model.preprocessing.long_side) == (
        320,
        416,
    )
    assert (config.train.batch_size, config.train.minutes) == (8, 30)
    assert config.train.steps == 200 * run_rules.MOST_PASSES // 16
    # 30 minutes are 14,400 images on this machine: twelve evaluations, one every 150 steps of 8.
    assert (config.train.eval_every, config.train.patience) == (150, 6)
    assert config.data.max_boxes == "auto"
    assert "balance" not in lines and "precision" not in lines and "canvas" not in lines


def test_the_same_data_has_the_same_plan(planned):
    assert (
        planned(dataset(30, side=17), dataset(5))[0] == planned(dataset(30, side=17), dataset(5))[0]
    )


def test_what_the_user_set_stays_and_the_rest_follows_it(planned):
    config, lines = planned(
        dataset(200),
        dataset(40),
        train__minutes=5.0,
        train__batch_size=4,
        model__preprocessing__short_side=256,
        model__preprocessing__long_side=256,
    )
    assert (config.train.minutes, config.train.batch_size) == (5, 4)
    assert config.model.preprocessing.long_side == 256
    assert "input" not in lines and "batch" not in lines
    assert "train.minutes" not in lines["length"] and "train.steps" in lines["length"]
    # 5 minutes at 256 x 256 are 4,875 images.
    assert config.train.eval_every == -(-4875 // 4 // 12)


def test_a_section_of_the_user_stays_as_a_whole(planned):
    config, lines = planned(dataset(200), dataset(40), data__augment={"flip": 0.25})
    assert (config.data.augment.flip, config.data.augment.scale) == (0.25, (1.0, 1.0))
    assert "augmentation" not in lines


def test_steps_of_the_user_are_not_bounded_by_minutes(planned):
    config, _ = planned(dataset(200), dataset(40), train__steps=1000)
    assert (config.train.steps, config.train.minutes) == (1000, 0)


@pytest.mark.long
def test_small_objects_get_a_larger_input_that_the_time_allows(planned):
    small = dataset(200, size=(960, 1280), side=30)
    config, lines = planned(small, dataset(20), train__minutes=240.0)
    assert config.model.preprocessing.long_side == 1024
    # 8 images of 768 x 1024 take more than half of 16 GiB.
    assert (config.train.batch_size, config.train.micro_batch) == (8, 4)
    assert "in parts" in lines["batch"]
    config, lines = planned(small, dataset(20), train__minutes=15.0)
    assert config.model.preprocessing.long_side == 640
    assert "too few steps" in lines["input"]
    config, lines = planned(dataset(200, size=(384, 512), side=12), dataset(20))
    assert config.model.preprocessing.long_side == 512
    assert "the images have 512" in lines["input"]


@pytest.mark.long
def test_anchors_are_fitted_where_the_usual_ones_miss_boxes(planned):
    flat = [
        record(n, (480, 640), [(20, 20, 420, 60), (50, 200, 350, 220)], [0, 0]) for n in range(40)
    ]
    config, lines = planned(Dataset("set", "train", ["car"], [0], flat), dataset(10))
    assert lines["anchors"].split("(")[1].startswith("fitted")
    assert min(config.model.anchors.ratios) < 0.3


def test_few_images_of_many_shapes_share_a_canvas(planned):
    rows = [record(n, (300 + 40 * n, 900 - 40 * n), [(0, 0, 50, 50)], [0]) for n in range(12)]
    config, lines = planned(Dataset("set", "train", ["a"], [0], rows), dataset(10))
    assert config.model.preprocessing.canvas == "square" and "canvas" in lines


def test_of_a_handful_of_images_none_is_held_out(planned):
    config, lines = planned(dataset(4), dataset(1), is_held_out=True)
    assert config.data.val_split == "none"
    assert "5 images are too few" in lines["validation"] and "evaluation" not in lines
    # A split of the data set's own stays, however small.
    config, lines = planned(dataset(4), dataset(1))
    assert config.data.val_split is None and "validation" not in lines
    config, lines = planned(dataset(9), dataset(1), is_held_out=True)
    assert config.data.val_split is None and "validation" not in lines


def test_flips_are_off_where_they_would_change_the_class(planned):
    for names in (("left_hand", "right_hand"), ("3", "7"), ("a", "b"), ("Turn-Left", "stop")):
        config, _ = planned(dataset(40, names=names), dataset(10))
        assert config.data.augment.flip == 0, names
    config, _ = planned(dataset(40, names=("leftover", "bright")), dataset(10))
    assert config.data.augment.flip == 0.5


def test_without_pretrained_weights_it_says_how_to_get_them(planned):
    config, lines = planned(dataset(40), dataset(10), at_hand=())
    assert (config.model.backbone.name, config.model.backbone.weights) == ("resnet18", None)
    assert config.model.head.norm == "group_norm"
    assert "pip install" in lines["start"]


def test_a_named_backbone_stays(planned):
    config, lines = planned(dataset(40), dataset(10), model__backbone__name="resnet50")
    assert (config.model.backbone.name, config.model.backbone.weights) == ("resnet50", None)
    assert config.model.fpn.channels == 256
    assert "no pretrained weights of resnet50" in lines["start"]


def test_a_gpu_trains_a_resnet_without_a_limit_of_minutes(planned):
    config, _ = planned(dataset(300), dataset(40), machine=GPU, at_hand=("resnet50",))
    assert (config.model.backbone.name, config.train.minutes) == ("resnet50", 0)
    assert (config.train.batch_size, config.train.precision) == (16, "mixed_bfloat16")


def test_plans_do_not_depend_on_what_is_free_now():
    """Two machines of one class have one plan: memory counts in powers of two."""
    machine = facts.this_machine()
    assert machine.memory & (machine.memory - 1) == 0 and machine.cores >= 1


def spread(images, *, size=(1500, 1500), sides=(18, 22), per_image=300) -> Dataset:
    """Return images seen from above: square boxes of all places and sizes."""
    random = np.random.default_rng(0)
    records = []
    for index in range(images):
        corners = random.uniform(0, [size[1] - sides[1], size[0] - sides[1]], (per_image, 2))
        lengths = random.uniform(*sides, (per_image, 1))
        boxes = np.concatenate([corners, corners + lengths], axis=1)
        records.append(record(index, size, boxes, [0] * per_image))
    return Dataset("set", "train", ["crown"], [0], records)


@pytest.mark.long
def test_large_images_with_small_objects_are_tiled(planned):
    config, lines = planned(spread(20), spread(2))
    assert config.model.tiles.side == 352  # 20 px become 24 in 416
    assert config.model.preprocessing.short_side == config.model.preprocessing.long_side == 416 + 32
    assert "tiles" in lines and "input" not in lines
    # 10 images are 250 tiles: to evaluate them twelve times would take too much of the run.
    often, seldom = (
        planned(spread(20, per_image=50), spread(count, per_image=5))[0] for count in (1, 10)
    )
    assert often.train.eval_every < seldom.train.eval_every / 2
    # Fitted at the size at which the network sees the boxes: 23 to 28 px of the 448.
    assert 16 < config.model.anchors.sizes[0] < 32
    for data in (spread(20, sides=(90, 110), per_image=30), dataset(100, side=12)):
        config, lines = planned(data, spread(2))
        assert config.model.tiles.side == 0 and "tiles" not in lines


@pytest.mark.long
def test_tiles_of_the_user_stay(planned):
    config, _ = planned(spread(20), spread(2), model__tiles__side=256)
    assert (config.model.tiles.side, config.model.preprocessing.long_side) == (256, 320)
    config, lines = planned(spread(20), spread(2), model__tiles__side=0)
    assert config.model.tiles.side == 0 and "input" in lines


@pytest.mark.long
def test_boxes_without_up_and_down_are_turned_too(planned):
    config, _ = planned(spread(30, size=(480, 640), sides=(40, 90), per_image=10))
    assert (config.data.augment.flip_vertical, config.data.augment.rotate90) == (0.5, 0.5)
    # Standing objects; objects that are larger below, as near ones are; a few boxes.
    standing = spread(30, size=(480, 640), sides=(40, 90), per_image=10)
    standing = [replace(r, boxes=r.boxes * np.float32([1, 0.7, 1, 1])) for r in standing.records]
    near = [replace(r, boxes=r.boxes.copy()) for r in spread(30, size=(480, 640)).records]
    for row in near:
        row.boxes[:, 2:] = row.boxes[:, :2] + 5 + row.boxes[:, 1:2] / 5
    for records in (standing, near, spread(10, per_image=4).records):
        config, _ = planned(Dataset("set", "train", ["crown"], [0], records))
        assert config.data.augment.flip_vertical == config.data.augment.rotate90 == 0


def test_rare_classes_are_drawn_more_often(planned):
    rows = [record(n, (480, 640), [(9, 9, 99, 99)], [int(n < 3)]) for n in range(100)]
    config, lines = planned(Dataset("set", "train", ["many", "few"], [0, 1], rows), dataset(10))
    assert config.data.balance > 0
    assert "few is in 3 images only, the most frequent class in 97" in lines["balance"]


@pytest.mark.long
def test_a_folder_becomes_a_detector_without_a_recipe(tmp_path):
    out = tmp_path / "run"
    words = ["--backbone", TINY, "--image_size", "64,96", "--batch_size", 4, "--steps", 2]
    code, printed = run("train", "--data_dir", BCCD, "--out", out, *words)
    assert code == 0, printed
    assert "\n  boxes:        data.max_boxes=auto" in printed
    assert "batch:" not in printed and "input:" not in printed
    for line in ("best AP ", "curves: ", "next:   keras_retinanet predict IMAGES --model "):
        assert line in printed
    config = load_config(out / "config.yaml")
    assert config.train.loss.box == "giou" and config.data.augment.rotate90 == 0.5
    # Resuming does not plan again.
    code, printed = run("train", "--resume", out)
    assert code == 0 and "plan for" not in printed, printed
