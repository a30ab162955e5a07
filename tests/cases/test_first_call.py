"""The first call of a session does not block the event loop: imports and converters are prepared in a thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rivya_async import RivyaSession, SessionClosedError
from rivya_async._engine import connection
from rivya_async.testing import FakeTransport
from tests.session.session_kit import run_script

SCRIPT = """
import asyncio, builtins, sys, threading
from rivya_async import PollPolicy, RivyaSession

importers = {}
import_module = builtins.__import__
def importing(name, *arguments, **options):
    importers.setdefault(name.partition(".")[0], threading.current_thread() is threading.main_thread())
    return import_module(name, *arguments, **options)

async def answer(reader, writer):
    import json
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        method, path, _ = head.decode().split(" ", 2)
        if "Content-Length" in head.decode():
            await reader.read(65536)
        status = "queued" if method == "POST" else "succeeded"
        body = {"current_credits": 5} if "credits" in path else {"id": "task_1", "status": status, "model": "z-image"}
        text = json.dumps(body).encode()
        head = "HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(text)
        writer.write(head.encode() + text)

async def main():
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        poll = PollPolicy(first=0.01, base=0.01, cap=0.01, floor=0.01)
        session = RivyaSession("rvya_sk_1", base_url=url, poll=poll)
        assert "aiohttp" not in sys.modules
        builtins.__import__ = importing
        OPEN
        builtins.__import__ = import_module
        assert importers["aiohttp"] is importers["cattrs"] is False
        before = set(sys.modules)
        await session.generate("z-image", "A red kite")
        await session.credits.retrieve()
        print(sorted(set(sys.modules) - before))
        await session.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["await session.start()", "await session.__aenter__()"])
async def test_first_call_imports_nothing_on_the_loop(how: str) -> None:
    """C15"""
    code, out, err = await run_script(SCRIPT.replace("OPEN", how), dev=False, strict=False)
    assert (code, out.strip()) == (0, "[]"), err


async def test_start_may_be_called_again_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_prepared", [])
    session = RivyaSession("rvya_sk_1")
    await asyncio.gather(session.start(), session.start(), session.with_options().start())
    await session.start()
    assert "open" in repr(session)
    await session.aclose()
    with pytest.raises(SessionClosedError):
        await session.start()


async def test_cancelled_start_leaves_the_session_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_prepared", [])
    session = RivyaSession("rvya_sk_1")
    starting = asyncio.create_task(session.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await session.start()
    await session.aclose()


async def test_transport_of_the_caller_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_prepared", [])
    before = set(threading.enumerate())
    async with FakeTransport(lambda _: {"current_credits": 1}).session() as session:
        await session.credits.retrieve()
        assert set(threading.enumerate()) <= before
