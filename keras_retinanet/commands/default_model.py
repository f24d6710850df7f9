"""The model of a command that was told none: of the newest run, else the built-in one."""

from pathlib import Path

from keras_retinanet.commands.common import find_model, has_model
from keras_retinanet.errors import listed
from keras_retinanet.training.run_folder import RUNS

# For `add_model_argument`.
OTHERWISE = ", or else the built-in model"


def find_any_model(path: str | None) -> Path:
    """Return the model file as `find_model` does, but the built-in one where no run has any."""
    if path is not None or has_model():
        return find_model(path)
    from keras_retinanet.checkpoints.built_in import default_model

    return default_model().path


def introduce(path: Path) -> None:
    """Print what the built-in model knows and how to get another one; nothing for other models."""
    from keras_retinanet.checkpoints.built_in import default_model

    model = default_model()
    if path != model.path:
        return
    facts = model.metadata
    license = facts["license"].partition(" (")[0]
    print(
        f"There is no model below {RUNS}/: using the built-in {model.name}, which detects "
        f"{listed(model.class_names)} in images of {facts['subject']}, trained on {facts['data']}, "
        f"license {license}.\n"
        "For your own objects, train a model on your images: "
        "keras_retinanet train --data_dir FOLDER"
    )


def shown_name(path: Path) -> str:
    """Return a model's path, or the name of a built-in one."""
    from keras_retinanet.checkpoints.built_in import built_in_models

    names = {model.path: model.name for model in built_in_models().values()}
    return names.get(path, str(path))
