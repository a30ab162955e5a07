"""The resources models, credits and openapi."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from rivya_async import (
    AuthenticationError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    ResponseDecodeError,
    RivyaSession,
)
from rivya_async.resources import models
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import CREDITS, QUICK_RETRY, open_session, plain_server

MODELS = "GET /api/v1/models"


async def test_catalogue_needs_no_key(sandbox: Sandbox, session: RivyaSession) -> None:
    async with RivyaSession(base_url=sandbox.base_url) as keyless:
        assert len(await keyless.models.list()) == len(await session.models.list())
    assert all(not request.has_authorization for request in sandbox.request_log)


async def test_concurrent_callers_share_catalogue_request(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=MODELS, delay=0.02)
    lists = await asyncio.gather(*(session.models.list() for _ in range(50)))
    assert sandbox.request_log.count(MODELS) == 1
    assert lists[0] == lists[1]
    assert lists[0] is not lists[1]
    lists[0].clear()
    assert await session.models.list()


async def test_catalogue_cache_expires(
    sandbox: Sandbox, session: RivyaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "CATALOGUE_TTL", 0.0)
    await session.models.list()
    await session.models.list()
    assert sandbox.request_log.count(MODELS) == 2


async def test_cancelled_caller_does_not_affect_others(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=MODELS, delay=0.05)
    calls = [asyncio.create_task(session.models.list()) for _ in range(5)]
    await asyncio.sleep(0.02)
    calls[0].cancel()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert all(isinstance(end, list) and end for end in ends[1:])
    assert sandbox.request_log.count(MODELS) <= 2


async def test_catalogue_failure_is_not_cached(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=MODELS, status=500, times=QUICK_RETRY.max_attempts)
    with pytest.raises(InternalServerError):
        await session.models.list()
    assert (await session.models.retrieve("z-image")).id == "z-image"


async def test_model_has_documented_fields(session: RivyaSession) -> None:
    model = await session.models.retrieve("seedream-4-0")
    assert (model.category, model.is_available) == ("image", True)
    most = model.param("max_images")
    assert most is not None
    assert (most.type, most.min, most.max) == ("number", 1, 6)
    assert model.param("no_such") is None


@pytest.mark.parametrize(("wrong", "near"), [("z-imag", "z-image"), ("Z-Image", "z-image"), ("seedream", "seedream-4")])
async def test_unknown_model_suggests_closest(session: RivyaSession, wrong: str, near: str) -> None:
    with pytest.raises(NotFoundError, match="did you mean") as raised:
        await session.models.retrieve(wrong)
    assert near in str(raised.value)
    assert raised.value.code == "not_found"


async def test_unknown_model_without_suggestion(session: RivyaSession) -> None:
    with pytest.raises(NotFoundError, match=r"models\.list\(\)"):
        await session.models.retrieve("????")


@pytest.mark.parametrize("odd", [None, 5, ["z-image"]])
async def test_rejects_invalid_model_id(sandbox: Sandbox, session: RivyaSession, odd: Any) -> None:
    with pytest.raises(ConfigurationError, match="string"):
        await session.models.retrieve(odd)
    assert sandbox.request_log.count() == 0


async def test_reads_minimal_catalogue() -> None:
    answer = {"object": "list", "data": [{"id": "new", "params": None, "notices": None, "novelty": 1}]}
    async with (
        plain_server(lambda _: web.json_response(answer)) as server,
        RivyaSession(base_url=server.url) as session,
    ):
        (model,) = await session.models.list()
        assert (model.id, model.params, model.notices, model.extra) == ("new", (), (), {"novelty": 1})
        assert not model.is_available


async def test_rejects_catalogue_of_other_shape() -> None:
    async with plain_server(lambda _: web.json_response([])) as server, RivyaSession(base_url=server.url) as session:
        with pytest.raises(ResponseDecodeError):
            await session.models.list()


async def test_openapi_document_needs_no_key(sandbox: Sandbox) -> None:
    async with RivyaSession(base_url=sandbox.base_url) as session:
        document = await session.openapi.retrieve()
    assert document["openapi"] == "3.1.0"
    assert "/api/v1/openapi.json" in document["paths"]


async def test_balance(sandbox: Sandbox, session: RivyaSession) -> None:
    before = (await session.credits.retrieve()).current_credits
    job = await session.generate("z-image", "A red kite")
    assert (await session.credits.retrieve()).current_credits == before - job.final_credits == sandbox.credits


async def test_failed_job_refunds_credits(sandbox: Sandbox, session: RivyaSession) -> None:
    before = (await session.credits.retrieve()).current_credits
    job = await session.submit("z-image", "A kite [fail]")
    assert not (await session.wait_for(job, raise_on_failure=False)).succeeded
    assert (await session.credits.retrieve()).current_credits == before


async def test_read_retries_transient_faults(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=CREDITS, drop=True, nth=1)
    sandbox.faults.add(route=CREDITS, status=429, nth=2)
    sandbox.faults.add(route=CREDITS, status=502, body="<html>", nth=3)
    sandbox.faults.add(route=CREDITS, truncate=3, nth=4)
    assert (await session.credits.retrieve()).current_credits == 1_000_000
    assert sandbox.request_log.count(CREDITS) == 5


async def test_read_needs_scope(sandbox: Sandbox) -> None:
    async with open_session(sandbox) as session:
        sandbox.faults.add(route=CREDITS, status=401, code="api_key_expired")
        with pytest.raises(AuthenticationError) as raised:
            await session.credits.retrieve()
    assert raised.value.code == "api_key_expired"
    assert raised.value.idempotency_key is None
