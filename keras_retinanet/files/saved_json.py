"""JSON that this package wrote earlier, checked when it is read again."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from keras_retinanet.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


def validated(
    kind: type[Model], content: Any, path: str | Path, *, expected: str, again: str
) -> Model:
    """Return `content`, the value of the JSON file `path`, as a `kind`.

    Args:
        expected: what the file should hold, for the message.
        again: the sentence that says how to get such a file.

    Raises:
        UserError: it is another file, or was changed.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise UserError(
            f"Expected {expected}. Received: {path} with {where}: {fault['msg']}. {again}"
        ) from error
