"""Submits: sent requests, idempotency keys, error classes, and rejected arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from rivya_async import (
    APIDisabledError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ChatSessionConflictError,
    ConfigurationError,
    GenerationRequest,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    PollPolicy,
    RateLimitError,
    ReferenceMedia,
    RetryPolicy,
    RivyaError,
    RivyaSession,
    Timeouts,
)
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import SUBMIT, ReceivedRequest, RecordingHooks, generation_body, plain_server

pytestmark = pytest.mark.usefixtures("each_transport")

KEY = "rvya_sk_0123456789abcdef0123456789abcdef"


def queued(_: ReceivedRequest) -> web.Response:
    return web.json_response(generation_body())


# --- the wire ---------------------------------------------------------------------------------------------------------


async def test_sends_documented_request() -> None:
    async with plain_server(queued) as server, RivyaSession(KEY, base_url=server.url) as session:
        job = await session.submit(
            "flux-2-pro",
            "Ein Käfer, 甲虫 🐞",
            params={"aspectRatio": "16:9", "waterMark": "false", "guidance_scale": 2.5, "nested": {"camelCase": [1]}},
            references=[
                ReferenceMedia("https://rivya.ai/f/1.png", "image", name="one.png", mime_type="image/png"),
                ReferenceMedia("https://rivya.ai/f/2.mp4", "video", duration_seconds=4.5, duration_token="dt_1"),
            ],
            client_request_id="trace-1",
            idempotency_key="order-42",
        )
    (seen,) = server.requests
    assert (seen.method, seen.path) == ("POST", "/api/v1/generations")
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.headers["Accept"] == "application/json"
    assert seen.headers["Idempotency-Key"] == "order-42"
    assert seen.headers["User-Agent"].startswith("rivya-async/")
    assert json.loads(seen.body) == {
        "model": "flux-2-pro",
        "prompt": "Ein Käfer, 甲虫 🐞",
        "params": {
            "aspectRatio": "16:9",
            "waterMark": "false",
            "guidance_scale": 2.5,
            "nested": {"camelCase": [1]},
            "referenceMediaItems": [
                {"url": "https://rivya.ai/f/1.png", "kind": "image", "name": "one.png", "mimeType": "image/png"},
                {
                    "url": "https://rivya.ai/f/2.mp4",
                    "kind": "video",
                    "durationSeconds": 4.5,
                    "durationToken": "dt_1",
                },
            ],
        },
        "client_request_id": "trace-1",
    }
    assert job.id == "task_1"


async def test_omits_unset_arguments() -> None:
    async with plain_server(queued) as server, RivyaSession(KEY, base_url=server.url) as session:
        await session.submit("wan-2-2-animate-replace")
    assert json.loads(server.requests[0].body) == {"model": "wan-2-2-animate-replace"}


async def test_base_url_with_slash_or_api_prefix() -> None:
    async with plain_server(queued) as server:
        for end in ("", "/", "/api/v1", "/api/v1/"):
            async with RivyaSession(KEY, base_url=server.url + end) as session:
                await session.submit("z-image", "A red kite")
    assert {seen.path for seen in server.requests} == {"/api/v1/generations"}


async def test_reads_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", sandbox.api_key)
    monkeypatch.setenv("RIVYA_BASE_URL", sandbox.base_url)
    async with RivyaSession() as session:
        assert (await session.submit("z-image", "A red kite")).status == "queued"


# --- keys of purchases ------------------------------------------------------------------------------------------------


async def test_purchases_have_distinct_keys(sandbox: Sandbox, session: RivyaSession) -> None:
    for _ in range(20):
        await session.submit("z-image", "A red kite")
    assert sandbox.request_log.purchases == 20
    assert len(sandbox.request_log.idempotency_keys) == 20
    assert all(len(key) >= 32 for key in sandbox.request_log.idempotency_keys)


async def test_request_value_is_same_purchase(sandbox: Sandbox, session: RivyaSession) -> None:
    job = GenerationRequest("z-image", "A red kite", params={"aspect_ratio": "1:1"}, idempotency_key="order-1")
    first = await session.submit(job)
    second = await session.submit("z-image", "A red kite", params={"aspect_ratio": "1:1"}, idempotency_key="order-1")
    third = await session.generations.create(job)
    assert first.id == second.id == third.id
    assert sandbox.request_log.purchases == 1
    assert sandbox.request_log.attempts("order-1") == 3


async def test_key_argument_beside_request(sandbox: Sandbox, session: RivyaSession) -> None:
    await session.submit(GenerationRequest("z-image", "A red kite"), idempotency_key="order-2")
    assert sandbox.request_log.idempotency_keys == {"order-2"}


async def test_reused_key_with_other_body_conflicts(sandbox: Sandbox, session: RivyaSession) -> None:
    await session.submit("z-image", "A red kite", idempotency_key="order-1")
    with pytest.raises(IdempotencyConflictError) as raised:
        await session.submit("z-image", "A blue whale", idempotency_key="order-1")
    assert raised.value.idempotency_key == "order-1"
    assert (raised.value.status, raised.value.code, raised.value.attempts) == (409, "idempotency_conflict", 1)
    assert sandbox.request_log.purchases == 1


async def test_retries_keep_idempotency_key(sandbox: Sandbox, session: RivyaSession, hooks: RecordingHooks) -> None:
    sandbox.faults.add(route=SUBMIT, status=503, times=3)
    job = await session.submit("z-image", "A red kite")
    (key,) = sandbox.request_log.idempotency_keys
    assert sandbox.request_log.attempts(key) == 4
    assert [(attempt.number, attempt.idempotency_key) for attempt in hooks.attempts] == [(n, key) for n in range(1, 5)]
    assert [retry.number for retry in hooks.retries] == [2, 3, 4]
    assert job.status == "queued"


# --- answers that say no ----------------------------------------------------------------------------------------------

CODES = [
    (400, "validation_failed", BadRequestError, 1),
    (401, "api_key_missing", AuthenticationError, 1),
    (401, "api_key_invalid", AuthenticationError, 1),
    (401, "api_key_revoked", AuthenticationError, 1),
    (401, "api_key_expired", AuthenticationError, 1),
    (402, "insufficient_credits", InsufficientCreditsError, 1),
    (400, "insufficient_credits", InsufficientCreditsError, 1),
    (403, "api_scope_denied", PermissionDeniedError, 1),
    (404, "not_found", NotFoundError, 1),
    (409, "idempotency_conflict", IdempotencyConflictError, 1),
    (409, "chat_session_conflict", ChatSessionConflictError, 1),
    (400, "webhook_url_rejected", BadRequestError, 1),
    (400, "chat_model_not_supported", BadRequestError, 1),
    (400, "chat_attachment_not_supported", BadRequestError, 1),
    (429, "rate_limited", RateLimitError, 5),
    (500, "internal_error", InternalServerError, 5),
    (503, "public_api_disabled", APIDisabledError, 5),
    (418, "some_new_code", APIStatusError, 1),
    (400, "some_new_code", BadRequestError, 1),
]


@pytest.mark.parametrize("row", CODES, ids=[f"{row[0]}-{row[1]}" for row in CODES])
async def test_error_class_per_code(
    sandbox: Sandbox, session: RivyaSession, row: tuple[int, str, type[APIStatusError], int]
) -> None:
    status, code, kind, requests = row
    sandbox.faults.add(route=SUBMIT, status=status, code=code)
    with pytest.raises(APIStatusError) as raised:
        await session.submit("z-image", "A red kite", idempotency_key="order-1")
    error = raised.value
    assert type(error) is kind
    assert (error.status, error.code, error.idempotency_key) == (status, code, "order-1")
    assert error.request_id is not None
    assert error.request_id.startswith("req_")
    assert error.attempts == sandbox.request_log.attempts("order-1") == requests
    assert sandbox.request_log.purchases == 0


async def test_sandbox_errors_have_documented_classes(sandbox: Sandbox) -> None:
    keys = {
        sandbox.add_key(revoked=True): AuthenticationError,
        sandbox.add_key(expired=True): AuthenticationError,
        sandbox.add_key(scopes={"generations:read"}): PermissionDeniedError,
        sandbox.add_key(credits=0): InsufficientCreditsError,
        KEY: AuthenticationError,
    }
    for key, kind in keys.items():
        async with RivyaSession(key, base_url=sandbox.base_url) as session:
            with pytest.raises(kind) as raised:
                await session.submit("z-image", "A red kite")
            assert raised.value.idempotency_key
            assert key not in str(raised.value)
    assert sandbox.request_log.purchases == 0


# --- nothing is sent --------------------------------------------------------------------------------------------------

Broken = Callable[[RivyaSession], Awaitable[Any]]
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)

NOTHING_SENT: dict[str, Broken] = {
    "no model": lambda s: s.submit(""),
    "a model that is no string": lambda s: s.submit(5),  # type: ignore[arg-type]
    "a model that is None": lambda s: s.submit(None),  # type: ignore[arg-type]
    "a prompt that is no string": lambda s: s.submit("z-image", b"A kite"),  # type: ignore[arg-type]
    "a lone surrogate": lambda s: s.submit("z-image", "\ud800"),
    "params that are a list": lambda s: s.submit("z-image", "A kite", params=[("a", 1)]),  # type: ignore[arg-type]
    "params that are an empty list": lambda s: s.submit("z-image", "A kite", params=[]),  # type: ignore[arg-type]
    "params that are a string": lambda s: s.submit("z-image", "A kite", params="16:9"),  # type: ignore[arg-type]
    "a param that is not JSON": lambda s: s.submit("z-image", "A kite", params={"seed": object()}),
    "a param that is bytes": lambda s: s.submit("z-image", "A kite", params={"seed": b"1"}),
    "NaN": lambda s: s.submit("z-image", "A kite", params={"seed": math.nan}),
    "infinity": lambda s: s.submit("z-image", "A kite", params={"seed": [math.inf]}),
    "a circle": lambda s: s.submit("z-image", "A kite", params={"seed": CIRCLE}),
    "a param key that is no string": lambda s: s.submit("z-image", "A kite", params={1: "1"}),  # type: ignore[dict-item]
    "a reference that is a list": lambda s: s.submit("z-image", "A kite", references=[[]]),  # type: ignore[list-item]
    "a bare reference": lambda s: s.submit(
        "z-image",
        "A kite",
        references=ReferenceMedia("https://a.example/1.png", "image"),  # type: ignore[arg-type]
    ),
    "references twice": lambda s: s.submit(
        "z-image",
        "A kite",
        params={"referenceMediaItems": []},
        references=[ReferenceMedia("https://a.example/1.png", "image")],
    ),
    "an empty key": lambda s: s.submit("z-image", "A kite", idempotency_key=""),
    "a long key": lambda s: s.submit("z-image", "A kite", idempotency_key="k" * 256),
    "a key with a line break": lambda s: s.submit("z-image", "A kite", idempotency_key="a\r\nX-Evil: 1"),
    "a key with a blank": lambda s: s.submit("z-image", "A kite", idempotency_key="a b"),
    "a key that is not ASCII": lambda s: s.submit("z-image", "A kite", idempotency_key="bestellung-ä"),
    "a key that is a number": lambda s: s.submit("z-image", "A kite", idempotency_key=5),  # type: ignore[arg-type]
    "a long client request id": lambda s: s.submit("z-image", "A kite", client_request_id="c" * 129),
    "a request and its parts": lambda s: s.submit(GenerationRequest("z-image", "A kite"), "A blue whale"),
    "a negative timeout": lambda s: s.generate("z-image", "A kite", timeout=-1),
    "a NaN timeout": lambda s: s.generate("z-image", "A kite", timeout=math.nan),
    "a timeout that is a string": lambda s: s.generate("z-image", "A kite", timeout="60"),  # type: ignore[arg-type]
    "a policy that is a number": lambda s: s.generate("z-image", "A kite", poll=5),  # type: ignore[arg-type]
    "a listener that is none": lambda s: s.generate("z-image", "A kite", on_update=5),  # type: ignore[arg-type]
    "no task id": lambda s: s.wait_for(""),
    "a task id of dots": lambda s: s.wait_for(".."),
    "a task id that is a number": lambda s: s.wait_for(5),  # type: ignore[arg-type]
    "a wait that is NaN": lambda s: s.wait_for("task_1", timeout=math.nan),
    "no task id to retrieve": lambda s: s.generations.retrieve(""),
}


@pytest.mark.parametrize("broken", NOTHING_SENT.values(), ids=NOTHING_SENT.keys())
async def test_rejects_invalid_arguments_before_sending(
    sandbox: Sandbox, session: RivyaSession, broken: Broken
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        await broken(session)
    assert str(raised.value)
    assert sandbox.request_log.count() == 0


async def test_missing_key_names_variable(sandbox: Sandbox) -> None:
    async with RivyaSession(base_url=sandbox.base_url) as session:
        calls: list[Awaitable[Any]] = [
            session.submit("z-image", "A red kite", idempotency_key="order-1"),
            session.generate("z-image", "A red kite", idempotency_key="order-1"),
            session.credits.retrieve(),
            session.generations.retrieve("task_1"),
            session.wait_for("task_1"),
        ]
        for number, call in enumerate(calls):
            with pytest.raises(ConfigurationError, match="RIVYA_API_KEY") as raised:
                await call
            assert raised.value.idempotency_key == ("order-1" if number < 2 else None)
        assert sandbox.request_log.count() == 0
        assert await session.models.list()


async def test_every_error_has_idempotency_key(sandbox: Sandbox, session: RivyaSession) -> None:
    request = GenerationRequest("z-image", "A kite", params={"seed": math.nan}, idempotency_key="order-9")
    with pytest.raises(ConfigurationError) as raised:
        await session.submit(request)
    assert raised.value.idempotency_key == "order-9"


async def test_rejects_request_with_separate_arguments(session: RivyaSession) -> None:
    with pytest.raises(ConfigurationError, match="either a GenerationRequest or its parts") as raised:
        await session.submit(GenerationRequest("z-image", "A kite", idempotency_key="order-9"), "A blue whale")
    assert raised.value.idempotency_key == "order-9"


NONSENSE: dict[str, Callable[[], Any]] = {
    "a negative connect time-out": lambda: Timeouts(connect=-1),
    "a read time-out of 0": lambda: Timeouts(read=0),
    "a NaN time-out": lambda: Timeouts(total=math.nan),
    "a time-out that is a string": lambda: Timeouts(total="60"),  # type: ignore[arg-type]
    "a time-out that is True": lambda: Timeouts(total=True),
    "no attempts": lambda: RetryPolicy(max_attempts=0),
    "half an attempt": lambda: RetryPolicy(max_attempts=1.5),  # type: ignore[arg-type]
    "a cap below the base": lambda: RetryPolicy(base=2.0, cap=1.0),
    "a NaN cap": lambda: RetryPolicy(cap=math.nan),
    "an endless retry": lambda: RetryPolicy(max_elapsed=math.inf),
    "a poll cap below the floor": lambda: PollPolicy(floor=20.0),
    "a poll cap below the base": lambda: PollPolicy(base=20.0),
    "a shrinking factor": lambda: PollPolicy(factor=0.5),
    "a negative first look": lambda: PollPolicy(first=-1.0),
    "a NaN wait": lambda: PollPolicy(timeout=math.nan),
    "a negative wait": lambda: PollPolicy(timeout=-1.0),
    "no connections": lambda: RivyaSession(KEY, max_connections=0),
    "connections that are a bool": lambda: RivyaSession(KEY, max_connections=True),
    "time-outs that are a number": lambda: RivyaSession(KEY, timeouts=5),  # type: ignore[arg-type]
    "a retry policy that is a number": lambda: RivyaSession(KEY, retry=5),  # type: ignore[arg-type]
    "a poll policy that is a retry policy": lambda: RivyaSession(KEY, poll=RetryPolicy()),  # type: ignore[arg-type]
    "an API key with a line break": lambda: RivyaSession("rvya_sk_1\r\nX-Evil: 1"),
    "an API key that is not ASCII": lambda: RivyaSession("rvya_sk_ä"),
    "an API key that is bytes": lambda: RivyaSession(b"rvya_sk_1"),  # type: ignore[arg-type]
    "an API key that is a number": lambda: RivyaSession(5),  # type: ignore[arg-type]
    "a base URL without a scheme": lambda: RivyaSession(KEY, base_url="rivya.ai"),
    "a base URL without a host": lambda: RivyaSession(KEY, base_url="https://"),
    "a base URL with a bad port": lambda: RivyaSession(KEY, base_url="https://rivya.ai:99999"),
    "a base URL with another scheme": lambda: RivyaSession(KEY, base_url="ftp://rivya.ai"),
    "a base URL with a query": lambda: RivyaSession(KEY, base_url="https://rivya.ai?key=1"),
    "a base URL with a password": lambda: RivyaSession(KEY, base_url="https://me:secret@rivya.ai"),
    "a base URL that is a number": lambda: RivyaSession(KEY, base_url=5),  # type: ignore[arg-type]
    "hooks that are one listener": lambda: RivyaSession(KEY, hooks=RecordingHooks()),  # type: ignore[arg-type]
    "a hook that is none": lambda: RivyaSession(KEY, hooks=[print]),  # type: ignore[list-item]
}


@pytest.mark.parametrize("make", NONSENSE.values(), ids=NONSENSE.keys())
def test_rejects_invalid_session_arguments(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert str(raised.value)
    assert KEY not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_unusual_key_warns() -> None:
    with pytest.warns(UserWarning, match="rvya_sk_"):
        RivyaSession("sk-other")


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
async def test_blank_key_counts_as_unset(sandbox: Sandbox, blank: str) -> None:
    async with RivyaSession(blank, base_url=sandbox.base_url) as session:
        with pytest.raises(ConfigurationError, match="RIVYA_API_KEY"):
            await session.submit("z-image", "A red kite")


async def test_rejected_session_does_not_warn() -> None:
    with pytest.raises(RivyaError):
        RivyaSession(KEY, max_connections=0)
