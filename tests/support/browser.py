"""A headless chromium that tests open pages in, click, drag and read, by its own protocol.

Messages are JSON, each ended by a zero byte, over two pipes: no driver and no package is needed.
https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0
FLAGS = "--headless --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-pipe".split()


class Browser:
    """One tab. `problems`: what went wrong in the page; `requests`: the addresses it asked for."""

    def __init__(self, folder: Path):
        name = next(filter(None, map(shutil.which, BROWSERS)), None)
        if name is None or shutil.which("bash") is None:
            pytest.skip(f"needs bash and one of {', '.join(BROWSERS)}")
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # The browser reads descriptor 3 and writes descriptor 4.
        command = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        flags = [*FLAGS, f"--user-data-dir={folder / 'profile'}"]
        self._process = subprocess.Popen(
            ["bash", "-c", command, "bash", name, *flags],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._unread, self._number, self._session = b"", 0, None
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        attached = self._send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._send(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._session = None
        with contextlib.suppress(AssertionError, OSError):
            self._send("Browser.close")
        # All its processes hold the pipe: at its end none writes to the profile any more.
        with contextlib.suppress(AssertionError, TimeoutError):
            while True:
                self._receive()
        self._process.terminate()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def open(self, address: str) -> None:
        """Opens a page and waits until it has loaded."""
        self._send("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Sets the size of the window in CSS pixels."""
        self._send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip

    def dark(self, is_dark: bool = True) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[feature])

    def read(self, script: str) -> Any:
        """Returns the value of an expression in the page."""
        answer = self._send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.read(script):
            if time.monotonic() > end:
                raise TimeoutError(script)
            self._send("Runtime.evaluate", expression=NEXT_FRAME, awaitPromise=True)

    def settle(self) -> None:
        """Waits for two frames, in which the page does what it has put off."""
        for _ in range(2):
            self._send("Runtime.evaluate", expression=NEXT_FRAME, awaitPromise=True)

    def click(self, selector: str) -> None:
        """Clicks in the middle of an element as a mouse does, after scrolling to it."""
        x, y = self._middle(selector)
        self._mouse(("mouseMoved", x, y), ("mousePressed", x, y), ("mouseReleased", x, y))

    def drag(self, selector: str, share: float) -> None:
        """Drags the knob of a slider to `share` of its way, pressing where it should go."""
        _, y = self._middle(selector)
        left, width = self.read(
            f"(r => [r.left, r.width])({_find(selector)}.getBoundingClientRect())"
        )
        # The knob, 16 px wide, stays inside the track.
        x = left + 8 + share * (width - 16)
        self._mouse(
            ("mousePressed", left + width / 2, y), ("mouseMoved", x, y), ("mouseReleased", x, y)
        )

    def choose(self, selector: str, value: str) -> None:
        """Chooses an option, as the keyboard does: a headless browser shows no list."""
        self.read(
            f"(e => {{ e.value = {json.dumps(value)}; "
            f"e.dispatchEvent(new Event('change', {{bubbles: true}})); }})({_find(selector)})"
        )
        self.settle()

    def key(self, name: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self._send(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name,
                windowsVirtualKeyCode=KEY_CODES[name],
            )  # fmt: skip
        self.settle()

    def downloads_to(self, folder: Path) -> None:
        """Saves what the page downloads in a folder."""
        self._send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Writes a PNG of the window, or of the whole page."""
        if whole:
            # A picture that was never scrolled to is not decoded.
            self.read("document.querySelectorAll('img').forEach(i => { i.loading = 'eager'; })")
            self.wait_for("[...document.images].every(i => i.complete)")
        answer = self._send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _middle(self, selector: str) -> tuple[float, float]:
        self.read(f"{_find(selector)}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        self.settle()
        return tuple(
            self.read(
                "(r => [r.left + r.width / 2, r.top + r.height / 2])"
                f"({_find(selector)}.getBoundingClientRect())"
            )
        )

    def _mouse(self, *steps: tuple[str, float, float]) -> None:
        for kind, x, y in steps:
            self._send(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1,
                clickCount=1,
            )  # fmt: skip
        self.settle()

    def _send(self, method: str, **values: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        method, values = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(values["exceptionDetails"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.problems.append(values["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            if not select.select([self._from], [], [], PATIENCE)[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self._from, 1 << 20)
            if not part:
                raise AssertionError("the browser has ended")
            self._unread += part
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)


KEY_CODES = {"Escape": 27, "ArrowLeft": 37, "ArrowRight": 39, "a": 65, "r": 82, "u": 85}
NEXT_FRAME = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"


def _find(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"
