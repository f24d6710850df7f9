"""The public names, and that importing the package costs nothing."""

import subprocess
import sys

import keras_retinanet


def test_public_names_are_these():
    assert keras_retinanet.__all__ == [
        "AnchorLabeler",
        "Config",
        "Detections",
        "RetinaNet",
        "RetinaNetLoss",
        "__version__",
        "import_checkpoint",
        "import_model",
        "load",
        "load_config",
        "retinanet",
        "save_model",
        "train",
    ]


def test_every_public_name_is_what_its_module_has():
    from keras_retinanet.modeling.retinanet import retinanet
    from keras_retinanet.training.run import train

    for name in keras_retinanet.__all__:
        assert getattr(keras_retinanet, name) is not None
        assert name in dir(keras_retinanet)
    assert keras_retinanet.retinanet is retinanet
    assert keras_retinanet.train is train


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(keras_retinanet, "retinanets")


def test_import_and_help_load_no_tensorflow():
    code = (
        "import sys, keras_retinanet, keras_retinanet.cli; keras_retinanet.load_config('shapes');"
        "keras_retinanet.cli.build_parser().format_help();"
        "print(sorted({'tensorflow', 'keras', 'matplotlib'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
