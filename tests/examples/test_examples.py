"""Every example runs as its docstring describes, against a sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from rivya_async import RivyaSession, WebhookDelivery
from rivya_async.sandbox import Sandbox
from tests.media_kit import media
from tests.session.session_kit import plain_server
from tests.workers.redis_server import RedisServer

EXAMPLES = Path(__file__).parents[2] / "examples"
IDLE_SECONDS = 0.05


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=100.0) as running:
        yield running


def environment(sandbox: Sandbox) -> Mapping[str, str]:
    return {**os.environ, "RIVYA_API_KEY": sandbox.api_key, "RIVYA_BASE_URL": sandbox.base_url}


async def run(sandbox: Sandbox, cwd: Path, name: str, *arguments: str, stdin: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-Werror",
        EXAMPLES / name,
        *arguments,
        cwd=cwd,
        env=environment(sandbox),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    warnings = [line for line in err.decode().splitlines() if "open job" not in line]  # of a session that only submits
    assert (process.returncode, warnings) == (0, [])
    return out.decode()


async def test_gather_saves_every_prompt(sandbox: Sandbox, tmp_path: Path) -> None:
    lines = (await run(sandbox, tmp_path, "gather.py", "A red kite", "A blue whale")).splitlines()
    assert len(lines) == 2
    for line in lines:
        with Image.open(tmp_path / line.split()[-1]) as picture:
            assert picture.format == "PNG"


async def test_back_pressure_processes_every_line(sandbox: Sandbox, tmp_path: Path) -> None:
    prompts = [f"Poster number {number}" for number in range(30)]
    lines = (await run(sandbox, tmp_path, "back_pressure.py", stdin="\n".join([*prompts, "[fail]"]))).splitlines()
    assert sorted(line.split()[0] for line in lines) == ["done"] * 30 + ["lost"]
    assert sandbox.request_log.purchases == 31


async def test_check_before_you_spend_stops_at_limit(sandbox: Sandbox, tmp_path: Path) -> None:
    arguments = ("check_before_you_spend.py", "kling-2-6", "110")
    prompts = "A kite\n\nA whale\nA horse"
    lines = (await run(sandbox, tmp_path, *arguments, "duration=5", "sound=false", stdin=prompts)).splitlines()
    assert sorted(line.split()[0] for line in lines if not line.startswith("task_")) == ["110", "wrong:"]
    assert lines[-1] == "110 credits spent, 1 prompts left for another day"
    assert sandbox.request_log.purchases == 2


async def test_references_upload_photo_once(sandbox: Sandbox, tmp_path: Path) -> None:
    generated = (await run(sandbox, tmp_path, "references.py")).splitlines()
    assert len(generated) == 3
    (tmp_path / "kite.png").write_bytes(media("png"))
    from_file = (await run(sandbox, tmp_path, "references.py", "kite.png", "At night")).splitlines()
    assert [line.rpartition(" ")[0] for line in from_file] == ["At night"]
    for line in generated + from_file:
        assert (tmp_path / line.split()[-1]).exists()
    assert (sandbox.request_log.uploads, sandbox.request_log.purchases) == (2, 5)


async def test_resume_finishes_job_of_another_process(tmp_path: Path) -> None:
    async with Sandbox(speed=30.0) as sandbox:
        task_id = (await run(sandbox, tmp_path, "resume.py")).strip()
        saved = (await run(sandbox, tmp_path, "resume.py", task_id)).strip()
        assert sandbox.request_log.purchases == 1
    assert (tmp_path / saved).stat().st_size > 0


async def test_chat_continues_after_interrupted_stream(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add(route="POST /api/v1/chat/completions/stream", nth=2, stream="cut", after_events=5)
    output = await run(sandbox, tmp_path, "chat.py", "gpt-5-2-chat", stdin="Name a colour.\nAnd another?\nWhy?\n")
    assert output.count("the stream broke off after") == 1
    for question in ("Name a colour", "And another", "Why"):
        assert f"“{question}”" in output
    assert len({request.path for request in sandbox.request_log if request.method == "GET"}) == 1
    assert sandbox.request_log.purchases == 3


async def test_webhooks_are_registered_once_and_list_missed_events(tmp_path: Path) -> None:
    create = "POST /api/v1/webhooks"
    async with plain_server(lambda _: web.Response(status=204)) as receiver:
        async with Sandbox(speed=100.0, allow_local_webhooks=True) as local:
            async with RivyaSession(local.api_key, base_url=local.base_url) as session:
                missed = await session.generate("z-image", "A red kite")
            local.faults.add(route=create, nth=1, drop=True, act=True)
            first = await run(local, tmp_path, "webhooks.py", receiver.url)
            second = await run(local, tmp_path, "webhooks.py", receiver.url)
        secret, test, caught_up = first.splitlines()
        assert secret.startswith("store this secret, it is shown only once: whsec_")
        assert (
            second.splitlines() == [test, caught_up] == ["a test was succeeded: 204", f"missed: {missed.id} succeeded"]
        )
        assert local.request_log.count(create) == 1


@pytest.mark.parametrize("name", ["aiohttp_app.py", "fastapi_app.py"])
async def test_web_app_generates_images(sandbox: Sandbox, name: str) -> None:
    async with run_app(sandbox, name) as url, aiohttp.ClientSession() as browser:
        pages = await asyncio.gather(
            *(request_picture(browser, url, f"A kite, number {number}") for number in range(5))
        )
        assert len({page["id"] for page in pages}) == 5
        async with browser.get(pages[0]["url"]) as picture:
            assert picture.content_type == "image/png"


async def request_picture(browser: aiohttp.ClientSession, url: str, prompt: str) -> dict[str, str]:
    async with browser.post(f"{url}/pictures", json={"prompt": prompt}) as response:
        assert response.status == 200
        page: dict[str, str] = json.loads(await response.read())
        return page


@pytest.mark.parametrize("name", ["aiohttp_webhooks.py", "fastapi_webhooks.py"])
async def test_web_app_finishes_by_webhook(tmp_path: Path, name: str) -> None:
    async with (
        Sandbox(speed=100.0, allow_local_webhooks=True) as local,
        RivyaSession(local.api_key, base_url=local.base_url) as session,
        aiohttp.ClientSession() as browser,
    ):
        port = free_port()
        hook_url = f"http://127.0.0.1:{port}/hooks/rivya"
        endpoint = await session.webhooks.create("Mine", hook_url, ["generation.succeeded", "generation.failed"])
        async with run_app(local, name, port, cwd=tmp_path, RIVYA_WEBHOOK_SECRET=endpoint.signing_secret or "") as url:
            ids = [await submit(browser, url, prompt) for prompt in ("A red kite", "A blue whale", "[fail]")]
            deliveries = await wait_for_deliveries(session, endpoint.id, len(ids))
        assert {(delivery.attempt, delivery.response_status) for delivery in deliveries} <= {(1, 200), (1, 202)}
        assert local.request_log.count("GET /api/v1/generations/{task_id}") == 0
    assert {path.stem for path in (tmp_path / "pictures").iterdir()} == set(ids[:2])
    for path in (tmp_path / "pictures").iterdir():
        with Image.open(path) as picture:
            assert picture.format == "PNG"


async def test_web_app_queues_jobs_for_workers(sandbox: Sandbox, redis: RedisServer, tmp_path: Path) -> None:
    variables: dict[str, Any] = {"RIVYA_BROKER": redis.url}
    async with (
        run_app(sandbox, "fastapi_workers.py", cwd=tmp_path, **variables) as url,
        aiohttp.ClientSession() as browser,
    ):
        ids = [await submit(browser, url, f"A kite, number {number}") for number in range(5)]
        async with browser.post(f"{url}/posters", params={"title": "Kites"}) as response:
            assert response.status == 202
        async with browser.get(f"{url}/pictures/unknown") as response:
            assert response.status == 404
        async with run_worker(sandbox, "fastapi_workers:broker", cwd=tmp_path, **variables) as worker:
            ended = [await wait_for_record(browser, f"{url}/pictures/{each}") for each in ids]
            while not list((tmp_path / "posters").glob("*.png")):  # noqa: ASYNC110 - another process writes them
                await asyncio.sleep(IDLE_SECONDS)
            worker.terminate()
            assert await worker.wait() == 0
    assert {record["state"] for record in ended} == {"succeeded"}
    for record in ended:
        with Image.open(record["files"][0]["path"]) as picture:
            assert picture.format == "PNG"
    assert sandbox.request_log.purchases == 6


async def wait_for_record(browser: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            async with browser.get(url) as response:
                record: dict[str, Any] = await response.json()
            if record["files"] or record["error"]:
                return record
            await asyncio.sleep(IDLE_SECONDS)


@asynccontextmanager
async def run_worker(
    sandbox: Sandbox, broker: str, *, cwd: Path, **extra: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs the taskiq command of the example's docstring."""
    receiver = ("--receiver", "rivya_async.workers:DrainingReceiver")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "taskiq", "worker", "--app-dir", str(EXAMPLES), broker, *receiver, "--workers", "1"),
        cwd=cwd,
        env={**environment(sandbox), **extra},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def wait_for_deliveries(session: RivyaSession, endpoint_id: str, count: int) -> list[WebhookDelivery]:
    async with asyncio.timeout(20):
        while True:
            found = [each for each in await session.webhooks.deliveries(endpoint_id) if each.status != "pending"]
            if len(found) == count:
                return found
            await asyncio.sleep(IDLE_SECONDS)


async def submit(browser: aiohttp.ClientSession, url: str, prompt: str) -> str:
    async with browser.post(f"{url}/pictures", params={"prompt": prompt}) as response:
        assert response.status == 202
        return str((await response.json())["id"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def run_app(
    sandbox: Sandbox, name: str, port: int | None = None, *, cwd: Path | None = None, **extra: str
) -> AsyncIterator[str]:
    """Runs the app in another process as in its docstring."""
    port = port or free_port()
    uvicorn = ("-m", "uvicorn", "--app-dir", str(EXAMPLES), f"{Path(name).stem}:app", "--port", str(port))
    arguments = uvicorn if name.startswith("fastapi") else (str(EXAMPLES / name), str(port))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=cwd,
        env={**environment(sandbox), **extra},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def wait_for_port(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(IDLE_SECONDS)
            else:
                writer.close()
                await writer.wait_closed()
                return


def test_every_example_is_short_and_tested() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    tested = set(re.findall(r'"(\w+\.py)"', tests))
    for example in EXAMPLES.glob("*.py"):
        assert example.name in tested
        assert len(example.read_text().splitlines()) <= 70, example.name
