"""Attacks on a running `ui`: by who has no token, by another page, and by requests of all kinds."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from exported_models import spread_model, write_pictures
from ui_client import API, drop, join, named, output, status_of, upload
from ui_server import DEADLINE, ROOT, served, upload_folders, wait_for

from keras_retinanet.modeling.saving import save_model

httpx = pytest.importorskip("httpx", reason="comes with gradio, the extra ui")
MEGABYTE = 1 << 20
# Routes of gradio that the page never asks for.
UNUSED = [
    ("GET", f"{API}/proxy=https://example.hf.space/x"),
    ("GET", f"{API}/stream/s/1/2/playlist.m3u8"),
    ("GET", f"{API}/custom_component/x/client/component/index.js"),
    ("GET", f"{API}/deep_link?session_hash=s"),
    ("GET", f"{API}/token"),
    ("GET", f"{API}/queue/status"),
    ("GET", "/monitoring"),
    ("GET", "/logout"),
    ("GET", f"{API}/file/etc/passwd"),
    ("POST", "/login"),
    ("POST", f"{API}/component_server"),
    ("POST", f"{API}/process_recording"),
    ("POST", f"{API}/stream/x"),
    ("POST", f"{API}/run/predict"),
    ("POST", f"{API}/api/predict"),
    ("POST", f"{API}/call/predict"),
    ("POST", f"{API}/call/v2/predict"),
    ("POST", f"{API}/vibe-edit"),
    ("PUT", "/"),
    ("OPTIONS", f"{API}/upload"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A model, pictures to drop, and a picture that is nobody's business."""
    folder = tmp_path_factory.mktemp("ui")
    save_model(spread_model(), folder / "model.keras")
    write_pictures(folder / "pictures")
    (folder / "pictures" / "a.png").rename(folder / "private.png")
    return folder


@pytest.fixture(scope="module")
def running(place):
    """The process and its printed address."""
    words = ["--model", str(place / "model.keras"), "--max_upload_mb", "1"]
    with served(words, place / "temporary") as (server, address):
        yield server, address


@pytest.fixture(scope="module")
def address(running) -> str:
    return running[1]


@pytest.fixture(scope="module")
def page(address) -> httpx.Client:
    """A browser that opened the printed address."""
    base = address.partition("/?")[0]
    with httpx.Client(base_url=base, trust_env=False, timeout=DEADLINE) as client:
        assert client.get(address).status_code == 200
        yield client


@pytest.fixture
def stranger(address):
    with httpx.Client(base_url=address.partition("/?")[0], trust_env=False) as client:
        yield client


@pytest.fixture
def folder(place, running) -> Path:
    (folder,) = upload_folders(place / "temporary")
    return folder


@pytest.mark.long
def test_the_page_reads_what_was_dropped_and_keeps_nothing_of_it(page, place, folder):
    assert folder.stat().st_mode & 0o777 == 0o700
    uploaded = drop(page, place / "pictures" / "b.png")
    assert Path(uploaded).is_relative_to(folder)
    assert page.get(f"{API}/file={uploaded}").status_code == 200
    output(page, [[named(uploaded)], None, None])
    assert not Path(uploaded).exists()
    shown = output(page, [None, None, 0.5, False], fn=1)["data"]
    (image,) = (part for part in shown if isinstance(part, dict) and part.get("path"))
    answer = page.get(image["url"])
    assert answer.content[:3] == b"\xff\xd8\xff" and answer.headers["Cache-Control"] == "no-store"


@pytest.mark.long
def test_no_path_of_a_request_leads_out_of_the_folder(page, place, folder):
    secret = place / "private.png"
    (folder / "link.png").symlink_to(secret)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "linked").symlink_to(place)
    outside = [
        *(secret, "/etc/passwd", "/dev/zero", "private.png", "", folder, f"{folder}x/a.png"),
        *(folder / "link.png", folder / "loop.png", folder / "linked/private.png"),
        *(f"{folder}/../../private.png", f"{folder}/x/../../../private.png", "a\0b", "/" * 5000),
    ]
    for path in outside:
        for data in ([[named(path)], None, None], [named(path)], [[[{"a": named(path)}]]]):
            assert join(page, data).status_code == 403, path
        assert page.get(f"{API}/file={quote(str(path))}").status_code == 403, path
    for path in ([], {"path": str(secret)}, 3, True):
        assert join(page, [[{**named("x"), "path": path}], None, None]).status_code == 403
    for tail in ("%3F/../../../private.png", "%23/../../../private.png", "/..%2f..%2fprivate.png"):
        assert page.get(f"{API}/file={folder}/x{tail}").status_code == 403
    # gradio serves its cache of examples too, wherever the command was started.
    cached = place / "temporary" / ".gradio" / "cached_examples"
    cached.mkdir(parents=True)
    (cached / "a.png").write_bytes(b"x")
    assert page.get(f"{API}/file={cached / 'a.png'}").status_code == 403
    for body in (b"{", b"[" * 100_000, b"\xff"):
        assert page.post(f"{API}/queue/join", content=body).status_code == 400


def test_the_server_fetches_no_address(page, folder):
    asked = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

    with HTTPServer(("127.0.0.1", 0), Listener) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{listener.server_port}/a.png"
        assert join(page, [[named(url)], None, None]).status_code == 403
        for path in (f"file={url}", f"file=HTTP:{url[5:]}", f"proxy={url}"):
            assert page.get(f"{API}/{path}").status_code in (403, 404)
        dropped = named(folder / "gone.png")
        output(page, [[{**dropped, "url": url}], None, None])
        listener.shutdown()
    assert asked == []


@pytest.mark.long
def test_a_path_that_passed_the_guard_is_checked_by_gradio_and_by_the_page(place, tmp_path):
    words = [
        Path(__file__).parents[1] / "support/ui_second_checks.py",
        tmp_path,
        place / "private.png",
    ]
    done = subprocess.run(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.splitlines() == ["gradio refused", "the page refused"]
    assert (place / "private.png").exists() and list(tmp_path.rglob("*.png")) == []


@pytest.mark.long
def test_who_lacks_the_token_gets_nothing(stranger, page, place, address, folder):
    token = address.partition("token=")[2]
    assert len(token) >= 43
    before = sorted(folder.rglob("*"))
    uploaded = drop(page, place / "pictures" / "b.png")
    cookie = next(iter(page.cookies.jar))
    for cookies in ({}, {cookie.name: "x"}, {cookie.name: token[:-1]}, {"token": token}):
        header = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        for path in ("/", "/config", "/theme.css", f"{API}/file={uploaded}", f"{API}/queue/data",
                     "/?token=", f"/?token={token[:-1]}", f"/config?token={token}",
                     "/static/img/logo.svg", f"{API}/heartbeat/s"):  # fmt: skip
            answer = stranger.get(path, headers=header)
            assert answer.status_code == 403, path
            assert "set-cookie" not in answer.headers
        assert upload(stranger, b"x", headers=header).status_code == 403
        assert stranger.post(f"{API}/queue/join", json={}, headers=header).status_code == 403
    assert "printed" in stranger.get("/").text
    Path(uploaded).unlink()
    assert len(sorted(folder.rglob("*"))) <= len(before) + 1


def test_the_cookie_is_for_this_browser_alone(stranger, address):
    answer = stranger.get(address)
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Strict" in answer.headers["set-cookie"]
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy and "default-src 'self'" in policy
    assert stranger.get("/").status_code == 200
    # Neither the page nor gradio's answers show the token again.
    token = address.partition("token=")[2]
    assert all(token not in stranger.get(path).text for path in ("/", "/config"))
    assert token not in answer.text


FOREIGN = [
    {"Host": "elsewhere.example"},
    {"Host": "127.0.0.1.elsewhere.example"},
    {"Host": "localhost.elsewhere.example:80"},
    {"Host": "127.0.0.1@elsewhere.example"},
    {"Host": ""},
    {"Origin": "http://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://127.0.0.1"},
    {"Referer": "http://elsewhere.example/x"},
    {"Referer": "http://127.0.0.1:1/x"},
    {"Referer": "http://[x"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("header", FOREIGN, ids=lambda header: str(header))
def test_no_other_page_may_use_the_browsers_cookie(header, page, folder):
    files = sorted(folder.rglob("*"))
    assert upload(page, b"foreign", headers=header).status_code == 403
    body = {"data": [None, None, 0.5, False], "fn_index": 1, "session_hash": "s"}
    assert page.post(f"{API}/queue/join", json=body, headers=header).status_code == 403
    assert page.get("/config", headers=header).status_code == 403
    assert page.get(f"{API}/heartbeat/s", headers=header).status_code == 403
    assert sorted(folder.rglob("*")) == files


def test_requests_of_the_page_itself_pass(page):
    base = str(page.base_url).rstrip("/")
    for header in (
        {"Origin": base, "Referer": f"{base}/", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        # A forwarded port.
        {"Host": "localhost:9000", "Origin": "http://localhost:9000"},
    ):
        assert page.get("/config", headers=header).status_code == 200


@pytest.mark.parametrize(("method", "path"), UNUSED, ids=lambda text: text)
def test_what_the_page_does_not_use_is_not_there(method, path, page):
    assert page.request(method, path).status_code == 404


def test_uploads_have_limits(page, folder):
    files = sorted(folder.rglob("*"))
    assert upload(page, bytes(MEGABYTE + 1)).status_code == 413
    chunked = {"Transfer-Encoding": "chunked"}
    for path in (f"{API}/upload", f"{API}/queue/join"):
        assert status_of(page, path, {"Content-Length": "200000000"}) == 413
        for headers in ({}, chunked, {**chunked, "Content-Length": "1"}):
            assert status_of(page, path, headers) == 411
    # What lies there counts, but for a gigabyte of drawn images.
    with open(folder / "large", "wb") as large:
        large.truncate((1024 + 100) * MEGABYTE)
    assert upload(page, b"x").status_code == 413
    (folder / "large").unlink()
    assert upload(page, *[b"x"] * 1001).status_code == 400
    assert join(page, ["x" * MEGABYTE]).status_code == 413
    assert [file for file in folder.rglob("*") if file not in files and file.is_file()] == []


@pytest.mark.long
def test_the_queue_is_bounded(page):
    codes = [join(page, [None, None, 0.5, False], fn=1).status_code for _ in range(150)]
    assert set(codes) <= {200, 503}
    wait_for(lambda: join(page, [None, None, 0.5, False], fn=1).status_code == 200)


def test_uploads_are_gone_after_sigkill(running, page, place, folder):
    server, _ = running
    drop(page, place / "pictures" / "b.png")
    assert any(path.is_file() for path in folder.rglob("*"))
    server.kill()
    server.wait()
    wait_for(lambda: not folder.exists())
