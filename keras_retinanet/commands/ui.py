"""Drop pictures on a page in the browser: see what a model finds, or compare two.

Examples:
    keras_retinanet ui --model runs/20260101-120000-bccd
    keras_retinanet ui --model best.keras --compare model.tflite
"""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import suppress
from pathlib import Path

from keras_retinanet.commands.common import (
    MODEL_FILES,
    add_model_argument,
    find_model,
    import_tensorflow,
    run_config,
)
from keras_retinanet.config import Config
from keras_retinanet.config_files import with_overrides

DEFAULT_PORT = 7860
DEFAULT_UPLOAD_MB = 20


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `ui` to its parser."""
    add = parser.add_argument
    add_model_argument(parser)
    add("--compare", metavar="FILE", help="a second model, beside the first")
    add("--threshold", type=float, metavar="S", help="where the slider starts (.5)")
    add(
        "--exif",
        choices=("stored", "apply"),
        default="stored",
        help="apply: turn pictures as their EXIF says; boxes are then of the turned ones",
    )
    add(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        metavar="P",
        help=f"port of this machine, which no other can reach; 0: any free one ({DEFAULT_PORT})",
    )
    add(
        "--max_upload_mb",
        type=_megabytes,
        default=DEFAULT_UPLOAD_MB,
        metavar="N",
        help=f"largest file that may be dropped, in megabytes ({DEFAULT_UPLOAD_MB})",
    )


def run(args: Namespace) -> int:
    """Load the models and serve the page until Ctrl-C."""
    from keras_retinanet.ui.server import bound_socket, require_gradio, serve
    from keras_retinanet.ui.uploads import upload_folder

    paths = [find_model(args.model)]
    if args.compare is not None:
        paths.append(find_model(args.compare))
    config = run_config(paths[0]) or Config()
    if args.threshold is not None:
        config = with_overrides(config, {"predict.draw_threshold": args.threshold})

    # The port is taken before models are loaded, which takes longer.
    with suppress(KeyboardInterrupt), upload_folder() as folder, bound_socket(args.port) as bound:
        require_gradio(folder)
        import_tensorflow()
        from keras_retinanet.exporting.exported import load_detector
        from keras_retinanet.ui.pictures import Side

        serve(
            [Side(model_title(path), load_detector(path)) for path in paths],
            bound=bound,
            folder=folder,
            max_upload_mb=args.max_upload_mb,
            threshold=config.predict.draw_threshold,
            exif=args.exif,
        )
    return 0


def model_title(path: Path) -> str:
    """Return a model file's name; in a run folder, where all have the same, the folder's before."""
    is_run_file = path.name in MODEL_FILES and path.parent.name
    return f"{path.parent.name}/{path.name}" if is_run_file else path.name


def _megabytes(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"expected whole megabytes, 1 or more. Received: {text!r}")
    return int(text)
