"""Evaluation: run a detector over a data set, COCO's twelve figures, detections to files."""

from keras_retinanet.evaluation.coco import (
    FIGURES,
    coco_metrics,
    format_metrics,
    ground_truth,
    score_files,
)
from keras_retinanet.evaluation.results import coco_results, write_coco_json, write_csv
from keras_retinanet.evaluation.runner import detections_for, evaluate, map_classes

__all__ = [
    "FIGURES",
    "coco_metrics",
    "coco_results",
    "detections_for",
    "evaluate",
    "format_metrics",
    "ground_truth",
    "map_classes",
    "score_files",
    "write_coco_json",
    "write_csv",
]
