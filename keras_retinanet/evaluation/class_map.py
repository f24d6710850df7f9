"""From the classes of a model to those of a dataset, by name. K: classes of the model."""

import numpy as np

from keras_retinanet.errors import UserError, listed
from keras_retinanet.files.names import name_key

# How many missing class names an error lists.
SHOWN_NAMES = 5


def map_classes(model_names: list[str], dataset_names: list[str]) -> np.ndarray:
    """Find the dataset's class of each of the model's classes, by name.

    Case, spaces, underscores and Unicode's form do not matter where no name is exactly the same.

    Args:
        model_names: the model's classes, in the order of its outputs.
        dataset_names: the dataset's classes.

    Returns:
        (K,) int32: index into `dataset_names`, or -1 for a class that the dataset lacks.

    Raises:
        UserError: a class of the dataset is unknown to the model, so its boxes could never
            be found, or the dataset has no classes.
    """
    exact = {name: index for index, name in enumerate(dataset_names)}
    loose = {_key(name): index for index, name in enumerate(dataset_names)}
    mapped = [exact.get(name, loose.get(_key(name), -1)) for name in model_names]
    missing = [name for index, name in enumerate(dataset_names) if index not in mapped]
    if missing or not dataset_names:
        raise UserError(
            "Class names do not map: the model must know every class of the data set. "
            f"Received: a model of {_listed(model_names)}, which lacks {_listed(missing)}. "
            "Choose the classes both have, or a model trained on this data."
        )
    return np.array(mapped, np.int32)


def _key(name: str) -> str:
    return "".join(name_key(name).casefold().replace("_", " ").split())


def _listed(names: list[str]) -> str:
    return listed(names, limit=SHOWN_NAMES) or "no class"
