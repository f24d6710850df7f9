"""What `dataset convert` writes, `train` takes: recognised, in two steps, by the command line."""

import pytest

from keras_retinanet.cli import build_parser, run
from keras_retinanet.data.writers import WRITERS

TOY = (
    "model.fpn.channels=16 model.head.channels=16 model.head.depth=1 "
    "model.preprocessing.short_side=64 model.preprocessing.long_side=96 train.eval_every=2"
).split()


def command(*words):
    return run(build_parser().parse_args([str(word) for word in words]))


@pytest.mark.slow
@pytest.mark.parametrize("form", WRITERS)
def test_each_written_form_trains(form, real_coco, tmp_path, capsys):
    folder, out = tmp_path / form, tmp_path / "run"
    assert command("dataset", "convert", real_coco, folder, "--to", form) == 0
    changes = [word for change in TOY for word in ("--set", change)]
    # Two steps of 8 pictures are one of 16.
    trained = command(
        *("train", "--data_dir", folder, "--config", "shapes", "--steps", 1, "--batch_size", 8),
        *("--minutes", 0, "--out", out, *changes),
    )
    assert trained == 0 and (out / "best.keras").exists()
    assert f"is recognised as {form}" in capsys.readouterr().out
