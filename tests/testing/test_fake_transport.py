"""Every method of a session over `FakeTransport`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rivya_async import (
    ConfigurationError,
    InternalServerError,
    OutcomeUnknownError,
    PollPolicy,
    RateLimitError,
    RequestNotSentError,
    RetryPolicy,
    RivyaError,
    RivyaSession,
)
from rivya_async.testing import FakeRequest, FakeResponse, FakeService, FakeTransport
from rivya_async.testing.fake_transport import FakeResult
from tests.media_kit import media

QUICK: dict[str, Any] = {
    "poll": PollPolicy(first=0.002, base=0.002, cap=0.01, floor=0.001),
    "retry": RetryPolicy(max_attempts=3, base=0.001, cap=0.01),
}
JOB = {"id": "task_1", "model": "z-image"}


async def test_generate() -> None:
    statuses = iter(["queued", "processing", "succeeded"])

    async def service(request: FakeRequest) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {**JOB, "status": next(statuses)}

    fake = FakeTransport(service)
    async with fake.session(**QUICK) as session:
        job = await session.generate("z-image", "A red kite", idempotency_key="order-1")
    assert job.succeeded
    submitted, *polls = fake.requests
    assert (submitted.method, submitted.path, submitted.idempotency_key) == ("POST", "/api/v1/generations", "order-1")
    assert submitted.json["prompt"] == "A red kite"
    assert [(poll.method, poll.path) for poll in polls] == [("GET", "/api/v1/generations/task_1")] * 2


async def test_network_errors_are_retried_with_one_key() -> None:
    results: Iterator[FakeResult] = iter(
        [RequestNotSentError("refused"), OutcomeUnknownError("dropped"), {**JOB, "status": "queued"}]
    )
    fake = FakeTransport(lambda _: next(results))
    async with fake.session(**QUICK) as session:
        await session.submit("z-image", "A red kite")
    assert len({request.idempotency_key for request in fake.requests}) == 1
    assert len(fake.requests) == 3


async def test_error_responses_have_envelope_and_headers() -> None:
    fake = FakeTransport(lambda _: FakeResponse.error(429, "rate_limited", "Slow down.", Retry_After="0.001"))
    async with fake.session(**QUICK) as session:
        with pytest.raises(RateLimitError, match=r"Slow down\.") as raised:
            await session.credits.retrieve()
    assert (raised.value.retry_after, raised.value.request_id, raised.value.attempts) == (0.001, "req_fake", 3)
    fake = FakeTransport(lambda _: FakeResponse(502, body=b"<html>"))
    async with fake.session(**QUICK) as session:
        with pytest.raises(InternalServerError):
            await session.credits.retrieve()


async def test_handler_exception_propagates() -> None:
    def broken(_: FakeRequest) -> FakeResponse:
        raise ZeroDivisionError

    async with FakeTransport(broken).session(**QUICK) as session:
        with pytest.raises(ZeroDivisionError):
            await session.credits.retrieve()


@pytest.mark.parametrize("result", [None, "queued", [JOB], RequestNotSentError, (200, JOB)], ids=repr)
async def test_invalid_result_raises_type_error(result: Any) -> None:
    async with FakeTransport(lambda _: result).session(**QUICK) as session:
        with pytest.raises(
            TypeError, match=r"returned .* for GET /api/v1/credits\. Return a FakeResponse, a mapping or a R"
        ):
            await session.credits.retrieve()


async def test_invalid_poll_result_ends_wait() -> None:
    def service(request: FakeRequest) -> Any:
        return {**JOB, "status": "queued"} if request.method == "POST" else None

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    fake = FakeTransport(service)
    async with fake.session(**QUICK) as session:
        with pytest.raises(RivyaError, match="returned None for GET /api/v1/generations/task_1"):
            await session.generate("z-image", "A red kite", timeout=5.0)
    assert len(fake.requests) == 2


async def test_header_value_can_be_a_number() -> None:
    retry_after: Any = 3
    fake = FakeTransport(lambda _: FakeResponse.error(429, Retry_After=retry_after))
    async with fake.session(retry=RetryPolicy(max_attempts=1)) as session:
        with pytest.raises(RateLimitError) as raised:
            await session.credits.retrieve()
    assert raised.value.retry_after == 3.0


async def test_uploads_and_downloads(tmp_path: Path) -> None:
    picture = media("png")

    def service(request: FakeRequest) -> FakeResponse:
        if request.path.startswith("https://files.example/"):
            return FakeResponse(body=picture, headers={"Content-Type": "image/png"})
        return FakeResponse(json={"id": "file_1", "url": "https://files.example/file_1", "kind": "image"})

    fake = FakeTransport(service)
    async with fake.session(**QUICK) as session:
        (path,) = await session.download("https://files.example/kite", tmp_path)
        file = await session.files.upload(path)
    assert path.read_bytes() == picture
    assert file.id == "file_1"
    uploaded = fake.requests[-1]
    assert (uploaded.method, uploaded.body, uploaded.fields["kind"]) == ("POST", picture, "image")
    assert uploaded.fields["file"] == "kite.png"


async def test_streams() -> None:
    events = b'event: message.delta\ndata: {"delta": "A kite"}\n\ndata: {"object": "chat.completion"}\n\n'
    fake = FakeTransport(lambda _: FakeResponse(body=events, headers={"content-type": "text/event-stream"}))
    async with (
        fake.session(**QUICK) as session,
        session.chat.completions.stream("gpt-5-2-chat", "What flies?") as stream,
    ):
        assert [delta async for delta in stream] == ["A kite"]


async def test_thousand_concurrent_generations() -> None:
    fake = FakeTransport(lambda request: {**JOB, "status": "succeeded", "prompt": request.json["prompt"]})
    async with fake.session(**QUICK) as session:
        jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {n}") for n in range(1000)))
    assert all(job.succeeded for job in jobs)
    assert len(fake.requests) == 1000


def test_repr_has_no_api_key() -> None:
    async def main() -> list[FakeRequest]:
        fake = FakeTransport(lambda _: {"current_credits": 5})
        async with fake.session(api_key="rvya_sk_secret") as session:
            await session.credits.retrieve()
        return fake.requests

    assert "secret" not in repr(asyncio.run(main()))


async def test_transport_excludes_http_session() -> None:
    import aiohttp

    async with aiohttp.ClientSession() as http:
        with pytest.raises(ConfigurationError, match="http and transport exclude each other"):
            RivyaSession("rvya_sk_1", http=http, transport=FakeTransport(lambda _: {}))


async def test_sessions_poll_and_retry_quickly_by_default() -> None:
    replies = iter([FakeResponse.error(503), FakeResponse.error(503)])
    service = FakeService(polls_until_done=20)
    transport = FakeTransport(lambda request: next(replies, None) or service(request))
    began = asyncio.get_running_loop().time()
    async with transport.session() as session:
        assert (await session.generate("z-image", "A red kite")).succeeded
    assert asyncio.get_running_loop().time() - began < 10  # the usual intervals are a hundred seconds


def test_blocking_session_uses_the_transport() -> None:
    transport = FakeTransport(FakeService())
    with transport.blocking_session(prices={"z-image": 5}) as session:
        assert session.generate("z-image", "A red kite").succeeded
        assert session.spend.total == 1
    assert transport.requests[0].method == "POST"
