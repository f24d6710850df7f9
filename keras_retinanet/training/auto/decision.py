"""What a rule of a plan sees, and what it gives."""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras_retinanet.config import Config
from keras_retinanet.training.auto.facts import DataFacts, Machine


class Situation(NamedTuple):
    """What is known when a rule decides.

    Attributes:
        config: with all that was decided before.
        given: dotted keys that the user set, whose values stay.
    """

    config: Config
    data: DataFacts
    machine: Machine
    given: frozenset[str]

    @property
    def pixels(self) -> int:
        """The pixels of the network's input."""
        sides = self.config.model.preprocessing
        return sides.short_side * sides.long_side


class Decision(NamedTuple):
    """Values of options by dotted key, and the reason for them in one line."""

    values: dict[str, Any]
    reason: str


# None: there is nothing to decide.
Rule = Callable[[Situation], Decision | None]
