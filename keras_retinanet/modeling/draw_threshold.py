"""The score from which detections are drawn: the user's, the model's own, or .5."""

from collections.abc import Mapping, MutableMapping

# Key of a model's metadata: the score at which F1 was best on the validation split (IoU .5).
F1_THRESHOLD = "F1_threshold"
# Of a model that stores none.
USUAL_THRESHOLD = 0.5


def draw_threshold(metadata: Mapping[str, str], wanted: float | None = None) -> float:
    """Return the least score of a drawn box.

    Args:
        metadata: of a RetinaNet or an exported file.
        wanted: `predict.draw_threshold`; None: what training stored, else `USUAL_THRESHOLD`.
    """
    if wanted is not None:
        return wanted
    try:
        stored = float(metadata.get(F1_THRESHOLD, USUAL_THRESHOLD))
    except (TypeError, ValueError):  # a file from anywhere
        return USUAL_THRESHOLD
    return stored if 0 <= stored <= 1 else USUAL_THRESHOLD


def store_threshold(metadata: MutableMapping[str, str], threshold: float | None) -> None:
    """Store a threshold in a model's metadata; None: there is none."""
    if threshold is None:
        metadata.pop(F1_THRESHOLD, None)
    else:
        metadata[F1_THRESHOLD] = repr(threshold)
