"""A model to files that applications load without this package."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.exporting.checks import Agreement, check_export, verify_export
    from keras_retinanet.exporting.coreml_package import export_coreml
    from keras_retinanet.exporting.detectors import ExportedDetector
    from keras_retinanet.exporting.exported import load_detector, load_exported
    from keras_retinanet.exporting.facts import model_facts, read_facts
    from keras_retinanet.exporting.onnx_file import export_onnx
    from keras_retinanet.exporting.openvino_folder import export_openvino
    from keras_retinanet.exporting.sample import Sample
    from keras_retinanet.exporting.saved_model.folder import export_saved_model
    from keras_retinanet.exporting.tflite.conversion import export_tflite
    from keras_retinanet.exporting.thresholds import with_detections

__all__ = [
    "Agreement",
    "ExportedDetector",
    "Sample",
    "check_export",
    "export_coreml",
    "export_onnx",
    "export_openvino",
    "export_saved_model",
    "export_tflite",
    "load_detector",
    "load_exported",
    "model_facts",
    "read_facts",
    "verify_export",
    "with_detections",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "checks": "Agreement check_export verify_export",
        "coreml_package": "export_coreml",
        "detectors": "ExportedDetector",
        "exported": "load_detector load_exported",
        "facts": "model_facts read_facts",
        "onnx_file": "export_onnx",
        "openvino_folder": "export_openvino",
        "sample": "Sample",
        "saved_model.folder": "export_saved_model",
        "tflite.conversion": "export_tflite",
        "thresholds": "with_detections",
    },
)
