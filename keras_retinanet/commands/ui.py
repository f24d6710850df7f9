"""Serve a local page: drop images on it, see the detections, and compare two models.

Examples:
    keras_retinanet ui --model runs/20260101-120000-bccd
    keras_retinanet ui --model best.keras --compare model.tflite
"""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_retinanet.commands.common import (
    MODEL_FILES,
    add_model_argument,
    add_trust_argument,
    find_model,
    run_config,
)
from keras_retinanet.commands.default_model import OTHERWISE, find_any_model, introduce
from keras_retinanet.commands.tensorflow_import import import_for_inference
from keras_retinanet.config import Config
from keras_retinanet.config.files import with_overrides
from keras_retinanet.processes.signals import Terminated

DEFAULT_PORT = 7860
DEFAULT_UPLOAD_MB = 20


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `ui` to its parser."""
    add = parser.add_argument
    add_model_argument(parser, otherwise=OTHERWISE)
    add_trust_argument(parser)
    add("--compare", metavar="FILE", help="second model, shown beside the first")
    add(
        "--threshold",
        type=float,
        metavar="S",
        help="initial threshold of the slider (the model's own)",
    )
    add(
        "--exif",
        choices=("stored", "apply"),
        default="stored",
        help="apply: rotate images as their EXIF says; boxes are then in the rotated image",
    )
    add(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        metavar="P",
        help=f"port on this machine; not reachable from others; 0: any free one ({DEFAULT_PORT})",
    )
    add(
        "--max_upload_mb",
        type=_megabytes,
        default=DEFAULT_UPLOAD_MB,
        metavar="N",
        help=f"maximum size of a dropped file, in megabytes ({DEFAULT_UPLOAD_MB})",
    )


def run(args: Namespace) -> int:
    """Load the models and serve the page until Ctrl-C."""
    from keras_retinanet.ui.server import bound_socket, require_gradio, serve
    from keras_retinanet.ui.uploads import upload_folder

    paths = [find_any_model(args.model)]
    if args.model is None:
        introduce(paths[0])
    if args.compare is not None:
        paths.append(find_model(args.compare))
    config = run_config(paths[0]) or Config()
    if args.threshold is not None:
        config = with_overrides(config, {"predict.draw_threshold": args.threshold})

    # Take the port first: loading the models takes longer.
    with until_ctrl_c(), upload_folder() as folder, bound_socket(args.port) as bound:
        require_gradio(folder)
        import_for_inference()
        from keras_retinanet.exporting.exported import load_detector
        from keras_retinanet.modeling.draw_threshold import draw_threshold
        from keras_retinanet.ui.shown_pictures import Side

        models = [load_detector(path, trust=args.trust) for path in paths]
        serve(
            [Side(model_title(path), model) for path, model in zip(paths, models, strict=True)],
            bound=bound,
            folder=folder,
            max_upload_mb=args.max_upload_mb,
            threshold=draw_threshold(models[0].metadata, config.predict.draw_threshold),
            exif=args.exif,
        )
    return 0


@contextmanager
def until_ctrl_c() -> Iterator[None]:
    """End the block at Ctrl-C, which is how this command ends; SIGTERM has an exit code."""
    try:
        yield
    except Terminated:
        raise
    except KeyboardInterrupt:
        return


def model_title(path: Path) -> str:
    """Return a model file's name, with the folder's before it in a run, where all are alike."""
    is_run_file = path.name in MODEL_FILES and path.parent.name
    return f"{path.parent.name}/{path.name}" if is_run_file else path.name


def _megabytes(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(
            f"expected an integer number of megabytes, 1 or more. Received: {text!r}"
        )
    return int(text)
