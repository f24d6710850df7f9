"""Fields of the configuration: their bounds, and a description that travels with each."""

import dataclasses
from typing import Annotated, Any

from pydantic import Field

# What 32 bits hold, and floats that stay so when they multiply: no real choice is near these.
MAX_INT, MAX_FLOAT = 2**31 - 1, 10**6
PositiveInt = Annotated[int, Field(gt=0, le=MAX_INT)]
NaturalInt = Annotated[int, Field(ge=0, le=MAX_INT)]
# Pixels, and images or boxes: the memory reserved at once grows with them.
Side = Annotated[int, Field(gt=0, le=1 << 14)]
Count = Annotated[int, Field(gt=0, le=1 << 16)]
# Bounded, as is the heads' depth: a model file from anywhere must not reserve all memory.
Channels = Annotated[int, Field(gt=0, le=4096)]
PositiveFloat = Annotated[float, Field(gt=0, le=MAX_FLOAT)]
NaturalFloat = Annotated[float, Field(ge=0, le=MAX_FLOAT)]
Finite = Annotated[float, Field(ge=-MAX_FLOAT, le=MAX_FLOAT)]
Fraction = Annotated[float, Field(ge=0, le=1)]
AnyNumber = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
PerCoordinate = Annotated[tuple[PositiveFloat, ...], Field(min_length=4, max_length=4)]
PerChannel = Annotated[tuple[Finite, ...], Field(min_length=3, max_length=3)]
PositivePerChannel = Annotated[tuple[PositiveFloat, ...], Field(min_length=3, max_length=3)]


def option(default: Any, description: str) -> Any:
    """Return a dataclass field with a default and the text that help and reference print.

    Pydantic reads the same metadata, so that a JSON schema has the description too.
    """
    return dataclasses.field(default=default, metadata={"description": description})


def section_of(entry: dataclasses.Field) -> type | None:
    """Return the dataclass that `entry` holds, or None if it holds a value."""
    return entry.type if dataclasses.is_dataclass(entry.type) else None  # type: ignore[return-value]


def describe(section: type, key: str) -> str:
    """Return the description of the option at dotted `key` below `section`; "" if unknown."""
    name, _, rest = key.partition(".")
    entries = {entry.name: entry for entry in dataclasses.fields(section)}
    if name not in entries:
        return ""
    inner = section_of(entries[name])
    return describe(inner, rest) if inner else entries[name].metadata.get("description", "")
