"""A server that answers TensorFlow Serving's REST requests with any model of this package.

One request at a time goes through the model; a few wait, and others are refused at once, so that
memory and waiting time are bounded.
"""

import asyncio
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from keras_retinanet.errors import UserError
from keras_retinanet.ui.rest_requests import metadata, read_request, response, status

# Clients of whom the rate is kept; the one that was quiet longest is forgotten first.
MAX_CLIENTS = 4096
# A slower request would keep others from their turn.
BODY_SECONDS = 30


@dataclass(frozen=True)
class Limits:
    """What a client may ask.

    Attributes:
        bytes: of a request.
        images: of a request.
        rate: requests a second of one address, in the mean; twice as many may come at once.
        waiting: requests that wait or run at a time.
    """

    bytes: int
    images: int
    rate: float
    waiting: int


class Refused(Exception):
    """A request that is not answered: HTTP status and message."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class Rates:
    """How many requests each address may still make: a bucket that fills at `rate` a second."""

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic):
        self._rate, self._most, self._clock = rate, max(1.0, 2 * rate), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> bool:
        """Count a request of `client`; return whether it may be answered."""
        now = self._clock()
        left, then = self._buckets.pop(client, (self._most, now))
        left = min(self._most, left + self._rate * (now - then))
        is_allowed = left >= 1
        self._buckets[client] = left - is_allowed, now
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return is_allowed


class RestServer:
    """The routes.

    Args:
        model: anything with `detect` and `class_ids`.
        name: of the model, in the addresses.
    """

    def __init__(self, model: Any, *, name: str, limits: Limits):
        self._model, self._name, self._limits = model, name, limits
        self._rates, self._lock = Rates(limits.rate), threading.Lock()
        self._busy, self._images, self._seconds = 0, 0, 0.0
        self._answers: Counter[int] = Counter()

    def application(self) -> Starlette:
        """Return the ASGI application."""
        model = f"/v1/models/{self._name}"
        routes = [
            Route("/healthz", _healthy),
            Route("/metrics", self._metrics),
        ]
        for place in (model, f"{model}/versions/1"):
            routes += [
                Route(place, self._status),
                Route(f"{place}/metadata", self._metadata),
                Route(f"{place}:predict", self._predict, methods=["POST"]),
            ]
        return Starlette(routes=routes)

    async def _status(self, _: Request) -> Response:
        return JSONResponse(status())

    async def _metadata(self, _: Request) -> Response:
        return JSONResponse(metadata(self._name))

    async def _predict(self, request: Request) -> Response:
        begin = time.perf_counter()
        code, answer = await self._answered(self._found, request)
        self._answers[code] += 1
        self._seconds += time.perf_counter() - begin
        return JSONResponse(answer, code)

    async def _answered(
        self, answer: Callable[[Request], Awaitable[dict]], request: Request
    ) -> tuple[int, dict]:
        """Return status and JSON, of an error as TensorFlow Serving has it."""
        try:
            self._admit(request)
            self._busy += 1
            try:
                return 200, await answer(request)
            finally:
                self._busy -= 1
        except Refused as refusal:
            return refusal.code, {"error": str(refusal)}
        except UserError as error:
            return 400, {"error": str(error)}
        except ClientDisconnect:
            return 400, {"error": "the client went"}

    def _admit(self, request: Request) -> None:
        client = request.client.host if request.client else ""
        if not self._rates.take(client):
            raise Refused(429, f"Expected at most {self._limits.rate:g} requests a second.")
        if self._busy >= self._limits.waiting:
            raise Refused(503, f"{self._busy} requests are waiting. Try again later.")

    async def _found(self, request: Request) -> dict:
        try:
            body = await asyncio.wait_for(self._body(request), BODY_SECONDS)
        except TimeoutError as error:
            raise Refused(408, f"Expected a request within {BODY_SECONDS} seconds.") from error
        return await run_in_threadpool(self._detect, body)

    async def _body(self, request: Request) -> bytes:
        """Return the body, of which no more is read than is allowed."""
        parts, size = [], 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > self._limits.bytes:
                raise Refused(413, f"Expected at most {self._limits.bytes:,} bytes.")
        return b"".join(parts)

    def _detect(self, body: bytes) -> dict:
        with self._lock:
            images = read_request(body, max_images=self._limits.images)
            found = self._model.detect(images)
            self._images += len(images)
        return response(found, images, self._model.class_ids)

    async def _metrics(self, _: Request) -> Response:
        """Return the counts in the text form of Prometheus."""
        lines = ["# TYPE keras_retinanet_requests_total counter"]
        lines += [
            f'keras_retinanet_requests_total{{code="{code}"}} {count}'
            for code, count in sorted(self._answers.items())
        ]
        for name, kind, value in (
            ("images_total", "counter", self._images),
            ("request_seconds_total", "counter", round(self._seconds, 6)),
            ("requests_waiting", "gauge", self._busy),
        ):
            lines += [
                f"# TYPE keras_retinanet_{name} {kind}",
                f"keras_retinanet_{name} {value}",
            ]
        return PlainTextResponse("\n".join(lines) + "\n")


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok\n")
