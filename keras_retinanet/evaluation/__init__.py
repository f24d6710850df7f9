"""A detector over a dataset: figures, errors, a report."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.evaluation.class_map import map_classes
    from keras_retinanet.evaluation.coco_callback import CocoMetrics
    from keras_retinanet.evaluation.errors.breakdown import aspect_breakdown, size_breakdown
    from keras_retinanet.evaluation.errors.confusion import ConfusionMatrix, confusion_matrix
    from keras_retinanet.evaluation.errors.costs import ErrorAnalysis, analyse_errors, format_errors
    from keras_retinanet.evaluation.errors.worst import worst_pictures
    from keras_retinanet.evaluation.metrics.best_thresholds import best_thresholds
    from keras_retinanet.evaluation.metrics.calibration import calibration
    from keras_retinanet.evaluation.metrics.coco_figures import FIGURES, coco_evaluation, figures
    from keras_retinanet.evaluation.metrics.coco_metric import (
        coco_metrics,
        format_metrics,
        ground_truth,
        score_files,
    )
    from keras_retinanet.evaluation.metrics.openimages_metric import open_images_evaluation
    from keras_retinanet.evaluation.metrics.voc_metric import voc_evaluation
    from keras_retinanet.evaluation.report.comparison import write_comparison
    from keras_retinanet.evaluation.report.gallery import dataset_pictures
    from keras_retinanet.evaluation.report.report_page import Analysis, analyse, write_report
    from keras_retinanet.evaluation.report.saved import read_runs
    from keras_retinanet.evaluation.results import coco_results, write_coco_json, write_csv
    from keras_retinanet.evaluation.runner import (
        DetectorRun,
        detections_for,
        evaluate,
        run_detector,
    )
    from keras_retinanet.evaluation.summary import (
        format_summary,
        summarise,
        write_summary_csv,
        write_summary_json,
    )
    from keras_retinanet.evaluation.tables import (
        EvaluationSet,
        Found,
        Truths,
        evaluation_set,
        found_from_results,
        results_from_found,
        set_from_annotations,
        xywh_to_xyxy,
    )

__all__ = [
    "FIGURES",
    "Analysis",
    "CocoMetrics",
    "ConfusionMatrix",
    "DetectorRun",
    "ErrorAnalysis",
    "EvaluationSet",
    "Found",
    "Truths",
    "analyse",
    "analyse_errors",
    "aspect_breakdown",
    "best_thresholds",
    "calibration",
    "coco_evaluation",
    "coco_metrics",
    "coco_results",
    "confusion_matrix",
    "dataset_pictures",
    "detections_for",
    "evaluate",
    "evaluation_set",
    "figures",
    "format_errors",
    "format_metrics",
    "format_summary",
    "found_from_results",
    "ground_truth",
    "map_classes",
    "open_images_evaluation",
    "read_runs",
    "results_from_found",
    "run_detector",
    "score_files",
    "set_from_annotations",
    "size_breakdown",
    "summarise",
    "voc_evaluation",
    "worst_pictures",
    "write_coco_json",
    "write_comparison",
    "write_csv",
    "write_report",
    "write_summary_csv",
    "write_summary_json",
    "xywh_to_xyxy",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "class_map": "map_classes",
        "coco_callback": "CocoMetrics",
        "errors.breakdown": "aspect_breakdown size_breakdown",
        "errors.confusion": "ConfusionMatrix confusion_matrix",
        "errors.costs": "ErrorAnalysis analyse_errors format_errors",
        "errors.worst": "worst_pictures",
        "metrics.best_thresholds": "best_thresholds",
        "metrics.calibration": "calibration",
        "metrics.coco_figures": "FIGURES coco_evaluation figures",
        "metrics.coco_metric": "coco_metrics format_metrics ground_truth score_files",
        "metrics.openimages_metric": "open_images_evaluation",
        "metrics.voc_metric": "voc_evaluation",
        "report.comparison": "write_comparison",
        "report.gallery": "dataset_pictures",
        "report.report_page": "Analysis analyse write_report",
        "report.saved": "read_runs",
        "results": "coco_results write_coco_json write_csv",
        "runner": "DetectorRun detections_for evaluate run_detector",
        "summary": "format_summary summarise write_summary_csv write_summary_json",
        "tables": (
            "EvaluationSet Found Truths evaluation_set found_from_results results_from_found "
            "set_from_annotations xywh_to_xyxy"
        ),
    },
)
