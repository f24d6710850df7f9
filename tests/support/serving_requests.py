"""Predict requests as https://www.tensorflow.org/tfx/serving/api_rest states them, and answers.

Written from the documentation: no server was tried.
"""

import base64
import json

import numpy as np
import tensorflow as tf


class BadRequest(ValueError):
    """The request is not as the documentation has it."""


def read_request(body: str, signatures) -> tuple[str, dict[str, np.ndarray], bool]:
    """Return signature name, input name -> array, and whether the request is in row format."""
    request = json.loads(body)
    if ("instances" in request) == ("inputs" in request):
        raise BadRequest("either instances or inputs, but not both")
    name = request.get("signature_name", "serving_default")
    if name not in signatures:
        raise BadRequest(f"no signature {name}")
    inputs = signatures[name].inputs
    is_row = "instances" in request
    read = _rows if is_row else _columns
    values = read(request["instances" if is_row else "inputs"], list(inputs))
    return name, {key: _tensor(values[key], inputs[key]) for key in inputs}, is_row


def _is_binary(value) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"]


def _rows(instances, names):
    """One value an instance where there is one input, or an object of one value for each input."""
    if not isinstance(instances, list) or not instances:
        raise BadRequest("instances is a list")
    if any(isinstance(row, dict) and not _is_binary(row) for row in instances):
        if not all(isinstance(row, dict) and sorted(row) == sorted(names) for row in instances):
            raise BadRequest("each instance names each input")
        return {name: [row[name] for row in instances] for name in names}
    if len(names) != 1:
        raise BadRequest("several inputs are named")
    return {names[0]: instances}


def _columns(inputs, names):
    """The tensor of the only input, or an object of a tensor for each input."""
    if isinstance(inputs, dict) and not _is_binary(inputs):
        if sorted(inputs) != sorted(names):
            raise BadRequest("inputs names each input")
        return inputs
    if len(names) != 1:
        raise BadRequest("several inputs are named")
    return {names[0]: inputs}


def _tensor(value, info) -> np.ndarray:
    """Return a JSON value as a tensor of the type and shape of a signature's input."""
    dtype = tf.as_dtype(info.dtype)

    def leaves(value):
        if isinstance(value, list):
            return [leaves(part) for part in value]
        if dtype == tf.string:
            if _is_binary(value):
                return base64.b64decode(value["b64"], validate=True)
            if isinstance(value, str):
                return value.encode()
        elif isinstance(value, int | float) and not isinstance(value, bool):
            return value
        raise BadRequest(f"a value of type {dtype.name}, not {value!r}")

    try:
        array = np.array(leaves(value), object if dtype == tf.string else dtype.as_numpy_dtype)
    except (ValueError, OverflowError) as error:
        raise BadRequest(str(error)) from error
    sides = [dimension.size for dimension in info.tensor_shape.dim]
    fits = [want in (-1, have) for want, have in zip(sides, array.shape, strict=False)]
    if len(sides) != array.ndim or not all(fits):
        raise BadRequest(f"a shape of {sides}, not {array.shape}")
    return array


def written_response(outputs, *, is_row: bool):
    """Return the documented JSON of a model's outputs, as a client reads it."""
    values = {name: value.numpy().tolist() for name, value in outputs.items()}
    if not is_row:
        return json.loads(json.dumps({"outputs": values}))
    assert len({len(value) for value in values.values()}) == 1  # the same 0-th dimension
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return json.loads(json.dumps({"predictions": rows}))
