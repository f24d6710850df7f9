"""Export a model to SavedModel, TFLite, ONNX, OpenVINO, Core ML, or a torchvision state dict.

Examples:
    keras_retinanet export --format saved_model --out exported
    keras_retinanet export --format tflite --precision int8 --out model.tflite --verify
    keras_retinanet export --model best.keras --format onnx --image_size 320 --out model.onnx
    keras_retinanet export --model best.keras --format openvino --precision float16 --out model_ir
    keras_retinanet export --model best.keras --format tflite --precision int8 --out model.tflite \\
        --verify voc --data_dir bccd --split test --max_ap_drop 1
    keras_retinanet export --model model.keras --format torchvision --out model.safetensors
"""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.common import find_model, run_config
from keras_retinanet.commands.export_data import (
    calibration_pictures,
    check_pictures,
    data_config,
    scored_split,
)
from keras_retinanet.commands.export_flags import (
    MAX_AP_DROP,
    THRESHOLDS,
    Exporter,
    add_flags,
    refuse,
)
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import COREML_SUFFIX, export_kind
from keras_retinanet.exporting.staging import check_place, staged
from keras_retinanet.terminal import printable

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset
    from keras_retinanet.exporting.checks import Agreement
    from keras_retinanet.modeling.retinanet import RetinaNet

DISAGREES = 1  # exit code


def _saved_model(model: "RetinaNet", out: Path, **options: Any) -> None:
    from keras_retinanet.exporting.saved_model.folder import export_saved_model

    export_saved_model(model, out, **options)


def _tflite(model: "RetinaNet", out: Path, **options: Any) -> None:
    from keras_retinanet.exporting.tflite.conversion import export_tflite

    export_tflite(model, out, **options)


def _onnx(model: "RetinaNet", out: Path, **options: Any) -> None:
    from keras_retinanet.exporting.onnx_file import export_onnx

    export_onnx(model, out, **options)


def _openvino(model: "RetinaNet", out: Path, **options: Any) -> None:
    from keras_retinanet.exporting.openvino_folder import export_openvino

    export_openvino(model, out, **options)


def _coreml(model: "RetinaNet", out: Path, **options: Any) -> None:
    from keras_retinanet.exporting.coreml_package import export_coreml

    export_coreml(model, out, **options)
    print(f"{out}: its structure was checked; only Apple's systems can run it.")


def _torchvision(model: "RetinaNet", out: Path, **_: Any) -> None:
    from keras_retinanet.checkpoints.families.torchvision_export import (
        builder_lines,
        export_torchvision,
    )

    names = export_torchvision(model, out)
    print(f"{out}: {len(names)} tensors, {len(model.class_names)} classes. In torchvision:")
    for line in builder_lines(model, out):
        print("    " + line.replace("\n", "\n    "))


ONNX_FLAGS: dict[str, tuple[str, ...]] = {
    "precision": ("float32", "float16", "int8"),
    "form": ("nms", "raw"),
    **{"image_size": (), "input_type": ()},
}
EXPORTERS = {
    "saved_model": Exporter(
        _saved_model,
        takes={
            "precision": ("float32", "bfloat16", "float16"),
            **{"xla": (), "warmup": (), "bad_pictures": ()},
        },
    ),
    "tflite": Exporter(
        _tflite,
        suffixes=(".tflite",),
        takes={
            "precision": ("float32", "float16", "dynamic", "int8"),
            "form": ("nms", "mediapipe", "raw", "edgetpu"),
            **{"image_size": (), "input_type": ()},
        },
    ),
    "onnx": Exporter(_onnx, suffixes=(".onnx",), takes=ONNX_FLAGS),
    "openvino": Exporter(_openvino, takes=ONNX_FLAGS),
    "coreml": Exporter(
        _coreml,
        suffixes=(COREML_SUFFIX,),
        takes={"precision": ("float32", "float16"), "image_size": ()},
        is_checked=False,
    ),
    "torchvision": Exporter(
        _torchvision, suffixes=(".pth", ".pt", ".safetensors"), is_checked=False
    ),
}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `export` to its parser."""
    add_flags(parser, EXPORTERS)


def run(args: Namespace) -> int:
    """Write, check and verify the export, and only then keep it; return the exit code."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    refuse(given, EXPORTERS)
    exporter, out = EXPORTERS[args.format], Path(args.out)
    check_place(out, args.format)
    path = find_model(args.model)
    if export_kind(path) is not None:
        raise UserError(
            f"Expected a model to export. Received: {path}, which is already an export."
        )
    import_tensorflow()
    if exporter.is_checked:
        return _export_checked(args, given, path)
    from keras_retinanet.modeling.saving import load

    exporter.write(load(path), out, **_options(exporter, given))
    add_result(args, model=path, file=out, bytes=_bytes(out))
    return 0


def _options(exporter: Exporter, given: Mapping[str, Any]) -> dict[str, Any]:
    return {flag: given[flag] for flag in exporter.takes if flag in given}


def _export_checked(args: Namespace, given: Mapping[str, Any], path: Path) -> int:
    from keras_retinanet.exporting.checks import ExportFailed, check_export
    from keras_retinanet.exporting.thresholds import with_detections
    from keras_retinanet.modeling.saving import load

    exporter, out = EXPORTERS[args.format], Path(args.out)
    options = _options(exporter, given)
    trained = run_config(path)
    config = data_config(args, trained)
    model = with_detections(load(path), **{name: given.get(name) for name in THRESHOLDS})
    scored = scored_split(args, config, trained, model)
    if config is not None and args.precision == "int8":
        options["calibration"] = calibration_pictures(
            config, args.calibration_pictures, tile=model.config.tiles.side
        )
    pictures = check_pictures(args.picture, config, scored)
    say = _clock()
    try:
        with staged(out) as made:
            exporter.write(model, made, say=say, **options)
            say("checking")
            agreement = check_export(model, made, pictures)
            print(_agreement_line(agreement))
            add_result(args, agreement=agreement._asdict())
            if scored is not None:
                say("verifying")
                add_result(args, verified=_verify(model, made, scored, args.max_ap_drop))
            megabytes = _bytes(made) / 1e6
    except ExportFailed as error:
        print(f"keras_retinanet: error: {printable(str(error))} Nothing was kept.", file=sys.stderr)
        add_result(args, refused=str(error))
        return DISAGREES
    add_result(args, model=path, file=out, bytes=_bytes(out))
    say(f"done: {out}, {megabytes:.1f} MB")
    return 0


def _clock() -> Callable[[str], None]:
    begin = time.perf_counter()

    def say(step: str) -> None:
        print(f"{time.perf_counter() - begin:6.1f} s  {step}", flush=True)

    return say


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


# ------------------------------------------------------------------------------------- the checks


def _agreement_line(found: "Agreement") -> str:
    if not found.compared:
        return (
            f"{'':10}neither the model nor the file detected anything in the check's images: "
            "give others with --picture, or use --verify"
        )
    return (
        f"{'':10}{found.matched} of {found.compared} detections agree, to {found.pixels:.2g} px "
        f"and {found.score:.1g} in score"
    )


def _verify(
    model: "RetinaNet", path: Path, dataset: "Dataset", most: float | None
) -> dict[str, float]:
    """Print AP and time of the model and the file; return them.

    Raises:
        ExportFailed: AP drops by more than `most`, in percent.
    """
    from keras_retinanet.exporting.checks import ExportFailed, verify_export

    most = MAX_AP_DROP if most is None else most
    verified = verify_export(model, path, dataset)
    before, after = verified.ap
    slow, fast = verified.milliseconds
    print(
        f"{'':10}AP {before / 100:.4f} -> {after / 100:.4f} on {dataset.name}, {dataset.split}; "
        f"{slow:.1f} -> {fast:.1f} ms per image"
    )
    if not verified.drop <= most:  # NaN too
        raise ExportFailed(
            f"Expected AP to drop by at most {most / 100:g} (--max_ap_drop {most:g}). "
            f"Received: {verified.drop / 100:.4f}."
        )
    return {"AP_before": before / 100, "AP": after / 100, "ms_before": slow, "ms": fast}
