"""The REST server: TensorFlow Serving's requests on this machine, its limits, its metrics."""

import base64
import concurrent.futures
import http.client
import json
import re
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

from keras_retinanet.checkpoints.built_in import default_model
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.exported import load_detector
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.ui import rest_requests
from keras_retinanet.ui.rest_requests import read_request

uvicorn = pytest.importorskip("uvicorn")  # of the extra ui
from keras_retinanet.ui.rest_server import Limits, Rates, RestServer  # noqa: E402
from keras_retinanet.ui.server import bound_socket  # noqa: E402

ROOT = Path(__file__).parents[2]
PICTURE = sorted((ROOT / "tests" / "assets" / "bccd" / "JPEGImages").iterdir())[0]
B64 = {"b64": base64.b64encode(PICTURE.read_bytes()).decode()}
MODEL = "/v1/models/cells"


class Finder:
    """A model that finds one box in the upper left quarter, when it may."""

    class_ids = [7, 9]  # noqa: RUF012

    def __init__(self):
        self.may, self.asked = threading.Event(), 0
        self.may.set()

    def detect(self, images):
        self.asked += 1
        assert self.may.wait(60)
        return [
            Detections(
                np.array([[0, 0, image.shape[1] / 2, image.shape[0] / 4]], np.float32),
                np.array([0.5], np.float32),
                np.array([1], np.int32),
                ["a", "b"],
            )
            for image in images
        ]


@pytest.fixture
def serving():
    """Serves a model with limits; gives a function that asks."""
    servers = []

    def start(model, **limits):
        usual = {"bytes": 1 << 20, "images": 4, "rate": 1000.0, "waiting": 8}
        app = RestServer(model, name="cells", limits=Limits(**usual | limits)).application()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        bound = bound_socket(0)
        socket = bound.__enter__()
        socket.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        servers.append((server, thread, bound))
        return lambda *words: ask(socket.getsockname()[1], *words)

    yield start
    for server, thread, bound in servers:
        server.should_exit = True
        thread.join()
        bound.__exit__(None, None, None)


def ask(port, path, request=None):
    """Return status and body, read as JSON where it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = request if isinstance(request, bytes | None) else json.dumps(request).encode()
    connection.request("GET" if request is None else "POST", path, body)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text) if text.startswith("{") else text


def test_answers_have_the_form_and_count(serving):
    get = serving(Finder())
    pixels = np.zeros((8, 20, 3), int).tolist()
    for instances in ([pixels], [{"images": pixels}]):
        code, answer = get(f"{MODEL}:predict", {"instances": instances})
        assert (code, answer) == (200, {"predictions": [{
            "detection_boxes": [[0, 0, 0.25, 0.5]],
            "detection_boxes_xyxy": [[0, 0, 10, 2]],
            "detection_classes": [9.0],
            "detection_scores": [0.5],
            "num_detections": 1.0,
        }]})  # fmt: skip
    request = {"signature_name": "serve_bytes", "instances": [B64, {"image_bytes": B64}]}
    code, answer = get(f"{MODEL}/versions/1:predict", request)
    assert code == 200 and len(answer["predictions"]) == 2
    assert get("/healthz") == (200, "ok\n")
    assert get(MODEL)[1]["model_version_status"][0]["state"] == "AVAILABLE"
    signatures = get(f"{MODEL}/metadata")[1]["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serve_bytes", "serving_default"}
    assert get("/v1/models/other:predict", {})[0] == 404
    text = get("/metrics")[1]
    assert 'keras_retinanet_requests_total{code="200"} 3\n' in text
    assert "keras_retinanet_images_total 4\n" in text and "requests_waiting 0\n" in text


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (b"{", "Expected JSON"),
        ([], "with 1 to 4 images"),
        ({"inputs": [B64]}, "with 1 to 4 images"),
        ({"instances": [B64] * 5}, "with 1 to 4 images"),
        ({"instances": [B64], "signature_name": "raw"}, "one of the signatures"),
        ({"instances": [{"b64": "AAAA"}]}, "instances[0]"),
        ({"instances": [B64, {"b64": "?"}]}, "instances[1]"),
        ({"instances": [{"b64": 3}]}, "instances[0]"),
        ({"instances": [[[[1, 2]]]]}, "3 integers from 0 to 255"),
        ({"instances": [[[[1, 2, 256]]]]}, "3 integers from 0 to 255"),
        ({"instances": [[[[1, 2, 0.5]]]]}, "3 integers from 0 to 255"),
        ({"instances": [[[[1, 2, 3], [4]]]]}, "instances[0]"),
    ],
)
def test_bad_requests_are_told_why(serving, request_, message):
    model = Finder()
    code, answer = serving(model)(f"{MODEL}:predict", request_)
    assert code == 400 and message in answer["error"] and model.asked == 0


def test_limits(serving, monkeypatch):
    get = serving(Finder(), bytes=1000)
    assert get(f"{MODEL}:predict", b" " * 1001)[0] == 413
    get = serving(Finder(), rate=1e-3)  # one at once
    pixels = np.zeros((2, 2, 3), int).tolist()
    codes = [get(f"{MODEL}:predict", {"instances": [pixels]})[0] for _ in range(3)]
    assert codes == [200, 429, 429]
    assert get("/healztz")[0] == 404 and get("/healthz")[0] == 200
    monkeypatch.setattr(rest_requests, "MAX_REQUEST_PIXELS", 5)
    body = json.dumps({"instances": [pixels, pixels]}).encode()
    with pytest.raises(UserError, match=r"Received: 8 in the first 2"):
        read_request(body, max_images=2)


def test_more_than_may_wait_are_refused_at_once(serving):
    model = Finder()
    get = serving(model, waiting=3)
    model.may.clear()
    request = {"instances": [np.zeros((2, 2, 3), int).tolist()]}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(get, f"{MODEL}:predict", request) for _ in range(8)]
        done, _ = concurrent.futures.wait(asked, 60, concurrent.futures.FIRST_COMPLETED)
        while len(done) < 5:
            done = {each for each in asked if each.done()}
        assert {each.result()[0] for each in done} == {503}
        assert "requests_waiting 3\n" in get("/metrics")[1]
        model.may.set()
    assert sorted(each.result()[0] for each in asked) == [200] * 3 + [503] * 5


def test_rates_fill_with_time_and_are_one_for_each_address():
    now = types.SimpleNamespace(time=0.0)
    rates = Rates(2, clock=lambda: now.time)
    assert [rates.take("a") for _ in range(5)] == [True] * 4 + [False]
    assert rates.take("b")
    now.time = 0.5
    assert [rates.take("a") for _ in range(2)] == [True, False]


@pytest.mark.long
def test_the_command_serves_a_model_and_ends_with_ctrl_c(tmp_path):
    words = ["serve", "--model", "blood_cells", "--port", "0", "--name", "cells"]
    server = subprocess.Popen(
        [sys.executable, "-m", "keras_retinanet", *words],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        port = int(re.search(r":(\d+)/v1/models/cells:predict", server.stdout.readline())[1])
        code, answer = ask(port, f"{MODEL}:predict", {"instances": [B64]})
        server.send_signal(2)
        assert code == 200 and server.wait(60) == 0
    finally:
        server.kill()
        server.communicate()
    (expected,) = load_detector(default_model().path).detect(str(PICTURE))
    (found,) = answer["predictions"]
    assert len(expected) == found["num_detections"] > 5
    np.testing.assert_allclose(found["detection_boxes_xyxy"], expected.boxes, atol=0.01)
    np.testing.assert_allclose(found["detection_scores"], expected.scores, atol=1e-4)
