"""The logger `rivya_async`, and the details that hooks receive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from rivya_async import APIStatusError, RetryPolicy, RivyaError, RivyaSession
from rivya_async._engine import logs
from tests.session.session_kit import (
    QUICK_POLL,
    QUICK_RETRY,
    ReceivedRequest,
    RecordingHooks,
    generation_body,
    plain_server,
    run_script,
)

KEY = "rvya_sk_" + "0" * 32
PROMPT = "A secret red kite"
LINK = "https://files.invalid/1.png?signature=secret"


@pytest.fixture(autouse=True)
def logger_state() -> Iterator[None]:
    logger = logging.getLogger("rivya_async")
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


def answer(request: ReceivedRequest) -> web.Response:
    if request.method == "POST":
        return web.json_response(generation_body(), headers={"X-Request-Id": "req_1"})
    body = generation_body(
        request.path.rpartition("/")[2], status="succeeded", result={"primary_url": LINK, "urls": [LINK]}
    )
    return web.json_response(body, headers={"x-request-id": "req_2"})


async def test_debug_log_shows_attempts_polls_and_waits_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """N4"""
    caplog.set_level(logging.DEBUG, "rivya_async")
    failing = [web.json_response({"error": {"code": "internal_error", "message": PROMPT}}, status=503)]

    def flaky(request: ReceivedRequest) -> web.Response:
        return failing.pop() if failing else answer(request)

    async with (
        plain_server(flaky) as server,
        RivyaSession(KEY, base_url=server.url, retry=QUICK_RETRY, poll=QUICK_POLL) as session,
    ):
        await session.generate("z-image", PROMPT, idempotency_key="order-1")
        await session.wait_for("task_9")
    text = caplog.text
    for expected in (
        "POST /api/v1/generations attempt 1: InternalServerError 503 internal_error",
        "POST /api/v1/generations attempt 2 in ",
        "POST /api/v1/generations attempt 2: 200",
        "request id req_1",
        "idempotency key order-1",
        "GET /api/v1/generations/task_1 attempt 1: 200",
        "task_1 poll 1: succeeded, next poll none",
        "task_1 wait: succeeded",
        "request id req_2",
    ):
        assert expected in text
    assert {record.name for record in caplog.records if "rivya" in record.name} == {"rivya_async"}
    for secret in (KEY, PROMPT, LINK, "signature", "files.invalid"):
        assert secret not in text


async def test_without_debug_no_hook_is_added(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rivya_async")
    async with plain_server(answer) as server, RivyaSession(KEY, base_url=server.url, poll=QUICK_POLL) as session:
        await session.generate("z-image", PROMPT)
        assert session._open_engine().executor.hooks == ()
    assert [record for record in caplog.records if record.name == "rivya_async"] == []


async def test_rate_limit_is_reported_once_per_episode(caplog: pytest.LogCaptureFixture) -> None:
    def limited(request: ReceivedRequest) -> web.Response:
        return web.json_response({"error": {"code": "rate_limited", "message": PROMPT}}, status=429)

    async with plain_server(limited) as server, RivyaSession(KEY, base_url=server.url, retry=QUICK_RETRY) as session:
        with pytest.raises(APIStatusError):
            await session.credits.retrieve()
    messages = [record.getMessage() for record in caplog.records if record.name == "rivya_async"]
    assert len(messages) == 1
    assert "rate limit met (RateLimitError 429 rate_limited)" in messages[0]
    assert caplog.records[0].levelno == logging.WARNING


async def test_outage_and_recovery_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rivya_async")
    status = 503

    def down(request: ReceivedRequest) -> web.Response:
        return web.Response(status=status) if status != 200 else web.json_response({"current_credits": 5})

    policy = RetryPolicy(max_attempts=1)
    async with plain_server(down) as server, RivyaSession(KEY, base_url=server.url, retry=policy) as session:
        calls = [session.credits.retrieve() for _ in range(20)]
        assert all(isinstance(each, RivyaError) for each in await asyncio.gather(*calls, return_exceptions=True))
        status = 200
        assert (await session.credits.retrieve()).current_credits == 5
    messages = [record.getMessage() for record in caplog.records if record.name == "rivya_async"]
    assert [record.levelname for record in caplog.records if record.name == "rivya_async"] == ["WARNING", "INFO"]
    assert "service down, circuit breaker open" in messages[0]
    assert "circuit breaker closed" in messages[1]


SCRIPT = """
import asyncio, logging, sys
from rivya_async import RivyaSession
from rivya_async.testing import FakeTransport
{setup}
async def main():
    transport = FakeTransport(lambda _: {{"current_credits": 1}})
    async with transport.session() as session, transport.session() as other:
        await session.credits.retrieve()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("value", "setup", "lines"),
    [
        ("", "", 0),
        ("info", "", 0),
        ("debug", "", 1),
        (" DEBUG ", "", 1),
        ("debug", "logging.basicConfig(level=logging.DEBUG)", 1),
        ("", "logging.basicConfig(level=logging.DEBUG)", 1),
        ("", "logging.basicConfig(level=logging.INFO)", 0),
    ],
)
async def test_environment_variable_shows_the_log(
    value: str, setup: str, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIVYA_LOG", value)
    code, out, err = await run_script(SCRIPT.format(setup=setup), dev=False)
    assert (code, out) == (0, ""), err
    assert sum("rivya_async" in line and "/credits attempt 1" in line for line in err.splitlines()) == lines


def test_unknown_log_level_is_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("RIVYA_LOG", "verbose")
    RivyaSession(KEY)
    assert "RIVYA_LOG must be debug or info" in caplog.text
    assert logs.logger.level == logging.NOTSET


def test_library_adds_no_handler_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RIVYA_LOG", raising=False)
    RivyaSession(KEY)
    assert logs.logger.handlers == []
    assert logs.logger.level == logging.NOTSET


async def test_attempt_details_of_successes_and_errors() -> None:
    """N8"""
    answers: list[Any] = [
        web.json_response({"error": {"code": "x", "message": "m", "requestId": "req_body"}}, status=404),
        web.Response(status=200, text="<html>", headers={"X-Request-Id": "req_page"}),
        web.json_response({"current_credits": 5}, headers={"X-Request-Id": "req_header", "X-Cost": "1"}),
    ]
    hooks = RecordingHooks()
    async with plain_server(lambda _: answers.pop(0)) as server:
        policy = RetryPolicy(max_attempts=1)
        async with RivyaSession(KEY, base_url=server.url, hooks=[hooks], retry=policy) as session:
            for _ in range(2):
                with pytest.raises(RivyaError):
                    await session.credits.retrieve()
            await session.credits.retrieve()
    assert [details.status for details in hooks.attempts] == [404, 200, 200]
    assert [details.request_id for details in hooks.attempts] == ["req_body", "req_page", "req_header"]
    assert hooks.attempts[2].headers["x-cost"] == "1"
    assert hooks.attempts[2].error is None


async def test_attempt_details_without_response() -> None:
    hooks = RecordingHooks()
    async with RivyaSession(
        KEY, base_url="http://127.0.0.1:9", hooks=[hooks], retry=RetryPolicy(max_attempts=1)
    ) as session:
        with pytest.raises(RivyaError):
            await session.credits.retrieve()
    assert (hooks.attempts[0].status, hooks.attempts[0].headers, hooks.attempts[0].request_id) == (None, {}, None)
