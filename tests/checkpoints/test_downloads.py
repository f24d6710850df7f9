"""Downloads from a server on this machine: whole, broken and resumed, wrong, offline, by hand."""

import dataclasses
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from keras_retinanet.checkpoints.catalogue_file import Entry, cached_path, fetch
from keras_retinanet.errors import UserError
from keras_retinanet.files import downloads
from keras_retinanet.files.downloads import cache_folder

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT, as the server's attributes say."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers.get("Range"))
        if server.redirect:
            return self._answer(302, {"Location": server.redirect, "Content-Length": "0"}, b"")
        if server.codes:
            return self._answer(server.codes.pop(0), {"Content-Length": "0"}, b"")
        body, status, headers = CONTENT, 200, {}
        if server.ranges and (asked := self.headers.get("Range")):
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(CONTENT):
                return self._answer(416, {"Content-Length": "0"}, b"")
            body, status = CONTENT[start:], 206
            headers["Content-Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        headers["Content-Length"] = str(len(body))
        cut = server.cuts.pop(0) if server.cuts else len(body)
        if server.claims is not None:
            del headers["Content-Length"]
            headers |= server.claims
        self._answer(status, headers, body[:cut] + server.more)
        self.close_connection = cut < len(body) or server.claims is not None

    def _answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "SCHEMES", ("http",))
    monkeypatch.setattr(downloads, "WAITS", (0.0, 0.0))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.requests, served.cuts, served.codes, served.redirect = [], [], [], ""
    served.ranges, served.claims, served.more = True, None, b""
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture
def entry(server):
    return Entry(
        name="somebody_retinanet",
        family="torchvision_v2",
        backbone="resnet50",
        address=f"http://127.0.0.1:{server.server_port}/retinanet.pth",
        license="MIT",
        source="a test",
        file="retinanet.pth",
        hash=f"sha256:{hashlib.sha256(CONTENT).hexdigest()[:8]}",
        bytes=len(CONTENT),
    )


def files_of(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_whole_file_is_fetched_once(server, entry, tmp_path):
    path = fetch(entry, cache=tmp_path / "new", progress=False)
    assert path.read_bytes() == CONTENT
    assert fetch(entry, cache=tmp_path / "new", progress=False) == path
    assert server.requests == [None]
    assert files_of(tmp_path / "new") == ["retinanet.pth"]


def test_a_broken_connection_is_resumed_where_it_broke(server, entry, tmp_path):
    server.cuts = [1_000_000, 500_000]
    path = fetch(entry, cache=tmp_path, progress=False)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_later_call_goes_on_with_the_part(server, entry, tmp_path):
    (tmp_path / "retinanet.pth.part").write_bytes(CONTENT[:2_000_000])
    assert fetch(entry, cache=tmp_path, progress=False).read_bytes() == CONTENT
    assert server.requests == ["bytes=2000000-"]
    assert files_of(tmp_path) == ["retinanet.pth"]


def test_a_server_without_ranges_starts_anew(server, entry, tmp_path):
    server.ranges = False
    server.cuts = [1_000_000]
    assert fetch(entry, cache=tmp_path, progress=False).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000000-"]


def test_a_part_longer_than_the_file_is_dropped(server, entry, tmp_path):
    (tmp_path / "retinanet.pth.part").write_bytes(CONTENT + b"more")
    assert fetch(entry, cache=tmp_path, progress=False).read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_server_that_never_gets_on_ends_the_attempts(server, entry, tmp_path):
    server.cuts = [0] * 9
    with pytest.raises(UserError, match=r"ended after 0 of 3,000,000 bytes.*put it at") as error:
        fetch(entry, cache=tmp_path, progress=False)
    assert len(server.requests) == 3
    assert entry.address in str(error.value)
    assert str(tmp_path / "retinanet.pth") in str(error.value)


def test_busy_servers_are_asked_again_and_refusals_are_final(server, entry, tmp_path):
    server.codes = [503, 429]
    assert fetch(entry, cache=tmp_path, progress=False).read_bytes() == CONTENT
    server.codes = [404]
    with pytest.raises(UserError, match=r"Received: HTTP 404 Not Found\. Try again later, or"):
        fetch(entry, cache=tmp_path / "other", progress=False)
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hash": "sha256:00000000"}, "sha256 00000000, as published. Received: "),
        ({"hash": "md5:123456"}, "md5 123456, as published"),
        ({"bytes": 7}, "Expected 7 bytes in "),
    ],
)
def test_a_wrong_file_is_removed(server, entry, tmp_path, change, message):
    wrong = dataclasses.replace(entry, **change)
    with pytest.raises(UserError, match=message):
        fetch(wrong, cache=tmp_path, progress=False)
    assert files_of(tmp_path) == []


def test_more_than_was_published_is_not_received(server, entry, tmp_path):
    """Without a length the server decides when it ends; with one it may lie."""
    server.claims, server.more = {}, bytes(5_000_000)
    with pytest.raises(UserError, match=r"Expected 3,000,000 bytes in .*Received: .* or more"):
        fetch(entry, cache=tmp_path, progress=False)
    assert files_of(tmp_path) == []
    server.claims = {"Content-Length": str(10**15)}
    with pytest.raises(UserError, match=r"Received: 1,000,000,000,000,000 or more"):
        fetch(entry, cache=tmp_path, progress=False)
    unknown = dataclasses.replace(entry, bytes=None)
    with pytest.raises(UserError, match=r"Expected 2,147,483,648 bytes in .*, at most"):
        fetch(unknown, cache=tmp_path, progress=False)
    assert files_of(tmp_path) == []
    server.claims, server.more = {"Content-Length": "9" * 5000}, b""
    assert fetch(unknown, cache=tmp_path, progress=False).read_bytes() == CONTENT


def test_a_server_that_drips_has_an_end(server, entry, tmp_path):
    server.cuts = [1] * 50
    with pytest.raises(UserError, match=r"ended after \d of 3,000,000 bytes"):
        fetch(entry, cache=tmp_path, progress=False)
    assert len(server.requests) == 3


def test_offline_the_error_says_where_to_put_the_file(server, entry, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    address = f"http://127.0.0.1:{port}/retinanet.pth"
    entry = dataclasses.replace(entry, address=address)
    with pytest.raises(UserError) as error:
        fetch(entry, cache=tmp_path, progress=False)
    message = str(error.value)
    assert message.startswith(f"Expected to fetch {address}. Received: ")
    assert message.endswith(f"put it at {tmp_path / 'retinanet.pth'}.")
    assert "\n" not in message
    # By hand, then: no server is asked, and a wrong file stays where its owner put it.
    (tmp_path / "retinanet.pth").write_bytes(CONTENT)
    assert fetch(entry, cache=tmp_path, progress=False).read_bytes() == CONTENT
    (tmp_path / "retinanet.pth").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(UserError, match=r"as published\. Received: .* Delete it, or put the"):
        fetch(entry, cache=tmp_path, progress=False)
    assert files_of(tmp_path) == ["retinanet.pth"]


def test_a_file_for_browsers_is_only_taken_from_its_place(server, entry, tmp_path):
    entry = dataclasses.replace(entry, by_hand=True)
    with pytest.raises(UserError, match=f"Fetch it from {entry.address} and put it there"):
        fetch(entry, cache=tmp_path, progress=False)
    assert server.requests == []
    (tmp_path / "retinanet.pth").write_bytes(CONTENT)
    assert fetch(entry, cache=tmp_path, progress=False) == tmp_path / "retinanet.pth"


def test_only_https_is_asked_and_followed(server, entry, tmp_path, monkeypatch):
    server.redirect = "ftp://127.0.0.1/retinanet.pth"
    with pytest.raises(UserError, match=r"Expected an https address\. Received: ftp://"):
        fetch(entry, cache=tmp_path, progress=False)
    monkeypatch.setattr(downloads, "SCHEMES", ("https",))
    with pytest.raises(UserError, match=r"Expected an https address\. Received: http://127"):
        fetch(entry, cache=tmp_path, progress=False)
    assert len(server.requests) == 1


def test_two_callers_fetch_once(server, entry, tmp_path):
    found = []
    callers = [
        threading.Thread(
            target=lambda: found.append(fetch(entry, cache=tmp_path, progress=False).read_bytes())
        )
        for _ in range(3)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [CONTENT] * 3
    assert server.requests == [None]


def test_the_cache_folder(monkeypatch, tmp_path, entry):
    monkeypatch.setenv("KERAS_RETINANET_HOME", str(tmp_path))
    assert cache_folder() == tmp_path
    assert cached_path(entry) == tmp_path / "retinanet.pth"
    monkeypatch.delenv("KERAS_RETINANET_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "keras_retinanet"
