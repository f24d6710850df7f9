"""The data that a command is given by a folder alone."""

import argparse

from keras_retinanet.commands import evaluate


def test_a_model_outside_of_a_run_is_evaluated_on_a_recognized_folder(tmp_path, capsys):
    (tmp_path / "annots").mkdir()
    (tmp_path / "annots/a.xml").touch()
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    for model in ("model.keras", "model.tflite", "model.onnx", "saved_model"):
        words = ["--data_dir", str(tmp_path), "--model", model, "--units", "percent"]
        config = evaluate.config_from_args(parser.parse_args(words), None)
        assert (config.data.source, config.data.data_dir) == ("voc", str(tmp_path))
        assert config.data.units == "percent"
        assert "is recognized as voc: annots/a.xml" in capsys.readouterr().out
