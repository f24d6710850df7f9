"""Models named by an address, from a server on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from keras_retinanet.checkpoints.built_in import default_model
from keras_retinanet.checkpoints.remote_files import download_address, hugging_face, remote_file
from keras_retinanet.commands.common import find_model
from keras_retinanet.errors import UserError
from keras_retinanet.files import downloads

KAGGLE = "/api/v1/models/ann/cells/keras/r50/3/download"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.content
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A hub that answers every address with the built-in model."""
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.asked, served.content = [], default_model().path.read_bytes()
    served.address = f"http://127.0.0.1:{served.server_port}"
    monkeypatch.setattr(downloads, "SCHEMES", ("http",))
    monkeypatch.setenv(downloads.HOME_VARIABLE, str(tmp_path / "cache"))
    for name in ("HF_ENDPOINT", "KAGGLE_API_ENDPOINT"):
        monkeypatch.setenv(name, served.address)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("hf://ann/cells", "/ann/cells/resolve/main/model.keras"),
        ("hf://ann/cells@v1.2/small/a b.tflite", "/ann/cells/resolve/v1.2/small/a%20b.tflite"),
        ("kaggle://ann/cells/keras/r50/3", f"{KAGGLE}/model.keras"),
        ("kaggle://ann/cells/keras/r50/3/x/y.onnx", f"{KAGGLE}/x/y.onnx"),
        ("{server}/models/best.keras", "/models/best.keras"),
    ],
)  # fmt: skip
def test_an_address_is_fetched_once_and_its_hash_kept(server, capsys, place, path):
    place = place.format(server=server.address)
    file = find_model(place)
    digest = hashlib.sha256(server.content).hexdigest()
    assert file.read_bytes() == server.content and server.asked == [path]
    assert file.with_name(f"{file.name}.sha256").read_text() == f"{digest}  {file.name}\n"
    assert digest in capsys.readouterr().out
    assert find_model(place) == file and server.asked == [path]
    assert capsys.readouterr().out == ""
    assert find_model(f"{place}#sha256={digest.upper()}") == file


def test_a_changed_file_is_refused(server):
    file = remote_file("hf://ann/cells", progress=False)
    file.write_bytes(server.content[:-1] + b"!")
    with pytest.raises(UserError, match=r"Expected .* with sha256"):
        remote_file("hf://ann/cells", progress=False)
    file.unlink()  # and another one from the server
    server.content = b"something else"
    with pytest.raises(UserError, match=r"Expected .* with sha256"):
        remote_file("hf://ann/cells", progress=False)
    assert not file.exists()


def test_a_stated_hash_is_checked_at_the_first_download(server):
    with pytest.raises(UserError, match=f"sha256 {'0' * 64}, as published"):
        remote_file(f"hf://ann/cells#sha256={'0' * 64}", progress=False)
    with pytest.raises(UserError, match="64 hex digits"):
        remote_file("hf://ann/cells#main", progress=False)


def test_what_is_not_there_is_one_line(server):
    server.content = b""
    with pytest.raises(UserError, match="HTTP 404"):
        remote_file("hf://ann/cells", progress=False)


@pytest.mark.parametrize(
    "place",
    ["hf://ann", "hf:///x", "hf://an?n/x", "kaggle://a/b/keras/c", "kaggle://a/b/keras/c/new",
     "s3://a/b", "ftp://a/b.keras", "http://a/b.keras", "https://host/", "https://host/a/.."],
)  # fmt: skip
def test_what_is_no_address_is_refused(place):
    with pytest.raises(UserError, match=r"hf://USER/NAME"):
        remote_file(place, progress=False)


def test_the_hubs_are_asked_by_https(monkeypatch):
    for name in ("HF_ENDPOINT", "KAGGLE_API_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    hub = "https://huggingface.co/ann/cells/resolve/main/model.keras"
    assert download_address("hf://ann/cells") == hub
    assert download_address("kaggle://a/b/c/d/1").startswith(
        "https://www.kaggle.com/api/v1/models/"
    )
    assert hugging_face("hf://ann/cells@v2") == ("ann/cells", "v2", "model.keras")
