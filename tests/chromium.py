"""A headless Chromium, controlled over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

PROGRAM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

IN_CHROMIUM: Final = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        PROGRAM is None and not os.environ.get("RIVYA_BROWSER_TESTS"),
        reason="there is no Chromium: apt-get install chromium",
    ),
]
"""Marks of browser tests. Without Chromium they are skipped; with `RIVYA_BROWSER_TESTS`, as in CI, they fail."""

CONTRAST: Final = Path(__file__).with_name("contrast.js").read_text()
"""A script that finds text with insufficient contrast."""

CHROMIUM_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # in a container it runs as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
    "--remote-debugging-port=0",
)

START_TIMEOUT: Final = 20.0
WAIT_TIMEOUT: Final = 10.0

KEYS: Final = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}


class Tab:
    """One tab. `errors` has the errors that the page logs or throws."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.errors: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self._socket:
            message = frame.json()
            if "id" in message:
                self._asked.pop(message["id"]).set_result(message)
            elif message["method"] == "Runtime.exceptionThrown":
                self.errors.append(str(message["params"]["exceptionDetails"]))
            elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(str(message["params"]["entry"]))

    async def send_command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command of the protocol and returns its result."""
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(WAIT_TIMEOUT):
            message = await self._asked[number]
        assert "error" not in message, message
        return dict(message["result"])

    async def navigate(self, url: str) -> None:
        """Opens a URL."""
        for domain in ("Page", "Runtime", "Log"):
            await self.send_command(f"{domain}.enable")
        await self.send_command("Page.navigate", url=url)
        await self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")

    async def emulate(
        self,
        *,
        width: int = 1440,
        height: int = 900,
        dark: bool = False,
        scale: float = 1,
        reduced_motion: bool = False,
    ) -> None:
        """Sets the window size and the user's preferences."""
        await self.send_command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=width < 600,
        )  # fmt: skip
        preferences = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if reduced_motion else "",
        }
        features = [{"name": name, "value": value} for name, value in preferences.items()]
        await self.send_command("Emulation.setEmulatedMedia", features=features)

    async def evaluate(self, script: str) -> Any:
        """Returns the value of an expression; awaits a promise."""
        answer = await self.send_command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def wait_for(self, script: str, seconds: float = WAIT_TIMEOUT) -> None:
        """Waits until an expression is true."""
        try:
            async with asyncio.timeout(seconds):
                while not await self.evaluate(f"!!({script})"):  # noqa: ASYNC110  it is another process
                    await asyncio.sleep(0.02)
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise AssertionError(f"timeout: {script}\n{self.errors}\n{shown}") from None

    async def press(self, key: str) -> None:
        """Presses a key."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        await self.send_command("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.send_command("Input.dispatchKeyEvent", type="keyUp", **common)

    async def screenshot(self, path: Path, *, quality: int | None = None, whole: bool = False) -> None:
        """Saves a screenshot as PNG, or as JPEG of this quality; `whole`: of the whole page."""
        form = {"format": "png"} if quality is None else {"format": "jpeg", "quality": quality}
        answer = await self.send_command("Page.captureScreenshot", captureBeyondViewport=whole, **form)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))

    async def aclose(self) -> None:
        await self._socket.close()
        await self._reader


class Chromium:
    """A running browser."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    @asynccontextmanager
    async def tab(self, url: str, **look: Any) -> AsyncIterator[Tab]:
        """Opens a URL in a new tab."""
        async with self._http.put(f"{self._url}/json/new?about:blank") as answer:
            target = await answer.json(content_type=None)
        async with self._http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = Tab(socket)
            try:
                await tab.emulate(**look)
                await tab.navigate(url)
                yield tab
            finally:
                with suppress(aiohttp.ClientError):
                    await tab.send_command("Page.navigate", url="about:blank")  # ends the streams of the page
                async with self._http.get(f"{self._url}/json/close/{target['id']}"):
                    pass
                await tab.aclose()


@asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """Runs a browser with a temporary profile."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *CHROMIUM_FLAGS, f"--user-data-dir={folder}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            port = await _port(Path(folder) / "DevToolsActivePort", process)
            async with aiohttp.ClientSession() as http:
                yield Chromium(http, f"http://127.0.0.1:{port}")
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _port(note: Path, process: asyncio.subprocess.Process) -> str:
    """Returns the DevTools port, which Chromium writes to a file."""
    async with asyncio.timeout(START_TIMEOUT):
        while not (note.exists() and "\n" in (text := note.read_text())):
            assert process.returncode is None, "Chromium did not start"
            await asyncio.sleep(0.02)
    return text.partition("\n")[0]
