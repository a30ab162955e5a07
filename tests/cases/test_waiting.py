"""Waits: transient answers, task ids, open jobs, a limit of running jobs, and deadlines."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import AsyncMock, create_autospec

import backoff
import pytest
from aiohttp import web

from rivya_async import (
    AuthenticationError,
    ConfigurationError,
    DownloadError,
    Generation,
    GenerationRequest,
    InvalidRequestError,
    NotFoundError,
    OpenJob,
    PollPolicy,
    RetryPolicy,
    RivyaError,
    RivyaSession,
    SpendLimitError,
    SubmitTimeoutError,
    WaitTimeoutError,
)
from rivya_async._engine.environment import Environment
from rivya_async.batch import Batch, Row
from rivya_async.sandbox import Sandbox

KEY: Final = "rvya_sk_" + "0" * 32
FAST: Final = PollPolicy(first=0.05, base=0.05, cap=0.1, floor=0.02)
RETRY: Final = RetryPolicy(base=0.02, cap=0.1)

Answer = Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]


def job(task_id: str = "task_1", status: str = "succeeded", **members: Any) -> web.Response:
    result = {"result": {"primary_url": "https://c.example/x.png"}} if status == "succeeded" else {}
    return web.json_response({"id": task_id, "status": status, "model": "z-image", **result, **members})


def refusal(status: int, code: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": "no"}}, status=status, headers=headers)


@asynccontextmanager
async def serve(answer: Answer) -> AsyncIterator[str]:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:

        result = answer(request)  # type: ignore[arg-type] # only members of both are used
        return await result if inspect.isawaitable(result) else result

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def session_for(answer: Answer, **options: Any) -> AsyncIterator[RivyaSession]:
    options = {"poll": FAST, "retry": RETRY, **options}
    async with serve(answer) as url, RivyaSession(KEY, base_url=url, **options) as session:
        yield session


# --- polls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 407, 421, 499, 502])
async def test_poll_answered_by_a_gateway_does_not_end_a_wait(status: int) -> None:
    """C6"""
    polls = 0

    def answer(request: web.Request) -> web.Response:
        nonlocal polls
        if request.method == "POST":
            return job(status="queued")
        polls += 1
        return (
            job() if polls > 3 else web.Response(status=status, text="<html>Blocked</html>", content_type="text/html")
        )

    async with session_for(answer) as session:
        assert (await session.generate("z-image", "x", timeout=20)).succeeded
    assert polls == 4


async def test_timeout_names_the_error_of_the_last_poll_if_none_succeeded() -> None:
    """C3"""
    async with session_for(lambda _: web.Response(text='{"id": NaN', content_type="application/json")) as session:
        with pytest.raises(WaitTimeoutError) as caught:
            await session.wait_for("task_1", timeout=0.5)
        with pytest.raises(WaitTimeoutError) as group:
            await anext(session.as_completed(["task_1", "task_2"], timeout=0.5))
    for error in (caught.value, group.value):
        assert isinstance(error.__cause__, RivyaError)
        assert str(error.__cause__) in str(error)
        assert "still open" not in str(error)
        assert "goes on" not in str(error)
        assert error.task_id == "task_1"


async def test_timeout_of_an_open_job_says_that_it_goes_on() -> None:
    """C3"""
    async with session_for(lambda _: job(status="processing")) as session:
        with pytest.raises(WaitTimeoutError, match="task_1 is still 'processing'") as caught:
            await session.wait_for("task_1", timeout=0.5)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("status", "code", "kind"), [(401, "api_key_revoked", AuthenticationError), (404, "not_found", NotFoundError)]
)
async def test_every_error_of_a_wait_has_the_task_id(status: int, code: str, kind: type[RivyaError]) -> None:
    """C5, C21"""

    def answer(request: web.Request) -> web.Response:
        return job(status="queued") if request.method == "POST" else refusal(status, code)

    async with session_for(answer) as session:
        with pytest.raises(kind) as caught:
            await session.wait_for("task_7", timeout=20)
        assert caught.value.task_id == "task_7"
        notes = " ".join(caught.value.__notes__)
        assert ("goes on" in notes) == (kind is AuthenticationError)
        if kind is NotFoundError:  # tolerated for ten seconds after a submit
            return
        outcome = await anext(session.map([GenerationRequest("z-image", "x")]))
        assert isinstance(outcome.error, kind)
        assert outcome.error.task_id == "task_1"
        assert outcome.generation is not None
        assert outcome.generation.id == "task_1"
        with pytest.raises(ExceptionGroup) as group:
            await anext(session.as_completed(["task_8", "task_9"], timeout=20))
        assert sorted(str(vars(error)["task_id"]) for error in group.value.exceptions) == ["task_8", "task_9"]


async def test_blocked_loop_does_not_cost_the_last_poll() -> None:
    """C19"""
    ends_at = time.monotonic() + 0.7
    async with session_for(lambda _: job(status="succeeded" if time.monotonic() >= ends_at else "queued")) as session:
        slow = PollPolicy(first=30, base=30, cap=30, floor=0.1)
        single = asyncio.create_task(session.wait_for("task_1", timeout=0.5, poll=slow))
        group = asyncio.create_task(anext(session.as_completed(["task_1"], timeout=0.5, poll=slow)))
        await asyncio.sleep(0.1)
        time.sleep(1.0)  # noqa: ASYNC251 - user code that blocks the loop
        assert (await single).succeeded
        assert (await group).succeeded


# --- open jobs --------------------------------------------------------------------------------------------------------


async def test_open_jobs_are_those_bought_and_not_seen_to_end() -> None:
    """C20"""
    count = 0

    def answer(request: web.Request) -> web.Response:
        nonlocal count
        if request.method == "POST":
            count += 1
            return job(f"task_{count}", "queued")
        task_id = request.path.rpartition("/")[2]
        return job(task_id, "failed" if task_id == "task_2" else "succeeded")

    async with session_for(answer) as session:
        assert list(session.open_jobs) == []
        before = Environment().wall_time()
        first = await session.submit("z-image", "x", client_request_id="mine", idempotency_key="key-1")
        second = await session.submit("z-image", "y")
        third = await session.submit("z-image", "z")
        opened = session.open_jobs
        assert [each.task_id for each in opened] == ["task_1", "task_2", "task_3"]
        assert opened[0] == OpenJob("task_1", "key-1", "z-image", "mine", opened[0].submitted_at)
        assert before <= opened[0].submitted_at <= Environment().wall_time()
        await session.wait_for(first)
        await session.wait_for(second, raise_on_failure=False)
        await session.generations.retrieve(third.id)
        assert list(session.open_jobs) == []
        await session.submit("z-image", "again")
    assert [each.task_id for each in session.open_jobs] == ["task_4"]


async def test_failed_gather_and_task_group_lose_no_id(caplog: pytest.LogCaptureFixture) -> None:
    """C20"""
    count = 0

    def answer(request: web.Request) -> web.Response:
        nonlocal count
        if request.method == "POST":
            count += 1
            return job(f"task_{count}", "queued")
        task_id = request.path.rpartition("/")[2]
        return job(task_id, "failed" if task_id == "task_1" else "processing")

    async def generate_all() -> None:
        async with asyncio.TaskGroup() as group:
            for n in range(30):
                group.create_task(session.generate("z-image", str(n)))

    async with session_for(answer) as session:
        with pytest.raises(ExceptionGroup):
            await generate_all()
        left = {each.task_id for each in session.open_jobs}
        assert left == {f"task_{n}" for n in range(2, count + 1)}
    records = [record for record in caplog.records if record.name == "rivya_async"]
    assert [record.levelno for record in records] == [logging.WARNING]
    assert f"{count - 1} open jobs" in records[0].message
    assert "and 9 more" in records[0].message
    assert "wait_for" in records[0].message


SCRIPT: Final = """
import asyncio, signal, sys
from rivya_async import RivyaSession

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start background processes without it

async def main():
    session = RivyaSession({key!r}, base_url={url!r})
    {enter}
    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(session.generate("z-image", str(n)))
asyncio.run(main())
"""


@pytest.mark.parametrize("is_closed", [True, False])
async def test_interrupted_session_names_its_paid_jobs(is_closed: bool, tmp_path: Path) -> None:
    """C20"""
    bought: list[str] = []
    all_bought = asyncio.Event()

    def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            bought.append(f"task_{len(bought)}")
            return job(bought[-1], "queued")
        all_bought.set()
        return job(request.path.rpartition("/")[2], "processing")

    async with serve(answer) as url:
        script = SCRIPT.format(key=KEY, url=url, enter="await session.__aenter__()")
        if is_closed:
            script = script.replace("    await session.__aenter__()\n    async with", "    async with session,")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stderr=asyncio.subprocess.PIPE, cwd=tmp_path, env={**os.environ}
        )
        await asyncio.wait_for(all_bought.wait(), 60)
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    text = errors.decode()
    assert text.count("3 open jobs") == 1, text
    assert all(task_id in text for task_id in bought)


# --- a limit of running jobs ------------------------------------------------------------------------------------------


class LimitedService:
    """Runs at most `limit` jobs at once, each for `duration` seconds, and rejects further ones with a 429."""

    def __init__(self, limit: int = 4, duration: float = 0.4, *, headers: Mapping[str, str] | None = None) -> None:
        self.limit = limit
        self.duration = duration
        self.headers = headers or {}
        self.ends: dict[str, float] = {}
        self.rejected = 0

    def __call__(self, request: web.Request) -> web.Response:
        now = time.monotonic()
        if request.method == "GET":
            task_id = request.path.rpartition("/")[2]
            return job(task_id, "succeeded" if now >= self.ends[task_id] else "processing")
        if sum(end > now for end in self.ends.values()) >= self.limit:
            self.rejected += 1
            return refusal(429, "rate_limited", **self.headers)
        task_id = f"task_{len(self.ends)}"
        self.ends[task_id] = now + self.duration
        return job(task_id, "queued")


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}])
async def test_submits_wait_for_the_end_of_a_running_job(headers: dict[str, str]) -> None:
    """C10"""
    service = LimitedService(headers=headers)
    async with session_for(service) as session:
        jobs = await asyncio.gather(*(session.generate("z-image", str(n)) for n in range(20)))
    assert len({each.id for each in jobs}) == 20
    assert service.rejected <= 120


async def test_sequential_submits_wait_for_jobs_without_waiters() -> None:
    """C10"""
    service = LimitedService(limit=2)
    async with session_for(service) as session:
        jobs = [await session.submit("z-image", str(n)) for n in range(6)]
        ended = [each.id async for each in session.as_completed(jobs)]
    assert len(ended) == 6


async def test_submit_gives_up_at_its_timeout_and_without_open_jobs() -> None:
    """C10"""
    service = LimitedService(limit=1, duration=60)
    async with session_for(service) as session:
        bought = await session.submit("z-image", "first")
        with pytest.raises(SubmitTimeoutError):
            await session.generate("z-image", "second", timeout=1.5)
        service.ends[bought.id] = 0.0
        await session.wait_for(bought)
        service.limit = 0
        with pytest.raises(RivyaError, match="429"):
            await session.submit("z-image", "third")
    assert session.open_jobs == ()


# --- verbs ------------------------------------------------------------------------------------------------------------


def test_verbs_are_coroutine_functions_and_async_generator_functions() -> None:
    """C1"""
    for owner in (RivyaSession, RivyaSession("rvya_sk_x"), RivyaSession("rvya_sk_x").generations):
        for name in ("submit", "wait_for", "generate"):
            assert inspect.iscoroutinefunction(getattr(owner, name)), name
        for name in ("watch", "as_completed", "map"):
            assert inspect.isasyncgenfunction(getattr(owner, name)), name


async def test_verbs_work_with_mocks_and_retry_decorators() -> None:
    """C1"""
    done = Generation("task_1", "succeeded", "z-image")
    for mock in (create_autospec(RivyaSession, instance=True), AsyncMock(spec=RivyaSession)):
        mock.generate.return_value = done
        mock.map.return_value.__aiter__.return_value = [done]
        assert await mock.generate("z-image", "x") is done
        assert [each async for each in mock.map([])] == [done]
    calls = 0

    def answer(_: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return refusal(500, "internal_error") if calls == 1 else job(status="queued")

    async with session_for(answer, retry=RetryPolicy(max_attempts=1)) as session:
        submit = backoff.on_exception(backoff.constant, RivyaError, interval=0, max_tries=2, jitter=None)(
            session.submit
        )
        assert (await submit("z-image", "x", idempotency_key="key-1")).id == "task_1"
    assert calls == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"idempotency_key": "bad key"},
        {"params": {"a": {1}}},
        {"timeout": -1},
        {"on_update": 5},
        {"poll": 5},
        {"to": 5},
        {"exists": "keep"},
        {"client_request_id": ""},
    ],
    ids=str,
)
async def test_arguments_are_checked_before_references_are_uploaded(arguments: dict[str, Any], tmp_path: Path) -> None:
    """C22"""
    requests: list[str] = []
    picture = tmp_path / "kite.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))

    def answer(request: web.Request) -> web.Response:
        requests.append(request.path)
        return refusal(500, "internal_error")

    async with session_for(answer) as session:
        with pytest.raises(ConfigurationError):
            await session.generate("z-image", "x", references=[str(picture)], **arguments)
    assert requests == []


PNG: Final = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.mark.parametrize(
    ("model", "names", "caps", "error"),
    [
        ("qwen-image", ["kite.png"], {"max_spend": 0}, SpendLimitError),
        ("qwen-image", ["kite.png"], {"max_reserved": 0}, SpendLimitError),
        ("qwen-image", ["kite.png", "kite.png"], {}, InvalidRequestError),  # it takes one reference
        ("z-image", ["kite.png"], {}, InvalidRequestError),  # it takes none
        ("flux-2-pro", ["kite.png", "missing.png"], {}, ConfigurationError),
        ("flux-2-pro", ["kite.png", "."], {}, ConfigurationError),
        ("flux-2-pro", ["kite.png", "notes.txt"], {}, ConfigurationError),
        ("flux-2-pro", ["kite.png", "empty.png"], {}, InvalidRequestError),
        ("flux-2-pro", ["kite.png", "large.png"], {}, InvalidRequestError),
    ],
)
async def test_caps_and_files_are_checked_before_references_are_uploaded(
    model: str, names: list[str], caps: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    """C22"""
    (tmp_path / "kite.png").write_bytes(PNG)
    (tmp_path / "notes.txt").write_text("kites")
    (tmp_path / "empty.png").touch()
    with (tmp_path / "large.png").open("wb") as large:
        large.write(PNG)
        large.truncate(64 * 1024**2)
    async with Sandbox() as sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url, **caps) as session:
        for check in (True, False):
            with pytest.raises(error):
                await session.submit(model, "x", references=[tmp_path / name for name in names], check=check)
        assert (sandbox.request_log.count("POST /api/v1/files"), sandbox.request_log.purchases) == (0, 0)
        assert (session.spend.total, session.open_jobs) == (0, ())


async def test_batch_checks_its_cap_before_references_are_uploaded(tmp_path: Path) -> None:
    """C22"""
    (tmp_path / "kite.png").write_bytes(PNG)
    async with (
        Sandbox() as sandbox,
        RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        Batch.open(tmp_path / "kites.journal") as batch,
    ):
        await batch.add([Row(number=1, line=1, model="qwen-image", prompt="x", references=[tmp_path / "kite.png"])])
        (record,) = [record async for record in batch.run(session, max_spend=0)]
        assert (record.state, type(batch.halted)) == ("planned", SpendLimitError)
        assert sandbox.request_log.count("POST /api/v1/files") == 0


@pytest.mark.parametrize("ends", ["rejected", "cancelled", "timeout"])
async def test_failed_upload_returns_the_reserved_credits(ends: str, tmp_path: Path) -> None:
    """C22"""
    (tmp_path / "kite.png").write_bytes(PNG)
    async with Sandbox() as sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url, max_spend=20) as session:
        if ends == "rejected":
            sandbox.faults.add(route="POST /api/v1/files", status=413)
        else:
            sandbox.faults.add(route="POST /api/v1/files", delay=60)
        timeout = 1.0 if ends == "timeout" else None
        buying = asyncio.create_task(
            session.generate("qwen-image", "x", references=[tmp_path / "kite.png"], timeout=timeout)
        )
        if ends == "cancelled":
            while session.spend.reserved == 0:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
            buying.cancel()
        await asyncio.wait([buying])
        assert buying.cancelled() or isinstance(buying.exception(), RivyaError)
        assert (session.spend.total, len(session.spend), sandbox.request_log.purchases) == (0, 0, 0)


async def test_generate_saves_files_or_raises_a_download_error_with_the_task_id(tmp_path: Path) -> None:
    """The parameter `to`."""
    is_gone = False

    def answer(request: web.Request) -> web.Response:
        if request.path == "/x.png":
            return web.Response(status=404) if is_gone else web.Response(body=b"picture", content_type="image/png")
        return job(result={"primary_url": f"http://{request.host}/x.png"})

    async with session_for(answer, retry=RetryPolicy(max_attempts=1)) as session:
        ended = await session.generate("z-image", "x", to=tmp_path)
        assert ended.succeeded
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"picture"]
        is_gone = True
        with pytest.raises(DownloadError) as caught:
            await session.generate("z-image", "x", to=tmp_path / "other", idempotency_key="key-2")
    assert caught.value.task_id == "task_1"


async def test_sources_of_many_jobs_are_checked() -> None:
    """C23: also one text or one request, whose parts could be taken for jobs."""
    async with session_for(lambda _: job()) as session:
        wrong: list[Any] = [None, 5, "task_1"]
        for jobs in wrong:
            with pytest.raises(ConfigurationError, match="map takes an iterable"):
                await anext(session.map(jobs))
            with pytest.raises(ConfigurationError, match="as_completed takes an iterable"):
                await anext(session.as_completed(jobs))
        request: Any = GenerationRequest("z-image", "x")
        with pytest.raises(ConfigurationError, match="map takes an iterable"):
            await anext(session.map(request))
        with pytest.raises(ConfigurationError, match="model must be"):
            await session.submit(" ", "x")


# --- beliefs ----------------------------------------------------------------------------------------------------------


async def test_wrong_server_times_do_not_starve_polls() -> None:
    """C2"""
    began = asyncio.get_running_loop().time()
    polled: list[float] = []

    def answer(request: web.Request) -> web.Response:
        task_id = request.path.rpartition("/")[2] if request.method == "GET" else "task_1"
        if request.method == "GET" and task_id == "task_1":
            polled.append(asyncio.get_running_loop().time() - began)
        status = "queued" if request.method == "POST" else "succeeded"
        return job(task_id, status, created_at="2026-11-30T10:00:00Z", updated_at="2026-11-30T12:00:01Z")

    async with session_for(answer, poll=PollPolicy(first=0.5, base=0.5, cap=1.0, floor=0.1)) as session:
        for n in range(30):
            await session.wait_for(f"old_{n}")
            await session.generations.retrieve(f"old_{n}")
        began = asyncio.get_running_loop().time()
        assert (await session.generate("z-image", "x", timeout=20)).succeeded
    assert polled[0] <= 1.0


async def test_absurd_retry_after_does_not_slow_the_session_for_days() -> None:
    """S5"""
    is_first = True

    def answer(request: web.Request) -> web.Response:
        nonlocal is_first
        if is_first:
            is_first = False
            return refusal(429, "rate_limited", **{"Retry-After": "999999999"})
        return job(request.path.rpartition("/")[2] if request.method == "GET" else "task_1")

    async with session_for(answer) as session, asyncio.timeout(20):
        for n in range(10):
            await session.wait_for(f"task_{n}")


async def test_minute_of_failed_polls_logs_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3"""
    monkeypatch.setattr("rivya_async._engine.polling.poller.FAILURE_WARNING_DELAY", 0.3)
    async with session_for(lambda _: web.Response(status=502, text="<html>")) as session:
        with pytest.raises(WaitTimeoutError):
            await session.wait_for("task_1", timeout=0.7)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) in {1, 2}
    assert "no poll of task_1 has succeeded" in warnings[0]
    assert "502" in warnings[0]
