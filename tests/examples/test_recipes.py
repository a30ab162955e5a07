"""The recipes for frameworks and task queues run as their docstrings describe, against a sandbox."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import nbformat
import pytest
from aiohttp import web
from nbclient import NotebookClient

from examples import serverless
from rivya_async import RivyaSession
from rivya_async.receiver import RIVYA
from rivya_async.sandbox import Sandbox
from tests.examples.test_examples import EXAMPLES, environment, free_port, run, wait_for_port
from tests.session.session_kit import ReceivedRequest, plain_server
from tests.workers.redis_server import RedisServer

ROOT = EXAMPLES.parent
FILE = "GET /results/{task_id}/{name}"
POLL = "GET /api/v1/generations/{task_id}"
PROMPTS = ("A red kite", "A blue whale")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=100.0) as running:
        yield running


@asynccontextmanager
async def start(
    sandbox: Sandbox, *arguments: str, cwd: Path, **extra: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a module in another process until the block exits."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=cwd,
        env={**environment(sandbox), **extra, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@pytest.mark.parametrize("name", ["script.py", "dramatiq_app.py"])
async def test_script_saves_every_prompt(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    lines = (await run(sandbox, tmp_path, name, *PROMPTS)).splitlines()
    assert sorted(map(Path, lines)) == sorted(path.relative_to(tmp_path) for path in tmp_path.glob("pictures/*.png"))
    assert len(lines) == sandbox.request_log.purchases == 2


FLASK = ("-m", "flask", "--app", str(EXAMPLES / "flask_app.py"), "run", "--port")
DJANGO = (str(EXAMPLES / "django_app.py"), "runserver", "--noreload")
DJANGO_ASGI = ("-m", "uvicorn", "--app-dir", str(EXAMPLES), "django_app:asgi", "--port")


@pytest.mark.parametrize(
    ("command", "path"),
    [(FLASK, "pictures"), (DJANGO, "pictures"), (DJANGO, "async/pictures"), (DJANGO_ASGI, "async/pictures")],
    ids=["flask", "django", "django-async", "django-asgi"],
)
async def test_web_app_makes_pictures_in_many_requests(
    sandbox: Sandbox, tmp_path: Path, command: tuple[str, ...], path: str
) -> None:
    port = free_port()
    async with start(sandbox, *command, str(port), cwd=tmp_path), aiohttp.ClientSession() as browser:
        await wait_for_port(port)

        async def request(number: int) -> str:
            data = {"prompt": f"Kite {number}"}
            async with browser.post(f"http://127.0.0.1:{port}/{path}", data=data) as response:
                assert response.status == 200
                job = await response.json()
                assert job["status"] == "succeeded"
                return str(job["id"])

        assert len(set(await asyncio.gather(*map(request, range(12))))) == 12
    assert sandbox.request_log.purchases == 12


async def test_celery_worker_makes_pictures(sandbox: Sandbox, redis: RedisServer, tmp_path: Path) -> None:
    client = (
        "from examples.celery_app import make_picture\n"
        "jobs = [make_picture.delay(f'Kite {number}') for number in range(6)]\n"
        "print(*(job.get(timeout=60)['status'] for job in jobs))"
    )
    worker = ("-m", "celery", "--app", "examples.celery_app", "worker", "--concurrency", "2", "--loglevel", "error")
    async with (
        start(sandbox, *worker, cwd=tmp_path, CELERY_BROKER_URL=redis.url),
        start(sandbox, "-c", client, cwd=tmp_path, CELERY_BROKER_URL=redis.url) as process,
    ):
        out, err = await process.communicate()
    assert out.decode().split() == ["succeeded"] * 6, err.decode()
    assert sandbox.request_log.purchases == 6


async def test_arq_worker_makes_pictures(sandbox: Sandbox, redis: RedisServer, tmp_path: Path) -> None:
    from arq import create_pool
    from arq.connections import RedisSettings

    pool = await create_pool(RedisSettings.from_dsn(redis.url))
    jobs = [await pool.enqueue_job("make_picture", f"Kite {number}") for number in range(6)]
    worker = ("-m", "arq", "examples.arq_worker.WorkerSettings", "--burst")
    async with start(sandbox, *worker, cwd=tmp_path, ARQ_REDIS_URL=redis.url) as process:
        await process.communicate()
    results: list[dict[str, Any]] = [await job.result(timeout=10) for job in jobs if job is not None]
    await pool.aclose()
    assert [result["status"] for result in results] == ["succeeded"] * 6
    assert sandbox.request_log.purchases == 6


async def test_progress_script_saves_every_prompt(sandbox: Sandbox, tmp_path: Path) -> None:
    stdin = "\n".join(f"Kite {number}" for number in range(60)).encode()
    async with start(sandbox, str(EXAMPLES / "progress.py"), cwd=tmp_path) as process:
        out, err = await process.communicate(stdin)
    assert (process.returncode, out) == (0, b""), err.decode()
    assert "60 of 60, 60 credits" in err.decode()
    assert len(list((tmp_path / "pictures").iterdir())) == sandbox.request_log.purchases == 60


async def test_progress_script_lists_open_jobs_after_ctrl_c(tmp_path: Path) -> None:
    async with (
        Sandbox(speed=0.01) as slow,
        start(slow, str(EXAMPLES / "progress.py"), cwd=tmp_path) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(b"A red kite\nA blue whale\n")
        process.stdin.close()
        while slow.request_log.count(POLL) < 2:  # noqa: ASYNC110 - another process sends them
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # the second answer arrives
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130, err.decode()
    assert len(out.decode().split()) == 2
    assert all(line.startswith("task_") for line in out.decode().split())


async def test_interrupted_script_lists_the_ended_jobs_whose_files_are_not_saved(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.faults.add(route=FILE, nth=range(3, 100), delay=600)
    async with start(sandbox, str(EXAMPLES / "progress.py"), cwd=tmp_path) as process:
        assert process.stdin is not None
        process.stdin.write(b"A red kite\n" * 10)
        process.stdin.close()
        while sandbox.request_log.count(FILE) < 10 or len(saved(tmp_path)) < 2:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130, err.decode()
    listed = set(out.decode().split())
    assert (len(listed), len(listed | saved(tmp_path))) == (8, 10)
    sandbox.faults.clear()
    lines = (await run(sandbox, tmp_path, "resume.py", *listed)).splitlines()
    assert {Path(line).stem for line in lines} == listed
    assert sandbox.request_log.purchases == 10


def saved(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("pictures/[!.]*")}


async def test_django_view_receives_webhooks(sandbox: Sandbox, tmp_path: Path) -> None:
    async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
        job = await session.generate("z-image", "A red kite")
    event = {"id": "evt_1", "type": "generation.succeeded", "data": job.to_dict()}
    secret, body, port = "whsec_" + "0" * 32, json.dumps(event).encode(), free_port()
    headers = RIVYA.sign(body, secret, message_id="evt_1", timestamp=int(time.time()))  # noqa: TID251 - the clock of `verify`
    async with (
        start(sandbox, *DJANGO, str(port), cwd=tmp_path, RIVYA_WEBHOOK_SECRET=secret),
        aiohttp.ClientSession() as service,
    ):
        await wait_for_port(port)
        url = f"http://127.0.0.1:{port}/hooks/rivya"
        for data, status in ((body, 200), (body + b" ", 400)):
            async with service.post(url, data=data, headers=headers) as response:
                assert response.status == status, await response.text()
    assert saved(tmp_path) == {job.id}


async def test_tests_of_the_fastapi_app_pass(sandbox: Sandbox, tmp_path: Path) -> None:
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "fastapi_app_tests.py"))
    async with start(sandbox, *tests, cwd=tmp_path) as process:
        out, err = await process.communicate()
    assert process.returncode == 0, (out + err).decode()
    assert "2 passed" in out.decode()


async def test_budget_refuses_jobs_over_it(sandbox: Sandbox, tmp_path: Path) -> None:
    output = await run(sandbox, tmp_path, "budget.py", "3", stdin="A kite\nA whale\nA horse\nA lake\nA train\n")
    assert output.strip() == "3 credits spent, 2 prompts over budget"
    assert sandbox.request_log.purchases == 3


async def test_logs_show_every_attempt(sandbox: Sandbox, tmp_path: Path) -> None:
    async with start(sandbox, str(EXAMPLES / "logs.py"), "A red kite", cwd=tmp_path) as process:
        _, err = await process.communicate()
    assert process.returncode == 0
    assert "DEBUG rivya_async" in err.decode()
    assert "INFO pictures ended: task_" in err.decode()
    assert sandbox.api_key not in err.decode()


async def test_proxy_gets_the_request(sandbox: Sandbox, tmp_path: Path) -> None:
    async def forward(request: ReceivedRequest) -> web.Response:
        url = f"http://{request.headers['Host']}{request.path}"
        async with aiohttp.ClientSession() as http, http.get(url, headers=request.headers) as response:
            return web.Response(status=response.status, body=await response.read(), content_type="application/json")

    async with plain_server(forward) as proxy:
        output = await run(sandbox, tmp_path, "proxy.py", proxy.url)
    assert output.strip() == "1000000"
    assert [request.path for request in proxy.requests] == ["/api/v1/credits"]


async def test_serverless_functions_buy_once(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RIVYA_API_KEY", "RIVYA_BASE_URL"):
        monkeypatch.setenv(name, environment(sandbox)[name])
    invocation = SimpleNamespace(aws_request_id="invocation-1")
    first, second = [await asyncio.to_thread(serverless.submit, {"prompt": "A red kite"}, invocation) for _ in range(2)]
    assert first == second
    assert sandbox.request_log.count("POST /api/v1/generations") == 2
    assert len(sandbox.service_state.tasks) == 1
    assert (await asyncio.to_thread(serverless.read, first, None))["id"] == first["id"]


async def test_notebook_runs(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RIVYA_API_KEY", "RIVYA_BASE_URL"):
        monkeypatch.setenv(name, environment(sandbox)[name])
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    await client.async_execute()
    assert "text/html" in notebook.cells[2].outputs[0].data
    assert len(list(tmp_path.glob("posters/*.png"))) == 8


RECIPES = [
    "flask_app.py",
    "django_app.py",
    "celery_app.py",
    "arq_worker.py",
    "progress.py",
    "fastapi_app_tests.py",
    "serverless.py",
]


def test_recipes_exist() -> None:
    assert all((EXAMPLES / name).exists() for name in RECIPES)
