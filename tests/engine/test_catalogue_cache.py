"""The catalogue with concurrent callers: one request, one failure."""

from __future__ import annotations

import asyncio

import pytest

from rivya_async._core.errors import InternalServerError, RivyaError
from rivya_async.resources.models import CATALOGUE_TTL, Models
from tests.engine.engine_kit import ScriptedTransport, cancel, create_engine, error_response, ok, scripted_transport
from tests.engine.virtual_time import now

CATALOGUE = ok(data=[{"id": "z-image"}])


def create_models(transport: ScriptedTransport) -> Models:
    engine = create_engine(transport)
    return Models(lambda: engine)


async def test_concurrent_callers_share_one_request_until_it_expires() -> None:
    transport = scripted_transport(CATALOGUE, latency=1)
    models = create_models(transport)
    lists = await asyncio.gather(*(models.list() for _ in range(50)))
    assert [model.id for model in lists[0]] == ["z-image"]
    await asyncio.sleep(CATALOGUE_TTL - 2)
    await models.retrieve("z-image")
    assert len(transport.received) == 1
    await asyncio.sleep(2)
    await models.list()
    assert len(transport.received) == 2


async def test_concurrent_callers_share_one_failure() -> None:
    """Else the hundredth caller of a service that is down waits a hundred times as long as the first."""
    transport = scripted_transport(error_response(503), latency=1)
    models = create_models(transport)
    errors = await asyncio.gather(*(models.list() for _ in range(100)), return_exceptions=True)
    assert {type(error) for error in errors} == {InternalServerError}
    assert len({id(error) for error in errors}) == 100
    assert len(transport.received) == 5
    assert now() == pytest.approx(5 + 0.25 + 0.5 + 1 + 2)


async def test_failure_is_not_cached() -> None:
    models = create_models(scripted_transport(error_response(401), CATALOGUE))
    with pytest.raises(RivyaError):
        await models.list()
    await asyncio.sleep(0.01)
    assert len(await models.list()) == 1


async def test_cancelled_caller_does_not_affect_others() -> None:
    transport = scripted_transport(CATALOGUE, latency=1)
    models = create_models(transport)
    callers = [asyncio.create_task(models.list()) for _ in range(3)]
    await asyncio.sleep(0.5)
    await cancel(callers[0])
    assert [len(found) for found in await asyncio.gather(*callers[1:])] == [1, 1]
    assert len(transport.received) == 2
