"""Answers of the service, and of gateways before it: purchases, reads, and the texts of errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from rivya_async import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InsufficientCreditsError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RequestNotSentError,
    ResponseDecodeError,
    RivyaError,
    RivyaSession,
    WaitTimeoutError,
)
from tests.session.session_kit import QUICK_POLL, QUICK_RETRY, PlainServer, ReceivedRequest, plain_server, raw_server

KEY = "rvya_sk_" + "0" * 32
JOB = {"id": "task_1", "status": "queued", "model": "z-image"}
ATTEMPTS = QUICK_RETRY.max_attempts


def page(body: str = "", status: int = 200, **headers: str) -> web.Response:
    return web.Response(
        body=body.encode(), status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def as_json(body: Any, status: int = 200, **headers: str) -> web.Response:
    return page(json.dumps(body), status, Content_Type="application/json", **headers)


def session_of(server: PlainServer, **options: Any) -> RivyaSession:
    return RivyaSession(KEY, **{"base_url": server.url, "retry": QUICK_RETRY, "poll": QUICK_POLL, **options})


def every(respond: Callable[[], web.Response]) -> Callable[[ReceivedRequest], web.Response]:
    return lambda _: respond()


def once(respond: Callable[[], web.Response]) -> Callable[[ReceivedRequest], web.Response]:
    """Returns a server that answers like this once, and then with a job."""
    pending = [respond]
    return lambda _: pending.pop()() if pending else as_json(JOB)


NOT_THE_API: dict[str, Callable[[], web.Response]] = {
    "200 page": lambda: page("<html><h1>Please sign in</h1>", Content_Type="text/html"),
    "200 empty": page,
    "200 list": lambda: as_json([]),
    "200 without id": lambda: as_json({"status": "queued"}),
    "200 with NaN": lambda: page('{"id": "task_1", "status": "queued", "loss": NaN}'),
    "200 cut": lambda: page('{"id": "task_1", "sta'),
    "204": lambda: page(status=204),
    "302 page": lambda: page("Please sign in", 302, Location="https://sso.example/login?session=s3cret"),
    "302 empty": lambda: page(status=302, Location="/login"),
    **{
        f"{status} page": partial(page, "<title>Please sign in</title>", status, Content_Type="text/html")
        for status in (401, 402, 403, 404, 405, 407, 409, 410, 418, 421, 451, 499)
    },
    "403 empty": lambda: page(status=403),
    "403 text": lambda: page("Please sign in", 403),
    "404 other object": lambda: as_json({"foo": 1}, 404),
}


@pytest.mark.parametrize("respond", NOT_THE_API.values(), ids=NOT_THE_API.keys())
async def test_purchase_is_repeated_under_its_key_if_not_the_api_answers(respond: Callable[[], web.Response]) -> None:
    """C8: such an answer does not say whether the job was bought."""
    async with plain_server(once(respond)) as server, session_of(server) as session:
        assert (await session.submit("z-image", "A red kite")).id == "task_1"
        first, second = (request.headers["Idempotency-Key"] for request in server.requests)
        assert first == second


async def test_error_of_the_api_with_a_success_status_is_that_error() -> None:
    """D16: for every call, as for a stream."""

    def respond(code: str) -> Callable[[ReceivedRequest], web.Response]:
        return every(lambda: as_json({"error": {"code": code, "message": "Top up.", "requestId": "req_1"}}))

    async with plain_server(respond("insufficient_credits")) as server, session_of(server) as session:
        for call in (
            session.submit("z-image", "A red kite", idempotency_key="order-1"),
            session.chat.completions.create("gpt-5-2-chat", "Hello", idempotency_key="order-1"),
        ):
            with pytest.raises(InsufficientCreditsError, match="Top up") as caught:
                await call
            assert (caught.value.code, caught.value.status) == ("insufficient_credits", 200)
            assert (caught.value.request_id, caught.value.idempotency_key) == ("req_1", "order-1")
        assert len(server.requests) == 2
    async with plain_server(respond("api_key_revoked")) as server, session_of(server) as session:
        for read in (session.wait_for("task_1", timeout=30), session.credits.retrieve()):
            with pytest.raises(AuthenticationError, match="Top up"):
                await read


@pytest.mark.parametrize("respond", NOT_THE_API.values(), ids=NOT_THE_API.keys())
async def test_purchase_without_an_answer_of_the_api_has_unknown_outcome(respond: Callable[[], web.Response]) -> None:
    """C8: the error keeps status, text, and the error by status as its cause."""
    async with (
        plain_server(every(respond)) as server,
        session_of(server, max_spend=10, prices={"z-image": 4}) as session,
    ):
        with pytest.raises(OutcomeUnknownError) as caught:
            await session.submit("z-image", "A red kite", idempotency_key="order-1")
        error = caught.value
        assert (error.idempotency_key, error.attempts) == ("order-1", ATTEMPTS)
        assert {request.headers["Idempotency-Key"] for request in server.requests} == {"order-1"}
        cause = error.__cause__
        assert isinstance(cause, APIStatusError | ResponseDecodeError)
        answer = respond()
        if isinstance(cause, APIStatusError):
            assert cause.status == answer.status
            assert str(answer.status) in str(error)
        if "sign in" in (answer.text or ""):
            assert "Please sign in" in str(error)
            assert "Please sign in" in cause.body
        assert "s3cret" not in str(error)
        assert session.spend.reserved == 4, "the job may have been bought"


REFUSALS: dict[str, tuple[Callable[[], web.Response], type[RivyaError]]] = {
    "400 page": (lambda: page("<h1>17:9 is unknown</h1>", 400, Content_Type="text/html"), BadRequestError),
    "413 text": (lambda: page("17:9 is unknown", 413), BadRequestError),
    "415 text": (lambda: page("17:9 is unknown", 415), BadRequestError),
    "422 detail": (lambda: as_json({"detail": "17:9 is unknown"}, 422), BadRequestError),
    "422 list": (lambda: as_json({"detail": [{"loc": ["body"], "msg": "17:9 is unknown"}]}, 422), BadRequestError),
    "400 problem": (lambda: as_json({"title": "Bad", "detail": "17:9 is unknown"}, 400), BadRequestError),
    "401 message": (lambda: as_json({"message": "17:9 is unknown"}, 401), AuthenticationError),
    "403 error": (lambda: as_json({"error": "17:9 is unknown"}, 403), PermissionDeniedError),
    "404 errors": (lambda: as_json({"errors": ["17:9 is unknown"]}, 404), NotFoundError),
    "409 errors": (lambda: as_json({"errors": [{"message": "17:9 is unknown"}]}, 409), ConflictError),
}


@pytest.mark.parametrize(("respond", "kind"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_refusal_in_another_shape_keeps_its_text(
    respond: Callable[[], web.Response], kind: type[APIStatusError]
) -> None:
    """C9: a refusal is raised at once, with its text in message and body."""
    async with plain_server(every(respond)) as server, session_of(server) as session:
        with pytest.raises(kind, match="17:9 is unknown") as caught:
            await session.submit("z-image", "A red kite")
        assert type(caught.value) is kind
        assert "17:9 is unknown" in caught.value.body
        assert len(server.requests) == 1
        assert session.spend.reserved == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 421])
async def test_other_reads_raise_their_status_at_once(status: int) -> None:
    """C9: only purchases and polls are repeated."""
    async with plain_server(every(lambda: page("<b>no way</b>", status))) as server, session_of(server) as session:
        with pytest.raises(APIStatusError, match="no way") as caught:
            await session.credits.retrieve()
        assert caught.value.status == status
        assert len(server.requests) == 1


async def test_status_error_has_headers_body_and_request_id() -> None:
    refusal = {"error": {"code": "not_found", "message": "no such job"}}
    respond = every(lambda: as_json(refusal, 404, X_Request_Id="req_1", X_Region="eu"))
    async with plain_server(respond) as server, session_of(server) as session:
        with pytest.raises(NotFoundError) as caught:
            await session.generations.retrieve("task_1")
    error = caught.value
    assert (error.code, error.request_id, error.headers["x-region"]) == ("not_found", "req_1", "eu")
    assert json.loads(error.body) == refusal


ESCAPED_KEY = "".join(f"\\u{ord(each):04x}" for each in KEY)
ECHOES: dict[str, Callable[[], web.Response]] = {
    "envelope": lambda: as_json({"error": {"code": "api_key_invalid", "message": f"no key {KEY}"}}, 401),
    "code": lambda: as_json({"error": {"code": KEY, "message": "no"}}, 401),
    "escaped": lambda: page(f'{{"error": {{"code": "a", "message": "no {ESCAPED_KEY}"}}}}', 401),
    "escaped in other json": lambda: page(f'{{"detail": "no {ESCAPED_KEY}"}}', 401),
    "page": lambda: page(f"<b>{KEY}</b>", 401),
    "redirect": lambda: page(status=302, Location=f"https://h.example/{KEY}/x?key={KEY}"),
    "percent-encoded": lambda: page(status=302, Location="/%72" + KEY[1:].replace("_", "%5F")),
    "task id": lambda: as_json({"id": KEY, "status": "queued"}),
    "invalid record": lambda: as_json({"id": [KEY], "status": KEY}),
    "page with 200": lambda: page(f"<b>{KEY}</b>"),
    "header": lambda: as_json({"detail": "no"}, 401, X_Key=KEY),
    "request id": lambda: as_json({"detail": "no"}, 401, X_Request_Id=KEY),
}


@pytest.mark.parametrize("respond", ECHOES.values(), ids=ECHOES.keys())
async def test_no_error_shows_the_key(respond: Callable[[], web.Response]) -> None:
    """S19: a service may repeat the key anywhere in its answer."""
    async with plain_server(every(respond)) as server, session_of(server) as session:
        with pytest.raises(RivyaError) as caught:
            await session.generations.retrieve("task_1")
        errors: list[BaseException | None] = [caught.value]
        if respond().status != 200 or "id" not in str(respond().text):
            with pytest.raises(RivyaError) as refused:
                await session.submit("z-image", "A red kite")
            errors += [refused.value, refused.value.__cause__]
    for error in errors:
        shown = f"{error} {error!r} {vars(error)} {getattr(error, '__notes__', '')}" if error is not None else ""
        assert KEY not in shown
        assert ESCAPED_KEY not in shown
        assert KEY[8:] not in shown


async def test_no_record_shows_the_key() -> None:
    """S19: a service may also repeat the key in a record, even as its id."""
    record = {"id": KEY, "status": "queued", "request": {"authorization": f"Bearer {KEY}"}}
    async with plain_server(every(lambda: as_json(record))) as server, session_of(server) as session:
        job = await session.submit("z-image", "A red kite")
        assert KEY not in repr(job)
        with pytest.raises(WaitTimeoutError) as caught:
            await session.wait_for(job, timeout=0.1)
        assert KEY not in f"{caught.value} {caught.value.task_id} {caught.value.last}"
        assert all(KEY not in request.path for request in server.requests)


# --- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway"])
async def test_refused_connect_of_a_proxy_sends_nothing(status: str) -> None:
    """C11: the request did not leave this machine."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()

    async with (
        raw_server(refuse) as proxy,
        aiohttp.ClientSession(proxy=proxy.replace("//", "//user:s3cret@")) as http,
        RivyaSession(KEY, base_url="https://service.example", http=http, retry=QUICK_RETRY) as session,
    ):
        with pytest.raises(RequestNotSentError, match=status[:3]) as caught:
            await session.submit("z-image", "A red kite")
        assert "s3cret" not in str(caught.value)
        assert session.spend.reserved == 0


@pytest.mark.parametrize("needs_key", [True, False])
async def test_long_response_headers_are_read(needs_key: bool) -> None:
    """D13: 8,190 bytes are the default of aiohttp."""
    respond = every(lambda: as_json({"data": [], **JOB}, X_Policy="x" * 20_000))
    async with plain_server(respond) as server, session_of(server) as session:
        if needs_key:
            assert (await session.submit("z-image", "A red kite")).id == "task_1"
        else:
            assert list(await session.models.list()) == []


@pytest.mark.parametrize(
    "written",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" + b"s3cret" * 50_000,
        b"HTTP/1.1 200 " + b"s3cret" * 50_000 + b"\r\n\r\n",
        b"s3cret" * 50_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"s3cret" * 50_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"s3cret" * 50_000 + b"\r\n\r\n",
    ],
    ids=["behind the length", "reason", "no http", "chunk", "header"],
)
async def test_malformed_response_makes_a_short_message(written: bytes) -> None:
    """D5: no message is as long as the data."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(written)
        await writer.drain()

    async with raw_server(talk) as url, RivyaSession(KEY, base_url=url, retry=QUICK_RETRY) as session:
        for call in (session.submit("z-image", "A red kite"), session.credits.retrieve()):
            with pytest.raises(RivyaError) as caught:
                await call
            assert len(str(caught.value)) < 600
