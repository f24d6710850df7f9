"""The page handed to browsers of this machine alone: no network is asked for anything.

gradio's own `launch` asks the proxy of the environment whether the page is up, and takes host and
share link from environment variables; mounted in a server of ours it does neither.
"""

import errno
import os
import secrets
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from keras_retinanet.errors import UserError

if TYPE_CHECKING:  # they bring gradio and TensorFlow along
    import uvicorn
    from fastapi import FastAPI
    from gradio import Blocks

    from keras_retinanet.ui.shown_pictures import Side

HOST = "127.0.0.1"
# As the page counts when it says that a file is too large.
MEGABYTE = 1 << 20
# Seconds that open pages are waited for at the end.
PATIENCE = 1
# Takes the token out of the address: the browser has it as a cookie by then.
HIDE_TOKEN = "() => history.replaceState(null, '', '/')"


def require_gradio(folder: Path) -> None:
    """Import gradio with all that it would tell anyone switched off.

    Args:
        folder: where all files go that gradio writes.

    Raises:
        UserError: it is not installed.
    """
    # Read when gradio and the hub's client, which it brings along, are imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    try:
        from gradio import Blocks  # noqa: F401 - a folder `gradio` has none
    except ImportError as error:
        raise UserError(
            "Expected gradio, which the page is made of. Received: an environment without it. "
            "Install it: pip install gradio."
        ) from error


@contextmanager
def bound_socket(port: int, *, host: str = HOST) -> Iterator[socket.socket]:
    """Give a socket at `port` of this machine, 0 for any free one.

    Args:
        host: address that it listens on; others cannot reach the default.

    Raises:
        UserError: the port is taken or not allowed.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
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
    folder: Path,
    max_upload_mb: int,
    threshold: float,
    exif: str,
) -> None:
    """Serve the page until Ctrl-C, to whoever knows the address that is printed.

    Args:
        sides, threshold, exif: as `Page` takes them.
        bound: as `bound_socket` gives it.
        folder: as `require_gradio` was given it, from `uploads.upload_folder`.
        max_upload_mb: megabytes of a file, at most.
    """
    import uvicorn

    from keras_retinanet.ui.guard import Guard
    from keras_retinanet.ui.page import Page
    from keras_retinanet.ui.shown_pictures import MAX_PICTURES

    page = Page(sides, folder=folder, threshold=threshold, exif=exif)
    port, token = bound.getsockname()[1], secrets.token_urlsafe()
    max_file = max_upload_mb * MEGABYTE
    app = Guard(
        application(page.blocks, max_file=max_file),
        token=token,
        port=port,
        folder=folder,
        max_uploads=max_file * MAX_PICTURES,
    )
    config = uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=PATIENCE)
    bound.listen()  # whoever opens the address before uvicorn is ready waits for it
    # At once, in a log as well: no one gets in without it.
    print(f"Open http://{HOST}:{port}/?token={token} (Ctrl-C ends it)", flush=True)
    run_server(uvicorn.Server(config), bound)


def run_server(server: "uvicorn.Server", bound: socket.socket) -> None:
    """Serve until a signal ends it: SIGHUP as well, which uvicorn would not wait up for."""
    before, received = signal.getsignal(signal.SIGHUP), []

    def hang_up(number: int, frame: FrameType | None) -> None:
        received.append(number)
        server.should_exit = True

    if before is signal.SIG_IGN:  # nohup
        return server.run(sockets=[bound])
    signal.signal(signal.SIGHUP, hang_up)
    try:
        server.run(sockets=[bound])
    finally:
        signal.signal(signal.SIGHUP, before)
    if received:
        signal.raise_signal(signal.SIGHUP)  # to whom it was for, as uvicorn does with others


def application(blocks: "Blocks", *, max_file: int) -> "FastAPI":
    """Return the page as an application, which takes requests of anybody: `Guard` has to."""
    import gradio as gr
    from fastapi import FastAPI

    # Fonts of the person's own system: none is fetched.
    fonts = [gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")]
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="/",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        max_file_size=max_file,
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=fonts),
        css=(resources.files("keras_retinanet.drawing") / "templates" / "ui.css").read_text(
            "utf-8"
        ),
        js=HIDE_TOKEN,
    )
    # Only `launch` sets it; until then gradio takes any path that a request names for an upload.
    blocks.has_launched = True
    return app
