"""The page handed to browsers of this machine alone: no network is asked for anything.

gradio's own `launch` asks the proxy of the environment whether the page is up, and takes host and
share link from environment variables; mounted in a server of ours it does neither.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from keras_retinanet.errors import UserError

if TYPE_CHECKING:  # it brings TensorFlow along
    from keras_retinanet.ui.pictures import Side

HOST = "127.0.0.1"
# What a browser may call this machine: a foreign name that leads here is a foreign page's trick.
HOST_NAMES = [HOST, "localhost"]
# As the page counts when it says that a file is too large.
MEGABYTE = 1 << 20
# Seconds that open pages are waited for at the end.
PATIENCE = 1


def require_gradio() -> None:
    """Import gradio with all that it would tell anyone switched off.

    Raises:
        UserError: it is not installed.
    """
    # Read when gradio and the hub's client, which it brings along, are imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        from gradio import Blocks  # noqa: F401 - a folder `gradio` has none
    except ImportError as error:
        raise UserError(
            "Expected gradio, which the page is made of. Received: an environment without it. "
            "Install it: pip install 'keras_retinanet[ui]'."
        ) from error


@contextmanager
def bound_socket(port: int) -> Iterator[socket.socket]:
    """Give a socket at `port` of this machine, 0 for any free one, that others cannot reach.

    Raises:
        UserError: the port is taken or not allowed.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((HOST, port))
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            raise UserError(
                "Expected a free port of this machine. "
                f"Received: --port {port}, {'which is in use' if taken else error}. "
                "Give another, or 0 for any free one."
            ) from error
        yield bound


def serve(
    sides: Sequence["Side"],
    *,
    bound: socket.socket,
    max_upload_mb: int,
    threshold: float,
    exif: str,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        sides: one model, or two to compare.
        bound: as `bound_socket` gives it.
        max_upload_mb: megabytes of a file, at most.
        threshold: where the slider starts, 0..1.
        exif: as `pictures.add_pictures` takes it.
        say: is told the page's address.

    Raises:
        UserError: gradio is not installed.
    """
    require_gradio()
    import uvicorn

    with TemporaryDirectory(prefix="keras_retinanet_ui_") as folder:
        # Pictures that were dropped, and drawn ones: with the folder all of them go.
        os.environ["GRADIO_TEMP_DIR"] = folder
        app = _application(sides, max_upload_mb=max_upload_mb, threshold=threshold, exif=exif)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=PATIENCE)
        say(f"Open http://{HOST}:{bound.getsockname()[1]} (Ctrl-C ends it)")
        uvicorn.Server(config).run(sockets=[bound])


def _application(sides: Sequence["Side"], *, max_upload_mb: int, threshold: float, exif: str):
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from keras_retinanet.ui.page import Page

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOST_NAMES)
    # Fonts of the person's own system: none is fetched.
    fonts = [gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")]
    return gr.mount_gradio_app(
        app,
        Page(sides, threshold=threshold, exif=exif).blocks,
        path="/",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        max_file_size=max_upload_mb * MEGABYTE,
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=fonts),
        css=(resources.files("keras_retinanet") / "templates" / "ui.css").read_text("utf-8"),
    )
