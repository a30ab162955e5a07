"""The methods work with mocks, background tasks and the retry decorators of other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock, Mock, create_autospec

import backoff
import httpx2
import pytest
import stamina
import tenacity
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rivya_async import Generation, InternalServerError, RetryPolicy, RivyaSession
from rivya_async.blocking import BlockingSession
from rivya_async.testing import FakeRequest, FakeResponse, FakeTransport

JOB = {"id": "task_1", "status": "succeeded", "model": "z-image"}

DECORATORS: dict[str, Callable[[Any], Any]] = {
    "tenacity": tenacity.retry(
        stop=tenacity.stop_after_attempt(3), retry=tenacity.retry_if_exception_type(InternalServerError), reraise=True
    ),
    "stamina": stamina.retry(on=InternalServerError, attempts=3, wait_initial=0, wait_jitter=0, wait_max=0),
    "backoff": backoff.on_exception(backoff.constant, InternalServerError, interval=0, max_tries=3, jitter=None),
}


def failing_twice() -> FakeTransport:
    answers: Iterator[object] = iter([FakeResponse.error(500), FakeResponse.error(500)])

    def handle(request: FakeRequest) -> Any:
        return next(answers, {"current_credits": 5} if "credits" in request.path else JOB)

    return FakeTransport(handle)


CALLS: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "submit": lambda session, decorate: decorate(session.submit)("z-image", "A kite", idempotency_key="order-1"),
    "generate": lambda session, decorate: decorate(session.generate)("z-image", "A kite", idempotency_key="order-1"),
    "retrieve": lambda session, decorate: decorate(session.generations.retrieve)("task_1"),
    "credits": lambda session, decorate: decorate(session.credits.retrieve)(),
    "of the class": lambda session, decorate: decorate(RivyaSession.submit)(session, "z-image", idempotency_key="k"),
}


@pytest.mark.parametrize("decorator", DECORATORS)
@pytest.mark.parametrize("call", CALLS)
async def test_retry_decorators_repeat_a_call(decorator: str, call: str) -> None:
    transport = failing_twice()
    async with transport.session(retry=RetryPolicy(max_attempts=1)) as session:
        assert await CALLS[call](session, DECORATORS[decorator])
    assert len(transport.requests) == 3
    assert len({request.idempotency_key for request in transport.requests}) == 1


@pytest.mark.parametrize("decorator", DECORATORS)
def test_retry_decorators_repeat_a_blocking_call(decorator: str) -> None:
    transport = failing_twice()
    with BlockingSession("rvya_sk_1", transport=transport, retry=RetryPolicy(max_attempts=1)) as session:
        retrieve = DECORATORS[decorator](session.generations.retrieve)
        assert retrieve("task_1").succeeded
    assert len(transport.requests) == 3


async def test_loops_of_tenacity_and_stamina() -> None:
    transport = failing_twice()
    async with transport.session(retry=RetryPolicy(max_attempts=1)) as session:
        async for attempt in tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(3)):
            with attempt:
                assert (await session.credits.retrieve()).current_credits == 5
    transport = failing_twice()
    async with transport.session(retry=RetryPolicy(max_attempts=1)) as session:
        async for context in stamina.retry_context(on=InternalServerError, attempts=3, wait_initial=0, wait_jitter=0):
            with context:
                assert (await session.credits.retrieve()).current_credits == 5


async def test_background_task_runs_a_method() -> None:
    transport = FakeTransport(lambda _: JOB)
    async with transport.session() as session:

        async def order(_: Request) -> PlainTextResponse:
            return PlainTextResponse("ordered", background=BackgroundTask(session.generate, "z-image", "A red kite"))

        app = Starlette(routes=[Route("/", order)])
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://app") as client:
            assert (await client.get("/")).text == "ordered"
    assert [request.method for request in transport.requests] == ["POST"]


async def test_autospec_of_the_session() -> None:
    session: Any = create_autospec(RivyaSession, instance=True)
    session.generate.return_value = done = Generation("task_1", "succeeded")
    async with session as entered:
        assert entered is not None
    assert await session.generate("z-image", "A red kite", timeout=60) is done
    session.generate.assert_awaited_once_with("z-image", "A red kite", timeout=60)
    with pytest.raises(TypeError):
        await session.generate("z-image", time_out=60)
    for name in ("watch", "as_completed", "map"):
        getattr(session, name).return_value.__aiter__.return_value = [done]
        assert [each async for each in getattr(session, name)([done])] == [done]
    specified: Any = AsyncMock(spec=RivyaSession)
    specified.generate.return_value = done
    assert await specified.generate("z-image") is done
    with pytest.raises(AttributeError):
        _ = specified.generat


def test_autospec_of_the_blocking_session() -> None:
    session: Any = create_autospec(BlockingSession, instance=True)
    session.generate.return_value = done = Generation("task_1", "succeeded")
    assert session.generate("z-image", "A red kite", timeout=60) is done
    with pytest.raises(TypeError):
        session.generate("z-image", time_out=60)
    specified: Any = Mock(spec=BlockingSession)
    specified.models.list.return_value = []
    assert specified.models.list() == []
    with pytest.raises(AttributeError):
        _ = specified.generat
