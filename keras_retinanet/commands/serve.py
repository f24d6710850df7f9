"""Serve a model over HTTP, with the REST requests and answers of TensorFlow Serving.

Examples:
    keras_retinanet serve --model best.keras
    keras_retinanet serve --model model.tflite --name cells --host 0.0.0.0 --rate 5
"""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from keras_retinanet.commands.common import add_model_argument, add_trust_argument
from keras_retinanet.commands.default_model import (
    OTHERWISE,
    find_any_model,
    introduce,
    shown_name,
)
from keras_retinanet.commands.tensorflow_import import import_for_inference
from keras_retinanet.commands.ui import until_ctrl_c
from keras_retinanet.errors import UserError

DEFAULT_NAME = "retinanet"
# Only this machine. TensorFlow Serving's port.
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8501
DEFAULT_MB, DEFAULT_RATE = 16, 20.0
MAX_IMAGES, MAX_WAITING = 32, 32
MEGABYTE = 1 << 20
# Seconds that requests under way are waited for at the end.
PATIENCE = 10


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `serve` to its parser."""
    add = parser.add_argument
    add_model_argument(parser, otherwise=OTHERWISE)
    add_trust_argument(parser)
    add("--name", type=_name, default=DEFAULT_NAME, help=f"name in addresses ({DEFAULT_NAME})")
    add(
        "--host",
        default=DEFAULT_HOST,
        metavar="ADDRESS",
        help=f"address to listen on ({DEFAULT_HOST}: this machine alone); 0.0.0.0: whoever "
        "reaches this machine may ask, without a password",
    )
    add(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        metavar="P",
        help=f"port; 0: any free one ({DEFAULT_PORT})",
    )
    add(
        "--max_request_mb",
        type=_positive,
        default=DEFAULT_MB,
        metavar="N",
        help=f"maximum size of a request, in megabytes ({DEFAULT_MB})",
    )
    add(
        "--rate",
        type=_positive,
        default=DEFAULT_RATE,
        metavar="N",
        help=f"maximum number of requests a second from one address ({DEFAULT_RATE:g})",
    )


def run(args: Namespace) -> int:
    """Load the model and serve it until Ctrl-C."""
    from keras_retinanet.ui.server import bound_socket, run_server

    path = find_any_model(args.model)
    if args.model is None:
        introduce(path)
    try:
        import uvicorn
    except ImportError as error:
        raise UserError(
            f"Expected uvicorn and starlette, which serve. Received: {error}. "
            "Install them: pip install uvicorn starlette."
        ) from error
    with until_ctrl_c(), bound_socket(args.port, host=args.host) as bound:
        import_for_inference()
        from keras_retinanet.exporting.exported import load_detector
        from keras_retinanet.ui.rest_server import Limits, RestServer

        size = int(args.max_request_mb * MEGABYTE)
        limits = Limits(bytes=size, images=MAX_IMAGES, rate=args.rate, waiting=MAX_WAITING)
        model = load_detector(path, trust=args.trust)
        app = RestServer(model, name=args.name, limits=limits).application()
        config = uvicorn.Config(
            app, log_level="error", ws="none", timeout_graceful_shutdown=PATIENCE
        )
        bound.listen()
        host, port = bound.getsockname()[:2]
        address = f"http://{host}:{port}/v1/models/{args.name}:predict"
        print(f"Serving {shown_name(path)} at {address} (Ctrl-C ends it)", flush=True)
        run_server(uvicorn.Server(config), bound)
    return 0


def _name(text: str) -> str:
    if not re.fullmatch(r"[\w.-]{1,64}", text, re.ASCII):
        raise ArgumentTypeError(f"expected letters, digits, -, _ and . Received: {text[:80]!r}")
    return text


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise ArgumentTypeError(f"expected a number above 0. Received: {text[:20]!r}")
    return number
