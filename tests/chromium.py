"""Debian's Chromium without a window, driven over the DevTools protocol: as much of it as the tests of a page need."""

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
"""The marks of tests that look at a page. Without Chromium they are skipped, unless `RIVYA_BROWSER_TESTS` is set, as CI
does: then they fail."""

CONTRAST: Final = Path(__file__).with_name("contrast.js").read_text()
"""A script that finds text which is hard to read."""

SWITCHES: Final = (
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

START_SECONDS: Final = 20.0
PATIENCE: Final = 10.0

KEYS: Final = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}


class Tab:
    """One tab. What a page logs as an error, or throws, is kept in `errors`."""

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
        """One command of the protocol, and what it answers."""
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE):
            message = await self._asked[number]
        assert "error" not in message, message
        return dict(message["result"])

    async def navigate(self, url: str) -> None:
        """Go there."""
        for domain in ("Page", "Runtime", "Log"):
            await self.send_command(f"{domain}.enable")
        await self.send_command("Page.navigate", url=url)
        await self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")

    async def emulate(
        self, *, width: int = 1440, height: int = 900, dark: bool = False, scale: float = 1, calm: bool = False
    ) -> None:
        """The size of the window, the colours and the motion that its user likes."""
        await self.send_command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=width < 600,
        )  # fmt: skip
        likes = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if calm else "",
        }
        features = [{"name": name, "value": value} for name, value in likes.items()]
        await self.send_command("Emulation.setEmulatedMedia", features=features)

    async def evaluate(self, script: str) -> Any:
        """The value of an expression; a promise is awaited."""
        answer = await self.send_command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def wait_for(self, script: str, seconds: float = PATIENCE) -> None:
        """Wait until this is so."""
        try:
            async with asyncio.timeout(seconds):
                while not await self.evaluate(f"!!({script})"):  # noqa: ASYNC110  it is another process
                    await asyncio.sleep(0.02)
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise AssertionError(f"never so: {script}\n{self.errors}\n{shown}") from None

    async def press(self, key: str) -> None:
        """One key, down and up."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        await self.send_command("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.send_command("Input.dispatchKeyEvent", type="keyUp", **common)

    async def screenshot(self, path: Path, *, quality: int | None = None, whole: bool = False) -> None:
        """What is to be seen, as a PNG, or as a JPEG of this quality; `whole`: also what is below."""
        form = {"format": "png"} if quality is None else {"format": "jpeg", "quality": quality}
        answer = await self.send_command("Page.captureScreenshot", captureBeyondViewport=whole, **form)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))

    async def aclose(self) -> None:
        await self._socket.close()
        await self._reader


class Chromium:
    """A browser that runs."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    @asynccontextmanager
    async def tab(self, url: str, **look: Any) -> AsyncIterator[Tab]:
        """A new tab that shows this."""
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
                    await tab.send_command("Page.navigate", url="about:blank")  # what it still hears ends here
                async with self._http.get(f"{self._url}/json/close/{target['id']}"):
                    pass
                await tab.aclose()


@asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """A browser with a profile of its own, for as long as it is needed."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *SWITCHES, f"--user-data-dir={folder}", "about:blank",
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
    """Where it listens: Chromium writes it down once it does."""
    async with asyncio.timeout(START_SECONDS):
        while not (note.exists() and "\n" in (text := note.read_text())):
            assert process.returncode is None, "Chromium did not start"
            await asyncio.sleep(0.02)
    return text.partition("\n")[0]
