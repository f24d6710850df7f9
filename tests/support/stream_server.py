"""An HTTP server on this machine that sends frames as a camera does, or a video file."""

import contextlib
import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 160, 96
STEP = 8


def numbered(number):
    """Return a frame whose gray value tells its number, 0..29."""
    return np.full((HEIGHT, WIDTH, 3), STEP * number, np.uint8)


def number_of(image):
    return round(float(image.mean()) / STEP)


def jpeg(number):
    stream = io.BytesIO()
    Image.fromarray(numbered(number)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


class Camera:
    """What the server sends, and what it was asked.

    Attributes:
        connections: frames of each connection; later ones are refused.
        pause: seconds between frames.
        file: bytes of a video instead.
    """

    def __init__(self, *connections, pause=0.01, file=None):
        self.connections, self.pause, self.file = list(connections), pause, file
        self.asked = 0


@contextlib.contextmanager
def serving(camera):
    """Serve `camera`; give the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            camera.asked += 1
            if camera.file is not None:
                send_file(self, camera.file)
            elif camera.asked > len(camera.connections):
                self.send_error(503)
            else:
                with contextlib.suppress(OSError):  # the reader went
                    send_frames(self, camera.connections[camera.asked - 1], camera.pause)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/yard"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send_frames(handler, numbers, pause):
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
    handler.end_headers()
    for number in numbers:
        data = jpeg(number)
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        handler.wfile.write(head.encode() + data + b"\r\n")
        handler.wfile.flush()
        time.sleep(pause)


def send_file(handler, content):
    start, end = 0, len(content)
    asked = handler.headers.get("Range", "")
    if asked.startswith("bytes="):
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), int(last) + 1 if last else end
    handler.send_response(206 if asked else 200)
    handler.send_header("Content-Type", "video/x-msvideo")
    handler.send_header("Accept-Ranges", "bytes")
    handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
    handler.send_header("Content-Length", str(end - start))
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(content[start:end])
