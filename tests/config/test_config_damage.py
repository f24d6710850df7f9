"""A configuration that someone edited, or made to take all memory: the value, or one line."""

import random

import pytest
import yaml
from faults.alarm import alarm

from keras_retinanet.config import Config
from keras_retinanet.config.files import config_to_dict, load_config, save_config, with_overrides
from keras_retinanet.errors import MAX_MESSAGE, UserError

SECONDS = 60
VALUES = (
    *(None, True, False, 0, -1, 0.5, 1e300, 2**31, 10**18, float("inf"), float("nan")),
    *("", "x", "\ud800", "a\0b", "no", "1e400", [], [1], [[]], ["a", 2], {}, {"a": 1}, {1: {2: 3}}),
)
NAMES = ("", "x", "base", "<<", "model.fpn", "channel", "k" * 10_000, 3, None, True)


def mutated(values, rng):
    """One of a few slips at a random place of nested dicts."""
    place, key = values, rng.choice(list(values))
    while isinstance(place[key], dict) and place[key] and rng.random() < 0.85:
        place = place[key]
        key = rng.choice(list(place))
    match rng.randrange(5):
        case 0:
            del place[key]
        case 1:
            place[rng.choice(NAMES)] = place.pop(key)
        case 2:
            place[key] = [place[key]] * rng.randrange(4)
        case _:
            place[key] = rng.choice(VALUES)
    return values


def outcome_of(path):
    try:
        with alarm(SECONDS):
            return load_config(path)
    except UserError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) <= MAX_MESSAGE
        return message


@pytest.mark.parametrize("seed", range(60))
def test_a_run_s_configuration_with_slips_is_an_error_or_a_config(tmp_path, seed):
    path, rng = tmp_path / "config.yaml", random.Random(seed)
    values = config_to_dict(load_config("bccd"))
    for _ in range(rng.randrange(1, 4)):
        values = mutated(values, rng)
    text = yaml.safe_dump(values)
    if seed % 4 == 0:  # and cut or flipped as text
        letters = list(text)
        for _ in range(rng.randrange(1, 8)):
            letters[rng.randrange(len(letters))] = rng.choice("\t\n:-[]{}&*!|>'\"%@`#,? \0a1")
        text = "".join(letters)[: rng.randrange(len(letters))]
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    outcome = outcome_of(path)
    if isinstance(outcome, Config):  # what was taken can be written, and is read back
        save_config(outcome, path)
        assert load_config(path) == outcome
    else:
        assert str(path) in outcome


NINES = "9" * 5000
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "an alias"),
        ("data: {classes: &a [x, *a]}", "an alias"),
        ("train: &a {loss: *a}", "an alias"),
        ("train: {seed: 1" + ":59" * 30_000 + "}", "too long or too large for a number"),
        (f"train: {{seed: {NINES}}}", "too long or too large"),
        ("train: {seed: 0x" + "f" * 100_000 + "}", "too long or too large"),
        ("train: {steps: 10000000000000000000}", "train.steps: expected .*less than or equal"),
        ("train: {optimizer: {learning_rate: 1e400}}", "too large for a number"),
        ("train: {optimizer: {learning_rate: .nan}}", "too large for a number"),
        ("train: {optimizer: {learning_rate: 1e300}}", "learning_rate: expected .*less than"),
        ("model: {preprocessing: {long_side: 1000000000}}", "long_side: expected .*less than"),
        ("train: {seed: -1}", "train.seed: expected .*greater than"),
        ("train: " + "[" * 5000, "nested more than 32 deep"),
        ("train: " + "{a: " * 5000, "nested more than 32 deep"),
        ("- " * 5000, "nested more than 32 deep"),
        ('data: {data_dir: "a\\0b"}', "data.data_dir: expected a plain value"),
        ('data: {classes: ["\\ud800"]}', "data.classes: expected a plain value"),
        ("data: {classes: {2001-01-01: a}}", "data.classes: expected"),
        ("data: {classes: !!binary aGFsbG8=}", "data.classes: expected"),
        ("train: {batch_size: " + "x" * 100_000 + "}", "train.batch_size: expected"),
        ("? " + "t" * 100_000 + "\n: 1", "Unknown key t"),
        ("a: b\n" * 200_000, "more than 524,288 bytes"),
    ],
)
def test_yaml_that_would_take_memory_or_time_is_one_line(tmp_path, text, words):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with alarm(SECONDS), pytest.raises(UserError, match=words) as caught:
        load_config(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    assert str(path) in message


def test_overrides_are_bounded_too():
    nested: list = []
    nested.append(nested)
    for value in (float("nan"), nested, 10**5000, "a\0b", {"a": nested}):
        with pytest.raises(UserError, match=r"expected"):
            with_overrides(Config(), {"train.seed": value})
    with pytest.raises(UserError, match="too long or too large"):
        with_overrides(Config(), [f"train.seed={NINES}"])
