"""The public names, and that importing the package costs nothing."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_retinanet

ROOT = Path(__file__).parents[1]


def test_public_names_are_these():
    assert keras_retinanet.__all__ == [
        "AnchorLabeler",
        "Config",
        "Detections",
        "RetinaNet",
        "RetinaNetLoss",
        "__version__",
        "import_checkpoint",
        "import_model",
        "load",
        "load_config",
        "retinanet",
        "save_model",
        "train",
    ]


def test_every_public_name_is_what_its_module_has():
    from keras_retinanet.modeling import retinanet
    from keras_retinanet.training import train

    for name in keras_retinanet.__all__:
        assert getattr(keras_retinanet, name) is not None
        assert name in dir(keras_retinanet)
    assert keras_retinanet.retinanet is retinanet
    assert keras_retinanet.train is train


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(keras_retinanet, "retinanets")


def test_import_and_help_load_no_tensorflow():
    code = (
        "import sys, keras_retinanet, keras_retinanet.cli; keras_retinanet.load_config('shapes');"
        "keras_retinanet.cli.build_parser().format_help();"
        "print(sorted({'tensorflow', 'keras', 'matplotlib'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ROOMS = {
    "config": """
        AnchorConfig AugmentConfig BackboneConfig BoxCoderConfig Config DataConfig DetectionConfig
        DistillationConfig EvaluateConfig FPNConfig HeadConfig LossConfig MatchConfig ModelConfig
        OptimizerConfig PredictConfig PreprocessingConfig ScheduleConfig TilesConfig TrainConfig
        config_from_dict config_names config_to_dict dotted_keys load_config option_help save_config
        with_overrides
    """,
    "weight_files": """Checkpoint read_checkpoint write_tensors""",
    "modeling": """
        AnchorLabeler Anchors AtssLabeler BACKBONES BACKGROUND BoxCoder CoupledSGD Detections
        DetectorAdamW Distiller IGNORED LEVELS Labeler PostProcessing Preprocessing RetinaNet
        RetinaNetLoss Targets build_backbone build_fpn build_head build_labeler feature_sizes
        focal_loss generalized_iou iou level_cells load num_positives retinanet save_model smooth_l1
        transfer_weights transferred_config
    """,
    "data": """
        Dataset ImageRef Problems Record SOURCES WRITERS WriteOptions cached decode_image draw_mix
        evaluation_dataset image_size load load_dataset load_train_val mix random_split recognise
        training_batches write_dataset
    """,
    "drawing": """Mark draw_boxes draw_detections draw_marks picture_grid save_picture""",
    "checkpoints": """
        BuiltIn Entry FAMILIES built_in_models catalogue export_torchvision fetch
        find_entry import_checkpoint import_model model_file recognise
    """,
    "doctor": """
        Diagnosis Finding LabeledPicture best_ious contact_sheet coverage diagnose draw_labels fit
        network_boxes training_pictures write_report
    """,
    "evaluation": """
        Analysis CocoMetrics ConfusionMatrix DetectorRun ErrorAnalysis EvaluationSet FIGURES Found
        Truths analyse analyse_errors aspect_breakdown best_thresholds calibration coco_evaluation
        coco_metrics coco_results confusion_matrix dataset_pictures detections_for
        evaluate evaluation_set figures format_errors format_metrics format_summary
        found_from_results ground_truth map_classes open_images_evaluation read_runs
        results_from_found run_detector score_files set_from_annotations size_breakdown summarise
        voc_evaluation worst_pictures write_coco_json write_comparison write_csv write_report
        write_summary_csv write_summary_json xywh_to_xyxy
    """,
    "exporting": """
        Agreement ExportedDetector Sample check_export export_coreml export_onnx export_openvino
        export_saved_model export_tflite load_detector load_exported model_facts read_facts
        verify_export with_detections
    """,
    "training": """
        Plan Score Validation build_model build_optimizer compile_model plan rate_factor
        scaled_learning_rate strategy total_steps train
    """,
    "inference": """
        Detector Frame Line Tiled Tracker Video VideoOptions Zone annotate_video detect_files fuse
        merge_tiles overlaps ray_detections tile_windows with_test_time with_tiles
    """,
    "speed": """
        Subject Table Times as_plain as_text drawn_image measure peak_of scene time_row
    """,
    "ui": """serve""",
}


@pytest.mark.parametrize("room", ROOMS)
def test_the_names_of_a_room_are_these(room):
    module = importlib.import_module(f"keras_retinanet.{room}")
    assert sorted(module.__all__) == ROOMS[room].split()
    for name in module.__all__:
        assert not hasattr(getattr(module, name), "__path__"), f"{name} is a module"
        assert name in dir(module)


def test_typing_sees_the_names_that_load():
    for room in ROOMS:
        file = ROOT / "keras_retinanet" / room / "__init__.py"
        froms = [
            n
            for n in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(n, ast.ImportFrom) and n.module not in ("typing", "keras_retinanet.lazy")
        ]
        homes = {alias.name: node.module for node in froms for alias in node.names}
        assert sorted(homes) == ROOMS[room].split()
        for name, home in homes.items():
            module = importlib.import_module(f"keras_retinanet.{room}")
            assert getattr(module, name) is getattr(importlib.import_module(home), name)


def test_documents_and_notebooks_import_rooms_and_nothing_deeper():
    files = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("docs/**/*.ipynb"),
        *ROOT.glob("export/*.md"),
    ]
    assert len(files) > 20
    deep = re.compile(rf"keras_retinanet\.({'|'.join(ROOMS)})\.(\w+)")
    found = [
        f"{file.name}: {line.strip()}"
        for file in files
        if file.name != "CHANGELOG.md"
        for line in file.read_text("utf-8").splitlines()
        for room, name in deep.findall(line)
        if name not in ROOMS[room].split()
    ]
    assert found == []
