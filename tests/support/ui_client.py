"""What a browser, or an attacker, asks of a running `ui`. `client` is an `httpx.Client`."""

import http.client
import json
from pathlib import Path

API = "/gradio_api"


def named(path) -> dict:
    return {"path": str(path), "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}


def join(client, data, fn: int = 0, **changes):
    body = {"data": data, "fn_index": fn, "session_hash": "s", **changes}
    return client.post(f"{API}/queue/join", json=body)


def output(client, data, fn: int = 0) -> dict:
    """Runs a function of the page as the page does."""
    assert join(client, data, fn).status_code == 200
    with client.stream("GET", f"{API}/queue/data", params={"session_hash": "s"}) as lines:
        for line in lines.iter_lines():
            message = json.loads(line.removeprefix("data:") or "{}")
            if message.get("msg") == "process_completed":
                return message["output"]
    raise AssertionError("no answer")


def upload(client, *contents: bytes, **options):
    files = [("files", ("b.png", content)) for content in contents]
    return client.post(f"{API}/upload", files=files, **options)


def status_of(client, path: str, headers: dict[str, str]) -> int:
    """Sends the start of a request whose body never comes: what is refused is not read."""
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
    connection.putrequest("POST", path)
    (cookie,) = client.cookies.jar
    for header in ({"Cookie": f"{cookie.name}={cookie.value}"} | headers).items():
        connection.putheader(*header)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def drop(client, path: Path) -> str:
    (uploaded,) = upload(client, path.read_bytes()).json()
    return uploaded
