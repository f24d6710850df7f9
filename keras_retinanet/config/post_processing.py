"""The part of the model's configuration that turns its outputs into detections."""

from dataclasses import dataclass, replace
from typing import Literal

from keras_retinanet.config.options import Count, Fraction, NaturalFloat, PositiveInt, option

# Detections per image where no image has more objects: COCO's.
USUAL_DETECTIONS = 100
# What a client of an exported program may ask for: their memory is reserved in advance.
MOST_DETECTIONS = 10_000


@dataclass(frozen=True)
class DetectionConfig:
    """Post-processing, logits -> boxes (section 4.1 and Detectron's test options)."""

    score_threshold: Fraction = option(
        0.05, "Minimum score of a detection. Drawing has its own threshold."
    )
    pre_nms_top_k: PositiveInt | None = option(
        1000,
        "Maximum number of (anchor, class) pairs per level that enter NMS, highest scores first; "
        "none: all of them.",
    )
    top_k_per: Literal["level", "class"] = option(
        "level", 'Scope of `pre_nms_top_k`: each level, or each class over all levels ("class").'
    )
    suppress: Literal["per_class", "best_class"] = option(
        "per_class",
        'Boxes that NMS compares: "per_class" compares boxes of one class; "best_class" keeps the '
        "best class of each anchor and compares boxes of all classes (KerasHub, KerasCV).",
    )
    nms_iou: Fraction = option(
        0.5, "NMS threshold: of two boxes with a higher IoU only the higher-scoring one is kept."
    )
    max_detections: Count | Literal["auto"] = option(
        "auto",
        "Maximum number of detections per image; auto: 100, or 1.5 times the objects of the "
        "fullest image of the data, rounded up to hundreds, if that image has more than 100.",
    )
    clip_before_nms: bool = option(
        True,
        "Clip boxes at the border before NMS (torchvision) instead of after it (detectron2), which "
        "can keep another box.",
    )
    clip_to: Literal["picture", "canvas", "none"] = option(
        "picture",
        "Border that boxes are clipped at: `picture` is the border of the image, `canvas` that of "
        "the network input with its padding.",
    )
    clip_margin: NaturalFloat = option(
        0.0, "Number of pixels that this border lies further in (keras-retinanet: 1)."
    )
    drop_empty: bool = option(
        False,
        "Drop boxes that are empty after clipping (detectron2, and mmdet, which clips before NMS).",
    )
    background_output: bool = option(
        False, "Ignore class output 0, which stands for background (TensorFlow Model Garden)."
    )

    @property
    def limit(self) -> int:
        """`max_detections` as a number, also where no data says what "auto" is."""
        # In an exported program it is a tensor, which must not be compared with a text.
        is_auto = isinstance(self.max_detections, str)
        return USUAL_DETECTIONS if is_auto else self.max_detections  # type: ignore[return-value]

    def numbered(self) -> "DetectionConfig":
        """Return it with this number, as a model stores it."""
        return replace(self, max_detections=self.limit)
