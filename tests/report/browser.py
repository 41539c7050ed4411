"""A headless Chromium, driven by the DevTools protocol through a pipe: no library, no port, no network."""

from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import select
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

__all__ = ["NAMES", "Browser", "Page", "program", "started"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Whoever drives the browser writes to its descriptor 3 and reads from 4: the launcher puts both pipes there.
LAUNCHER = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
for target, end in zip((3, 4), ends):
    os.dup2(end, target, inheritable=True)
    os.close(end)
os.execv(sys.argv[3], sys.argv[3:])
"""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE = 60.0  # s, for an answer on a busy machine
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "End": 35, "Home": 36}
KEYS |= {"Escape": 27, "Tab": 9}
SHIFT = 8


def program() -> str | None:
    """The browser, where there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """A running browser.

    :param executable: of the browser.
    :param folder: for its profile.
    """

    def __init__(self, executable: str, folder: str) -> None:
        theirs, self._to = os.pipe()
        self._from, answers = os.pipe()
        # Nothing of the user's settings, and of the environment no proxy, may change what a page does.
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", "-c", LAUNCHER, str(theirs), str(answers)),
                *(executable, *FLAGS, f"--user-data-dir={folder}", "about:blank"),
            ],
            pass_fds=(theirs, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=env | {"HOME": folder},
        )
        os.close(theirs)
        os.close(answers)
        self._count = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events that come meanwhile are kept."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            found = self._next(until)
            if found.get("id") == self._count:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                answer: dict[str, Any] = found["result"]
                return answer
            if "method" in found:
                self.events.append(found)

    def wait_for(self, method: str, session: str) -> dict[str, Any]:
        """The next event of this kind, of those that were kept or are to come; it is kept no longer."""
        until = time.monotonic() + PATIENCE
        while True:
            for k, event in enumerate(self.events):
                if event["method"] == method and event.get("sessionId") == session:
                    return self.events.pop(k)
            found = self._next(until)
            if "method" in found:
                self.events.append(found)

    def forget(self, method: str, session: str) -> None:
        """Keep no event of this kind any longer."""
        self.events = [
            e for e in self.events if e["method"] != method or e.get("sessionId") != session
        ]

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the browser did not answer in {PATIENCE:g} s.")
            part = os.read(self._from, 1 << 20)
            if not part:
                raise RuntimeError(f"the browser ended with code {self._process.wait()}.")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def page(self, width: int = 1100, height: int = 800) -> "Page":
        """A new page, without a network."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, target, session, width, height)

    def close(self) -> None:
        """End the browser, and wait for it."""
        try:
            self.call("Browser.close")
            self._process.wait(PATIENCE)
        except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)


class Page:
    """One page of a browser, and all that it said and asked for."""

    def __init__(self, browser: Browser, target: str, session: str, width: int, height: int):
        self.browser, self.target, self.session = browser, target, session
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")
        offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.call("Network.emulateNetworkConditions", offline=True, **offline)
        self.resize(width, height)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to this page."""
        return self.browser.call(method, self.session, **params)

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Set the size of the window, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def open(self, path: Path) -> None:
        """Load a file, and wait until it has loaded."""
        self.browser.forget("Page.loadEventFired", self.session)  # of the page before
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.browser.wait_for("Page.loadEventFired", self.session)

    def media(self, kind: str = "", **features: str) -> None:
        """Emulate a medium, such as ``print``, or a feature: ``media(prefers_color_scheme="dark")``."""
        those = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.call("Emulation.setEmulatedMedia", media=kind, features=those)

    def run(self, source: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate", expression=source, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    def point(self, x: float, y: float) -> None:
        """Move the mouse there, in CSS pixels of the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def touch(self, x: float, y: float) -> None:
        """Tap with a finger."""
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key and let it go."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        about["modifiers"] = SHIFT if shift else 0
        self.call("Input.dispatchKeyEvent", type="rawKeyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def names(self, role: str) -> list[str]:
        """Accessible names of all that has this role, as assistive technology is told them."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        those = [
            n for n in nodes if not n.get("ignored") and n.get("role", {}).get("value") == role
        ]
        return [str(n.get("name", {}).get("value", "")) for n in those]

    def shot(self, path: Path | None = None, *, whole: bool = False) -> bytes:
        """A picture of the window, or of the whole page, as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        data = b64decode(found["data"])
        if path is not None:
            path.write_bytes(data)
        return data

    def pdf(self) -> bytes:
        """The page as it is printed on A4."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69}
        return b64decode(self.call("Page.printToPDF", printBackground=False, **size)["data"])

    @property
    def said(self) -> list[str]:
        """Errors and warnings on the console, and exceptions, so far."""
        self.run("0")  # what was said before is then there
        found = []
        for event in self._events("Runtime.consoleAPICalled", "Log.entryAdded"):
            entry = event["params"].get("entry", event["params"])
            if entry.get("level", entry.get("type")) in ("error", "warning", "assert"):
                found.append(str(entry.get("text", entry.get("args"))))
        found += [json.dumps(e["params"]) for e in self._events("Runtime.exceptionThrown")]
        return found

    @property
    def asked(self) -> list[str]:
        """Addresses that the page asked for."""
        events = self._events("Network.requestWillBeSent")
        return [str(e["params"]["request"]["url"]) for e in events]

    @property
    def dialogs(self) -> int:
        """How many dialogs were opened."""
        return len(self._events("Page.javascriptDialogOpening"))

    def _events(self, *methods: str) -> list[dict[str, Any]]:
        own = [e for e in self.browser.events if e.get("sessionId") == self.session]
        return [e for e in own if e["method"] in methods]

    def close(self) -> None:
        """Close the page."""
        self.browser.call("Target.closeTarget", targetId=self.target)


@contextmanager
def started(executable: str) -> Iterator[Browser]:
    """A browser with a profile of its own, which goes with it."""
    # Its helpers may still write to the profile when it has ended.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(executable, folder)
        try:
            yield browser
        finally:
            browser.close()
