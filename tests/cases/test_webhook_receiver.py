"""Deliveries in frameworks of other kinds, and in other shapes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from rivya_async import ConfigurationError, WebhookEvent, WebhookVerificationError
from rivya_async.receiver import WebhookReceiver, WebhookResponse, verify
from tests.receiver.receiver_kit import NOW, SECRET, RecordingHandler, make_body, make_receiver, sign, sleeping_handler
from tests.receiver.test_servers import uvicorn_at


def run_with_asyncio_run(call: Callable[[], Awaitable[WebhookResponse]]) -> WebhookResponse:
    async def view() -> WebhookResponse:
        return await call()

    return asyncio.run(view())


def run_with_own_loop(call: Callable[[], Awaitable[WebhookResponse]]) -> WebhookResponse:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(call())
    finally:
        loop.close()


def run_in_thread(call: Callable[[], Awaitable[WebhookResponse]]) -> WebhookResponse:
    """As `asgiref.async_to_sync` does."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(run_with_asyncio_run, call).result()


def run_with_timeout(call: Callable[[], Awaitable[WebhookResponse]]) -> WebhookResponse:
    async def view() -> WebhookResponse:
        return await asyncio.wait_for(call(), 10)

    return asyncio.run(view())


@pytest.mark.parametrize("run", [run_with_asyncio_run, run_with_own_loop, run_in_thread, run_with_timeout])
def test_finishes_the_handler_on_a_loop_of_one_request(
    run: Callable[[Callable[[], Awaitable[WebhookResponse]]], WebhookResponse],
) -> None:
    """D8: the loop ends with the request, and the handler would end with it."""
    handler = sleeping_handler(0.05)
    receiver = make_receiver(handler, response_timeout=0.01)
    for number in range(2):
        body = make_body(f"evt_{number}")
        assert run(lambda body=body: receiver.receive(body, sign(body))).status == 200  # type: ignore[misc]
    assert handler.finished == ["evt_0", "evt_1"]
    assert run(lambda: receiver.receive(make_body("evt_0"), sign(make_body("evt_0")))).text == "handled before"


def test_failed_handler_on_a_loop_of_one_request_gets_500() -> None:
    """D8: the service delivers the event again."""

    async def fail(_: WebhookEvent) -> None:
        await asyncio.sleep(0.02)
        raise RuntimeError("no disk")

    receiver = make_receiver(fail, response_timeout=0.0)
    assert run_with_asyncio_run(lambda: receiver.receive(make_body(), sign(make_body()))).status == 500


def test_threads_with_loops_handle_an_event_once() -> None:
    """D8: a repeated delivery on another thread's loop does not start the handler again."""
    is_running, may_end = threading.Event(), threading.Event()

    async def wait(_: WebhookEvent) -> None:
        is_running.set()
        await asyncio.to_thread(may_end.wait, 10)

    handler = RecordingHandler(wait)
    receiver = make_receiver(handler, response_timeout=0.0)

    def deliver() -> int:
        return run_with_asyncio_run(lambda: receiver.receive(make_body(), sign(make_body()))).status

    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(deliver)
        assert is_running.wait(10)
        assert deliver() == 503
        may_end.set()
        assert first.result() == 200
    assert deliver() == 200
    assert handler.started == ["evt_1"]


async def test_opened_receiver_responds_before_the_handler_ends() -> None:
    """D8: a loop on which the receiver was opened outlives its requests."""
    handler = sleeping_handler(0.05)

    def serve() -> list[int]:
        async def main() -> list[int]:
            async with make_receiver(handler, response_timeout=0.0) as receiver:
                return [(await receiver.receive(make_body(), sign(make_body()))).status]

        return asyncio.run(main())

    assert await asyncio.to_thread(serve) == [202]
    assert handler.finished == ["evt_1"]


@pytest.mark.parametrize("max_running", [1, 100])
def test_test_client_without_with_serves_many_requests(max_running: int) -> None:
    """N25: Starlette's `TestClient` opens such a portal, with an event loop of its own, for each request."""
    handler = sleeping_handler(0.01)
    app = make_receiver(handler, max_running=max_running).asgi_app()
    for number in range(3):
        body = make_body(f"evt_{number}")
        headers = [(name.encode(), value.encode()) for name, value in sign(body).items()]
        sent: list[Any] = []

        async def receive(body: bytes = body) -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        with start_blocking_portal() as portal:
            portal.call(app, {"type": "http", "method": "POST", "headers": headers}, receive, send)
        assert sent[0]["status"] == 200
    assert handler.finished == ["evt_0", "evt_1", "evt_2"]


async def test_websocket_is_rejected_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """D18: ASGI frameworks forward every protocol to a mounted app."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await make_receiver().asgi_app()({"type": "websocket", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_lifespan_of_the_app_opens_and_closes_the_receiver() -> None:
    """D18: served alone, the app follows the lifespan of its server."""
    receiver = make_receiver(RecordingHandler())
    async with uvicorn_at(receiver.asgi_app()):
        assert (await receiver.receive(make_body(), sign(make_body()))).status == 200
    assert (await receiver.receive(make_body(), sign(make_body()))).status == 503


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview])
async def test_accepts_every_kind_of_bytes(convert: Callable[[bytes], Any]) -> None:
    """D18: some frameworks collect a body in a bytearray."""
    body = make_body()
    assert verify(convert(body), sign(body), SECRET, clock=lambda: NOW).id == "evt_1"
    assert (await make_receiver(RecordingHandler()).receive(convert(body), sign(body))).status == 200


@pytest.mark.parametrize("value", [None, 5, ["a"]])
def test_ignores_other_headers_that_are_no_text(value: Any) -> None:
    """D18: only the headers of the signature matter."""
    body = make_body()
    assert verify(body, {**sign(body), "X-Other": value}, SECRET, clock=lambda: NOW).id == "evt_1"
    with pytest.raises(WebhookVerificationError, match="has no"):
        verify(body, dict.fromkeys(sign(body), value), SECRET, clock=lambda: NOW)


@pytest.mark.parametrize("secrets", [{SECRET, "whsec_other"}, frozenset([SECRET]), (SECRET,), {SECRET: 1}.keys()])
def test_accepts_secrets_in_any_collection(secrets: Any) -> None:
    """D18: during a rotation there are several."""
    body = make_body()
    assert verify(body, sign(body), secrets, clock=lambda: NOW).id == "evt_1"
    assert verify(body, sign(body), iter(secrets), clock=lambda: NOW).id == "evt_1"
    WebhookReceiver(secrets)


def test_rejects_secrets_that_are_no_collection() -> None:
    """D18: a mapping has no order of secrets, and bytes are numbers."""
    rejected: list[Any] = [{"key": SECRET}, SECRET.encode(), set()]
    for secrets in rejected:
        with pytest.raises(ConfigurationError, match="secret"):
            verify(b"", {}, secrets)


def test_json_of_the_body_is_unused() -> None:
    """D18: a parsed body is refused with advice."""
    with pytest.raises(ConfigurationError, match="raw bytes"):
        verify(json.loads(make_body()), sign(make_body()), SECRET)


@pytest.mark.parametrize("created_at", [1_778_486_400, 1_778_486_400.5, "2026-05-11T08:00:00.000Z", "yesterday", None])
@pytest.mark.parametrize("place", ["data", "generation", "object"])
async def test_only_id_and_type_of_an_event_are_essential(created_at: Any, place: str) -> None:
    """D9: the time may have another form, and the job another place."""
    job = {"id": "task_1", "status": "succeeded", "model": "z-image"}
    body = json.dumps({"id": "evt_1", "type": "generation.succeeded", "created_at": created_at, place: job}).encode()
    event = verify(body, sign(body), SECRET, clock=lambda: NOW)
    assert event.generation is not None
    assert event.generation.id == "task_1"
    assert (await make_receiver(RecordingHandler()).receive(body, sign(body))).status == 200
