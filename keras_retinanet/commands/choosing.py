"""Flags of `predict` for what is done with detections: their classes, scores, and labels."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.forms import FORMS
from keras_retinanet.errors import UserError
from keras_retinanet.files.targets import check_new_folder

if TYPE_CHECKING:
    import numpy as np

CROPS = "crops"
# Key of the threshold of classes that have none of their own.
OTHERS = ""


@dataclass(frozen=True)
class Choice:
    """What of a model's detections is kept.

    Attributes:
        classes: names of those that are written at all.
        threshold: least score of what is drawn, or is a label; an array: (K,) one for each class.
    """

    classes: tuple[str, ...]
    threshold: "float | np.ndarray"

    def shown(self, class_names: Sequence[str]) -> str:
        """Return the threshold in words."""
        if isinstance(self.threshold, float):
            return f"score {self.threshold:.3f} or more"
        of_class = dict(zip(class_names, self.threshold, strict=True))
        scores = ", ".join(f"{name} {of_class[name]:.3f}" for name in self.classes)
        return f"the score of their class or more ({scores})"


def add_choice_arguments(parser: ArgumentParser) -> None:
    """Add the flags."""
    add = parser.add_argument
    add(
        "--threshold",
        type=thresholds,
        default={},
        metavar="S[,CLASS=S]",
        help="minimum score of a drawn box (the model's own); .5,RBC=.7: another one for a class",
    )
    add("--classes", metavar="A,B", help="keep only the detections of these classes")
    add = parser.add_argument_group("labels of images").add_argument
    add(
        "--write",
        choices=FORMS,
        help="also write the images, with the boxes of --threshold as labels, as the data set "
        "DIR/FORM, to correct or to train on",
    )
    add(
        "--crops",
        action="store_true",
        help=f"also save each of these boxes as an image in DIR/{CROPS}/CLASS/",
    )


def thresholds(text: str) -> dict[str, float]:
    """Parse "S,CLASS=S,..." into class -> score, with that of the other classes as `OTHERS`."""
    found: dict[str, float] = {}
    for word in text.split(","):
        name, _, number = word.rpartition("=")
        try:
            score = float(number)
        except ValueError:
            score = -1.0
        if not 0 <= score <= 1 or name.strip() in found or word.startswith("="):
            raise argparse.ArgumentTypeError(
                f"expected a score of 0 to 1, or one for each of some classes, such as .5 or "
                f".5,RBC=.7. Received: {text!r}"
            )
        found[name.strip()] = score
    return found


def check_choice(args: Namespace, *, has_images: bool) -> None:
    """Raise a UserError for labels that cannot be written, before any slow work."""
    given = [f"--{name}" for name in ("write", "crops") if getattr(args, name)]
    if given and not has_images:
        raise UserError(
            f"Expected images for {given[0]}. Received: videos alone. Save frames as images."
        )
    if args.write and args.exif == "apply":
        raise UserError(
            "Expected --write with --exif stored: the boxes of data sets are on the pixels as "
            "stored. Received: --exif apply. Remove one of them."
        )
    for name in (args.write, CROPS if args.crops else None):
        if name is not None:
            check_new_folder(Path(args.out, name))


def chosen(args: Namespace, model: Any, *, usual: float | None) -> Choice:
    """Return what the flags choose of a model's detections.

    Args:
        model: with `class_names` and `metadata`.
        usual: `predict.draw_threshold`, for classes of which --threshold says nothing.
    """
    from keras_retinanet.modeling.draw_threshold import draw_threshold

    score = draw_threshold(model.metadata, args.threshold.get(OTHERS, usual))
    return Choice(
        chosen_classes(args.classes, model.class_names),
        class_thresholds(args.threshold, score, model.class_names),
    )


def chosen_classes(text: str | None, class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of --classes; all of the model's without.

    Raises:
        UserError: the model has no such class, or a name is there twice.
    """
    if text is None:
        return tuple(class_names)
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in class_names]
    if unknown or len(set(names)) < len(names):
        raise UserError(
            f"Expected different classes of the model ({', '.join(class_names)}). "
            f"Received: --classes {text}."
        )
    return names


def class_thresholds(
    given: Mapping[str, float], usual: float, class_names: Sequence[str]
) -> "float | np.ndarray":
    """Return the threshold of all classes, or (K,) float32 one of each.

    Args:
        given: from `thresholds`.
        usual: of the classes that `given` does not name.

    Raises:
        UserError: the model has no such class.
    """
    own = {name: score for name, score in given.items() if name != OTHERS}
    if unknown := [name for name in own if name not in class_names]:
        raise UserError(
            f"Expected --threshold of classes of the model ({', '.join(class_names)}). "
            f"Received: {', '.join(unknown)}."
        )
    if not own:
        return usual
    import numpy as np

    return np.array([own.get(name, usual) for name in class_names], np.float32)
