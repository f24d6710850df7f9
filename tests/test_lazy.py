"""What `import keras_retinanet` does for Keras, in fresh processes."""

import os
import subprocess
import sys

import pytest

import keras_retinanet

HELP = """
import sys
from keras_retinanet.cli import main
try:
    main(["predict", "--help"])
except SystemExit:
    assert not {"keras", "tensorflow", "numpy"} & set(sys.modules)
"""
LOAD = """
import sys
{imports}
assert "keras_retinanet.modeling" not in sys.modules
model = keras.saving.load_model(sys.argv[1])
assert type(model) is keras_retinanet.RetinaNet, type(model)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    model = keras_retinanet.retinanet("resnet18", 2)
    model.compile()
    model.save(path)
    return path


def python(*words, **environment):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "imports", ["import keras\nimport keras_retinanet", "import keras_retinanet\nimport keras"]
)
def test_keras_loads_a_model_after_the_import_of_the_package_alone(file, imports):
    done = python("-c", LOAD.format(imports=imports), file)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_import_loads_neither_keras_nor_tensorflow():
    code = "import sys, keras_retinanet; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_help_of_a_command_loads_nothing_that_takes_long():
    done = python("-c", HELP)
    assert done.returncode == 0 and "usage" in done.stdout, done.stderr[-2000:]


def test_another_backend_is_one_clear_line(file):
    code = "import keras_retinanet; keras_retinanet.retinanet('resnet18', 2)"
    done = python("-c", code, KERAS_BACKEND="jax")
    assert done.stderr.splitlines()[-1].startswith(
        "keras_retinanet.errors.UserError: Expected Keras"
    )
    done = python("-m", "keras_retinanet", "info", file, KERAS_BACKEND="torch")
    assert done.returncode == 2
    assert "KERAS_BACKEND=torch" in done.stderr.splitlines()[-1]
