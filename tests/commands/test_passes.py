"""The flags of tiles and test-time augmentation."""

import json
from argparse import ArgumentParser

import numpy as np
import pytest
from exporting_cases import blobs, small_model
from in_process import command
from PIL import Image

from keras_retinanet import cli
from keras_retinanet.commands.passes import (
    PASS_FLAGS,
    add_pass_arguments,
    check_passes,
    with_passes,
)
from keras_retinanet.errors import UserError
from keras_retinanet.files.images import headers
from keras_retinanet.modeling.saving import save_model


def parsed(words):
    parser = ArgumentParser()
    add_pass_arguments(parser)
    return parser.parse_args(words.split())


@pytest.fixture(scope="module")
def model():
    return small_model()


def test_without_flags_the_model_is_as_it_is(model):
    args = parsed("")
    assert set(vars(args)) == set(PASS_FLAGS)
    check_passes(args)
    assert with_passes(model, args) is model


@pytest.mark.long
def test_flags_make_passes(model):
    tiled = with_passes(model, parsed("--tile 64 --overlap .5 --tiles_alone"))
    assert (tiled.tile, tiled.overlap, tiled.whole, tiled.inner) == (64, 0.5, False, model)
    augmented = with_passes(model, parsed("--tta"))
    assert augmented.views == [(1, False), (1.25, False), (1, True), (1.25, True)]
    assert with_passes(model, parsed("--scales 1,1.5")).views == [(1, False), (1.5, False)]
    both = with_passes(model, parsed("--tile 80 --tta --scales .8"))
    assert (both.overlap, both.whole, both.inner.views) == (0.2, True, [(0.8, False), (0.8, True)])
    (found,) = both.detect(blobs(100, 120))
    assert len(found) > 5
    assert np.all(found.boxes[:, 2:] <= [120.01, 100.01])


@pytest.mark.long
def test_a_model_s_own_tiles_are_used_unless_a_flag_says_otherwise():
    def passes(words):
        own = small_model(tiles={"side": 96, "overlap": 0.3})
        return own, with_passes(own, parsed(words))

    own, tiled = passes("")
    assert (tiled.tile, tiled.overlap, tiled.whole, tiled.inner) == (96, 0.3, False, own)
    _, augmented = passes("--tta")
    assert augmented.tile == 96 and augmented.inner.views[0] == (1, False)
    _, given = passes("--tile 64")
    assert (given.tile, given.overlap, given.whole) == (64, 0.2, True)
    own, whole = passes("--tile 0")
    assert whole is own and own.config.tiles.side == 0


@pytest.mark.long
def test_evaluate_reads_large_tiffs_in_parts(model, tmp_path, monkeypatch, capsys):
    """The same detections as in decoded images; one that is damaged is named; all are drawn."""
    rows = ["image,xmin,ymin,xmax,ymax,class"]
    for number, name in enumerate(("a.tif", "b.tif", "c.tif")):
        Image.fromarray(blobs(300, 400, number)).save(tmp_path / name, tiffinfo={278: 16})
        rows.append(f"{name},40,40,120,110,{model.class_names[number]}")
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    damaged = tmp_path / "c.tif"
    damaged.write_bytes(damaged.read_bytes()[:-90_000])
    save_model(model, tmp_path / "model.keras")
    words = ["evaluate", "csv", "--data_dir", str(tmp_path), "--split", "all"]
    words += ["--model", str(tmp_path / "model.keras")]

    def evaluated(name):
        drawings, out = tmp_path / name, tmp_path / f"{name}.json"
        files = ["--pictures", str(drawings), "--report", str(tmp_path / "page.html")]
        assert command(*words, *files, "--tile", "128", "--out", str(out)) == 0
        assert "1 could not be read: c.tif" in capsys.readouterr().out
        assert len(list(drawings.iterdir())) == 2
        return json.loads(out.read_text())

    decoded = evaluated("decoded")
    monkeypatch.setattr(headers, "MAX_PIXELS", 100_000)
    read = evaluated("read")
    assert len(read) == len(decoded) > 20
    for key in ("image_id", "category_id", "score", "bbox"):
        found, expected = ([row[key] for row in rows] for rows in (read, decoded))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
    assert command(*words, "--tile", "0") == 2
    assert "huge picture, skipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--overlap .3", "Expected --overlap with --tile"),
        ("--tiles_alone", "Expected --tiles_alone with --tile"),
        ("--tile 0 --overlap .3", "Received: --tile 0"),
        ("--tile 8", "Received: tile=8"),
        ("--tile 64 --overlap 1", "Received: overlap=1"),
        ("--scales 9", "Received: 9"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(words, message, model):
    args = parsed(words)

    def passes():
        check_passes(args)
        return with_passes(model, args)

    with pytest.raises(UserError, match=message) as caught:
        passes()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["1,x", "", "1,1"])
def test_scales_are_different_numbers(text, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.build_parser().parse_args(["predict", "a.jpg", "--scales", text])
    assert caught.value.code == 2
    assert "expected different factors, such as .8,1,1.25" in capsys.readouterr().err
