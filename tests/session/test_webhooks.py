"""The webhook resources, and their part of the fault matrix: calls without an idempotency key."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import attrs
import pytest
from aiohttp import web

from rivya_async import (
    APIDisabledError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    RequestNotSentError,
    ResponseDecodeError,
    RivyaError,
    RivyaSession,
    Timeouts,
    WebhookEndpoint,
)
from rivya_async.sandbox import FAIL_MARKER, Sandbox
from tests.session.session_kit import FAST, RecordingHooks, open_session, plain_server, wait_until

URL: Final = "https://hooks.example.org/rivya"
BOTH: Final = ("generation.succeeded", "generation.failed")
CREATE: Final = "POST /api/v1/webhooks"
ONE: Final = "/api/v1/webhooks/{endpoint_id}"


async def created(session: RivyaSession, url: str = URL) -> WebhookEndpoint:
    return await session.webhooks.create("Prod", url, BOTH)


# --- the calls --------------------------------------------------------------------------------------------------------


async def test_endpoint_lifecycle(sandbox: Sandbox, session: RivyaSession) -> None:
    endpoint = await created(session)
    assert (endpoint.name, endpoint.url, endpoint.event_types, endpoint.is_active) == ("Prod", URL, BOTH, True)
    assert endpoint.signing_secret is not None
    retrieved = await session.webhooks.retrieve(endpoint.id)
    assert retrieved == attrs.evolve(endpoint, signing_secret=None)
    assert await session.webhooks.list(limit=1) == [retrieved]

    rotated = await session.webhooks.rotate_secret(endpoint.id)
    assert rotated.signing_secret not in {None, endpoint.signing_secret}

    changed = await session.webhooks.update(endpoint.id, name="New", event_types=BOTH[1:], status="disabled")
    assert (changed.name, changed.event_types, changed.status) == ("New", BOTH[1:], "disabled")
    assert (await session.webhooks.update(endpoint.id, url="https://8.8.8.8/")).url == "https://8.8.8.8/"

    gone = await session.webhooks.delete(endpoint.id)
    assert (gone.status, gone.signing_secret) == ("revoked", None)
    assert gone.revoked_at is not None
    assert sandbox.request_log.idempotency_keys == frozenset()


async def test_deliveries_and_events() -> None:
    async with (
        plain_server(lambda _: web.Response(status=204)) as there,
        Sandbox(speed=FAST, allow_local_webhooks=True) as sandbox,
        open_session(sandbox) as session,
    ):
        endpoint = await created(session, there.url)
        job = await session.generate("z-image", "A red kite")
        failed = await session.wait_for(
            await session.submit("z-image", f"A kite {FAIL_MARKER}"), raise_on_failure=False
        )
        await wait_until(lambda: len(there.requests) == 2)
        events = await session.webhook_events.list()
        assert {event.type: event.generation for event in events} == {BOTH[0]: job, BOTH[1]: failed}
        assert len(await session.webhook_events.list(limit=1)) == 1

        tried = await session.webhooks.test(endpoint.id)
        assert (tried.succeeded, tried.attempt, tried.response_status) == (True, 1, 204)
        deliveries = await session.webhooks.deliveries(endpoint.id)
        assert deliveries[0] == tried
        assert {delivery.event_id for delivery in deliveries} > {event.id for event in events}


async def test_rejected_url(session: RivyaSession) -> None:
    for url in ("http://hooks.example.org", "https://127.0.0.1", "https://0x7f.1", "https://user:pass@a.example"):
        with pytest.raises(BadRequestError, match="https URL of a public host") as raised:
            await created(session, url)
        assert (raised.value.code, raised.value.status) == ("webhook_url_rejected", 400)
        assert "pass@" not in str(raised.value)


async def test_unknown_endpoint(session: RivyaSession) -> None:
    calls: list[Callable[[str], Awaitable[Any]]] = [
        session.webhooks.retrieve,
        session.webhooks.delete,
        session.webhooks.rotate_secret,
        session.webhooks.test,
        session.webhooks.deliveries,
        lambda endpoint_id: session.webhooks.update(endpoint_id, name="New"),
    ]
    for call in calls:
        with pytest.raises(NotFoundError):
            await call("whend_none")


async def test_every_call_needs_scope(sandbox: Sandbox) -> None:
    key = sandbox.add_key(scopes={"credits:read"})
    async with RivyaSession(key, base_url=sandbox.base_url) as session:
        with pytest.raises(PermissionDeniedError, match="webhooks:manage"):
            await session.webhooks.list()
    async with RivyaSession(base_url=sandbox.base_url) as session:
        with pytest.raises(ConfigurationError, match="RIVYA_API_KEY"):
            await created(session)


async def test_rejects_invalid_arguments_before_sending(sandbox: Sandbox, session: RivyaSession) -> None:
    wrong: list[Awaitable[Any]] = [
        session.webhooks.create("Prod", URL, "generation.failed"),
        session.webhooks.create("Prod", 5, BOTH),  # type: ignore[arg-type]
        session.webhooks.update("whend_1"),
        session.webhooks.retrieve(""),
        session.webhooks.list(limit=0),
        session.webhook_events.list(limit=0),
    ]
    for call in wrong:
        with pytest.raises(ConfigurationError):
            await call
    assert sandbox.request_log.count() == 0


async def test_secret_is_in_no_hook_and_no_error(sandbox: Sandbox) -> None:
    """The secret stays hidden if its response cannot be decoded."""
    secret = "whsec_" + "c0ffee" * 8
    answer = {"id": 5, "signing_secret": secret}
    hooks = RecordingHooks()
    async with (
        plain_server(lambda _: web.json_response(answer)) as server,
        RivyaSession(sandbox.api_key, base_url=server.url, hooks=[hooks]) as session,
    ):
        with pytest.raises(ResponseDecodeError, match=r"read webhooks\.list\(\)") as raised:
            await created(session)
        with pytest.raises(ResponseDecodeError, match="rotate it again"):
            await session.webhooks.rotate_secret("whend_1")
    assert len(server.requests) == 2
    frames = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    ours = [each for each in frames.stack if "rivya_async/" in each.filename]
    shown = "".join(traceback.format_exception(raised.value)) + repr(hooks.attempts) + repr(vars(raised.value))
    assert ours
    assert "c0ffee" not in shown + repr([each.locals for each in ours])


# --- the fault matrix -------------------------------------------------------------------------------------------------

ATTEMPTS: Final = 5
"""Attempts of the quick retry policy."""

LIMITS: Final = Timeouts(connect=0.2, read=0.15, total=5.0, chat=5.0)


@attrs.frozen
class Row:
    """A fault, and the error and requests of a POST without a key and of an idempotent call."""

    name: str
    fault: dict[str, Any]
    once: tuple[type[RivyaError] | None, int]
    again: tuple[type[RivyaError] | None, int]


ROWS: Final = [
    Row("dropped, not acted", {"drop": True, "times": 1}, (OutcomeUnknownError, 1), (None, 2)),
    Row("dropped, acted", {"drop": True, "act": True, "times": 1}, (OutcomeUnknownError, 1), (None, 2)),
    Row("dropped, always", {"drop": True}, (OutcomeUnknownError, 1), (OutcomeUnknownError, ATTEMPTS)),
    Row("cut in mid-body", {"truncate": 9, "times": 1}, (OutcomeUnknownError, 1), (None, 2)),
    Row("silent", {"delay": 0.5, "times": 1}, (OutcomeUnknownError, 1), (None, 2)),
    Row("rate limited", {"status": 429, "code": "rate_limited", "times": 2}, (None, 3), (None, 3)),
    Row(
        "rate limited, always",
        {"status": 429, "code": "rate_limited"},
        (RateLimitError, ATTEMPTS),
        (RateLimitError, ATTEMPTS),
    ),
    Row("switched off", {"status": 503, "code": "public_api_disabled", "times": 2}, (None, 3), (None, 3)),
    Row(
        "switched off, always",
        {"status": 503, "code": "public_api_disabled"},
        (APIDisabledError, ATTEMPTS),
        (APIDisabledError, ATTEMPTS),
    ),
    Row("500", {"status": 500, "times": 1}, (InternalServerError, 1), (None, 2)),
    Row("502 of a gateway", {"status": 502, "body": "<html>", "times": 1}, (InternalServerError, 1), (None, 2)),
    Row("504, acted", {"status": 504, "act": True, "times": 1}, (InternalServerError, 1), (None, 2)),
    Row("401", {"status": 401, "code": "api_key_expired"}, (AuthenticationError, 1), (AuthenticationError, 1)),
    Row("403", {"status": 403, "code": "api_scope_denied"}, (PermissionDeniedError, 1), (PermissionDeniedError, 1)),
    Row("not JSON", {"body": "<html>", "act": True, "times": 1}, (ResponseDecodeError, 1), (None, 2)),
]

DOUBTFUL: Final = (OutcomeUnknownError, InternalServerError, ResponseDecodeError)


@pytest.fixture
async def patient(sandbox: Sandbox, hooks: RecordingHooks) -> AsyncIterator[RivyaSession]:
    async with open_session(sandbox, timeouts=LIMITS, hooks=[hooks]) as session:
        yield session


async def meets(
    sandbox: Sandbox, route: str, row: Row, call: Callable[[], Awaitable[Any]], cell: tuple[Any, int]
) -> RivyaError | None:
    kind, requests = cell
    sandbox.faults.add(route=route, **row.fault)
    error: RivyaError | None = None
    if kind is None:
        await call()
    else:
        with pytest.raises(RivyaError) as raised:
            await call()
        error = raised.value
        assert type(error) is kind
        assert (error.attempts, error.idempotency_key) == (requests, None)
    assert sandbox.request_log.count(route) == requests
    assert sandbox.request_log.idempotency_keys == frozenset()
    sandbox.faults.clear()
    await wait_until(lambda: not sandbox.request_log.in_flight)
    return error


def is_doubt(error: RivyaError) -> bool:
    return isinstance(error, DOUBTFUL) and not isinstance(error, APIDisabledError)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_create(sandbox: Sandbox, patient: RivyaSession, row: Row) -> None:
    error = await meets(sandbox, CREATE, row, lambda: created(patient), row.once)
    made = await patient.webhooks.list()
    assert len(made) <= 1
    if error is None:
        assert len(made) == 1
    else:
        assert ("webhooks.list()" in str(error)) is is_doubt(error)
        assert made == [] or is_doubt(error)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_rotate(sandbox: Sandbox, patient: RivyaSession, row: Row) -> None:
    endpoint = await created(patient)
    call = lambda: patient.webhooks.rotate_secret(endpoint.id)  # noqa: E731
    error = await meets(sandbox, f"POST {ONE}/rotate-secret", row, call, row.once)
    if error is not None:
        assert ("rotate it again" in str(error)) is is_doubt(error)
    now = await patient.webhooks.rotate_secret(endpoint.id)
    assert now.signing_secret is not None
    assert (await patient.webhooks.retrieve(endpoint.id)).secret_preview == now.secret_preview


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_test(row: Row) -> None:
    async with (
        plain_server(lambda _: web.Response(status=204)) as there,
        Sandbox(speed=FAST, allow_local_webhooks=True) as sandbox,
        open_session(sandbox, timeouts=LIMITS) as session,
    ):
        endpoint = await created(session, there.url)
        error = await meets(sandbox, f"POST {ONE}/test", row, lambda: session.webhooks.test(endpoint.id), row.once)
        assert len(there.requests) == len(await session.webhooks.deliveries(endpoint.id)) <= 1
        if error is not None:
            assert ("webhooks.deliveries" in str(error)) is is_doubt(error)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_update(sandbox: Sandbox, patient: RivyaSession, row: Row) -> None:
    endpoint = await created(patient)
    call = lambda: patient.webhooks.update(endpoint.id, name="New")  # noqa: E731
    if await meets(sandbox, f"PATCH {ONE}", row, call, row.again) is None:
        assert (await patient.webhooks.retrieve(endpoint.id)).name == "New"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_delete(sandbox: Sandbox, patient: RivyaSession, row: Row) -> None:
    endpoint = await created(patient)
    call = lambda: patient.webhooks.delete(endpoint.id)  # noqa: E731
    if await meets(sandbox, f"DELETE {ONE}", row, call, row.again) is None:
        assert (await patient.webhooks.retrieve(endpoint.id)).status == "revoked"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_list(sandbox: Sandbox, patient: RivyaSession, row: Row) -> None:
    outcome = row.once if row.name == "not JSON" else row.again  # a read changes nothing, so its outcome is known
    await meets(sandbox, "GET /api/v1/webhooks", row, patient.webhooks.list, outcome)


async def test_unsent_create_is_retried(hooks: RecordingHooks) -> None:
    async with Sandbox(speed=FAST) as sandbox, open_session(sandbox, hooks=[hooks]) as session:
        await sandbox.aclose()
        call = asyncio.create_task(created(session))
        await wait_until(lambda: len(hooks.retries) >= 1)
        assert all(isinstance(retry.error, RequestNotSentError) for retry in hooks.retries)
        await sandbox.start()
        assert (await call).is_active
        assert len(await session.webhooks.list()) == 1


async def test_cancelled_create_has_note(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=CREATE, delay=0.3)
    call = asyncio.create_task(created(session))
    await wait_until(lambda: sandbox.request_log.count(CREATE) == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as raised:
        await call
    assert any("read webhooks.list()" in note for note in raised.value.__notes__)
    sandbox.faults.clear()
    assert len(await session.webhooks.list()) <= 1


async def test_ambiguous_change_stays_ambiguous(sandbox: Sandbox, session: RivyaSession) -> None:
    endpoint = await created(session)
    for last, kind in ((404, NotFoundError), (429, OutcomeUnknownError)):
        sandbox.faults.add(route=f"DELETE {ONE}", nth=1, drop=True, act=True)
        sandbox.faults.add(route=f"DELETE {ONE}", status=last)
        with pytest.raises(kind) as raised:
            await session.webhooks.delete(endpoint.id)
        assert "may have been processed" in str(raised.value) + "".join(getattr(raised.value, "__notes__", []))
        sandbox.faults.clear()
    assert not (await session.webhooks.retrieve(endpoint.id)).is_active


async def test_425_is_retried(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=CREATE, status=425, body="", times=2)
    assert (await created(session)).is_active
    assert sandbox.request_log.count(CREATE) == 3
