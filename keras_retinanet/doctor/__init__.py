"""Looks at a dataset before training."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.doctor.anchor_fitting import best_ious, coverage, fit, network_boxes
    from keras_retinanet.doctor.diagnosis import Diagnosis, diagnose
    from keras_retinanet.doctor.doctor_page import write_report
    from keras_retinanet.doctor.findings import Finding
    from keras_retinanet.doctor.label_view import (
        LabeledPicture,
        contact_sheet,
        draw_labels,
        training_pictures,
    )

__all__ = [
    "Diagnosis",
    "Finding",
    "LabeledPicture",
    "best_ious",
    "contact_sheet",
    "coverage",
    "diagnose",
    "draw_labels",
    "fit",
    "network_boxes",
    "training_pictures",
    "write_report",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "anchor_fitting": "best_ious coverage fit network_boxes",
        "diagnosis": "Diagnosis diagnose",
        "doctor_page": "write_report",
        "findings": "Finding",
        "label_view": "LabeledPicture contact_sheet draw_labels training_pictures",
    },
)
