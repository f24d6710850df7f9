"""Who may ask the page for what: stands before gradio, which asks nobody.

gradio trusts whoever reaches its port, and hands out far more than this page needs: any function of
any component, files, addresses to fetch. Here a request has to come from a browser that opened the
printed address, from a page of this server, to a route that the page uses, and it may name no file
but those in the upload folder.
"""

import json
import re
from http import HTTPStatus
from pathlib import Path
from secrets import compare_digest
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keras_retinanet.ui.uploads import is_inside, names_only_inside, size_on_disk

# What a browser may call this machine, at any port, which may be a forwarded one. A foreign name
# that leads here is a foreign page's trick.
HOSTS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
API = "/gradio_api"
FILE, JOIN, UPLOAD = f"{API}/file=", f"{API}/queue/join", f"{API}/upload"
READ = {
    *("/", "/config", "/theme.css", "/favicon.ico"),
    *(f"{API}/{name}" for name in ("app_id", "queue/data", "upload_progress")),
}
READ_BELOW = ("/assets/", "/static/", f"{API}/heartbeat/", FILE)
WRITE = {JOIN, UPLOAD, f"{API}/cancel"}
# Bytes of a request that is no upload: the names of 1000 files, at most.
MAX_JSON = 1 << 20
# Bytes of drawn images that are no reason to refuse an upload: those of an hour lie beside it.
DRAWN = 1 << 30
# Nothing from elsewhere is loaded, shown, or told anything, whatever a page may come to hold.
HEADERS = {
    "Content-Security-Policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ENTRANCE = (
    "Expected the address that `keras_retinanet ui` printed, with its token. "
    "Received: a request without it. Open that address in this browser."
)


class Guard:
    """An ASGI application before another.

    Args:
        app: what requests go to that are let through.
        token: what the printed address carries and, once it was opened, the browser's cookie.
        port: of the server, in the cookie's name: browsers do not tell the ports of a machine
            apart.
        folder: of uploads and drawn images, without links in its path.
        max_uploads: bytes of uploads that may lie in it at a time.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int, folder: Path, max_uploads: int):
        self._app, self._token, self._folder = app, token, folder
        self._cookie = f"keras_retinanet_{port}"
        self._max_uploads = max_uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: by the application, or by a line on why not."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        # Of the scope, as gradio reads it: `request.url` ends its path at a "?" that was quoted.
        request, path = Request(scope, receive), scope["path"]
        is_entrance = self._is_entrance(request)
        refusal = self._refusal(request, is_entrance=is_entrance)
        if refusal is None and path == JOIN:
            try:
                body = await request.body()
            except ClientDisconnect:
                return
            receive = _replayed(body, receive)
            refusal = self._refusal_of_body(body)
        if is_entrance and refusal is None:
            scope = {**scope, "query_string": b""}  # gradio need not know the token

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if not path.startswith(("/assets/", "/static/")):
                    headers["Cache-Control"] = "no-store"  # else files outlive the page
                if is_entrance:
                    cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
                    headers.append("Set-Cookie", cookie)
            await send(message)

        if refusal is not None:
            status, why = refusal
            app: ASGIApp = PlainTextResponse(f"{why}\n", status_code=status)
        else:
            app = self._app
        await app(scope, receive, send_with_headers)

    def _is_entrance(self, request: Request) -> bool:
        given = request.query_params.get("token", "")
        is_page = (request.method, request.scope["path"]) == ("GET", "/")
        return is_page and _is_local(request) and self._is_token(given)

    def _is_token(self, text: str) -> bool:
        return compare_digest(text.encode(), self._token.encode())

    def _refusal(self, request: Request, *, is_entrance: bool) -> tuple[int, str] | None:
        if not _is_local(request):
            return HTTPStatus.FORBIDDEN, "Expected this machine's own name as host."
        if not _is_used(request):
            return HTTPStatus.NOT_FOUND, "Not found."
        # A link to the printed address may stand in any page: it proves itself.
        if not is_entrance and not _is_own(request):
            return HTTPStatus.FORBIDDEN, "Expected a request of this page, not of another one."
        if not is_entrance and not self._is_token(request.cookies.get(self._cookie, "")):
            return HTTPStatus.FORBIDDEN, ENTRANCE
        if request.method == "POST":
            return self._refusal_of_size(request)
        path = request.scope["path"]
        if path.startswith(FILE) and not is_inside(path.removeprefix(FILE), self._folder):
            return HTTPStatus.FORBIDDEN, "Expected a file of this page."
        return None

    def _refusal_of_size(self, request: Request) -> tuple[int, str] | None:
        length = request.headers.get("content-length", "")
        # Chunks have none, whatever the header says that stands beside theirs.
        if "transfer-encoding" in request.headers or not length.isdecimal():
            return HTTPStatus.LENGTH_REQUIRED, "Expected a length."
        limit = MAX_JSON
        if request.scope["path"] == UPLOAD:
            taken = max(size_on_disk(self._folder) - DRAWN, 0)
            limit = self._max_uploads - taken
        if int(length) > limit:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Expected fewer or smaller files."
        return None

    def _refusal_of_body(self, body: bytes) -> tuple[int, str] | None:
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            return HTTPStatus.BAD_REQUEST, "Expected JSON."
        if not names_only_inside(data, self._folder):
            return HTTPStatus.FORBIDDEN, "Expected files that were dropped on this page."
        return None


def _is_local(request: Request) -> bool:
    hosts = request.headers.getlist("host")
    return len(hosts) == 1 and HOSTS.fullmatch(hosts[0]) is not None


def _is_used(request: Request) -> bool:
    """Return whether the page ever asks for that."""
    path = request.scope["path"]
    if request.method == "POST":
        return path in WRITE
    return request.method in ("GET", "HEAD") and (path in READ or path.startswith(READ_BELOW))


def _is_own(request: Request) -> bool:
    """Return whether no header of the browser says that another page made it ask."""
    headers, own = request.headers, f"http://{request.headers['host']}".lower()
    return (
        all(origin.lower() == own for origin in headers.getlist("origin"))
        and all(page.lower().startswith(f"{own}/") for page in headers.getlist("referer"))
        and set(headers.getlist("sec-fetch-site")) <= {"same-origin", "none"}
    )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read already, then continues."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
