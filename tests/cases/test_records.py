"""Records of the service with unexpected members."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
from aiohttp import web

from rivya_async import (
    APIStatusError,
    ConfigurationError,
    Generation,
    GenerationFailedError,
    OutcomeUnknownError,
    WebhookEvent,
    WebhookVerificationError,
)
from rivya_async._core.webhooks.signatures import read_event
from tests.cases.test_responses import as_json, every, page, session_of
from tests.session.session_kit import ReceivedRequest, plain_server

SUCCEEDED: dict[str, Any] = {
    "id": "task_1",
    "status": "succeeded",
    "model": "z-image",
    "result": {"primary_url": "https://c.example/x.png"},
}


def body(**members: Any) -> str:
    return json.dumps({**SUCCEEDED, **members})


@pytest.mark.parametrize(
    "text",
    [
        body(updated_at=""),
        body(updated_at="soon", created_at=[]),
        body(model=None),
        body(model=5),
        body(reserved_credits="4", final_credits={}),
        body(error="none", notes=[1, {"a": None}]),
        body(result={"primary_url": "https://c.example/x.png", "urls": 7}),
        body(result={"primary_url": None, "urls": [None, "https://c.example/x.png"]}),
        "\ufeff" + body(),
        '{"id": "task_1", "status": "succeeded", "result": {"urls": ["https://c.example/x.png"]}}',
    ],
)
async def test_finished_job_is_readable_with_odd_members(text: str) -> None:
    """C7: only the id and the status are essential."""
    async with plain_server(every(lambda: page(text))) as server, session_of(server) as session:
        job = await session.wait_for("task_1", timeout=10)
        assert job.succeeded
        assert job.urls == ("https://c.example/x.png",)


async def test_odd_member_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """C7: a warning names the member, and not its value."""
    from rivya_async._core.http import record_readers

    record_readers._warned.clear()
    async with plain_server(every(lambda: page(body(created_at="s3cret")))) as server, session_of(server) as session:
        with caplog.at_level(logging.WARNING, "rivya_async"):
            for _ in range(3):
                await session.generations.retrieve("task_1")
    assert caplog.text.count("Generation.created_at") == 1
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, -(2**64), 10**30])
async def test_long_integers_are_exact(number: int) -> None:
    """C24: with and without orjson."""
    text = body(seed=number, nested={"list": [number]})
    async with plain_server(every(lambda: page(text))) as server, session_of(server) as session:
        job = await session.wait_for("task_1")
    assert (job.extra["seed"], job.extra["nested"]) == (number, {"list": [number]})
    assert isinstance(job.extra["seed"], int)


@pytest.mark.parametrize(
    ("escaped", "expected"),
    [
        ("kite \\ud83d", "kite \ufffd"),
        ("\\uDC00 kite", "\ufffd kite"),
        ("\\ud83d\\ud83d\\ude00", "\ufffd\U0001f600"),
        ("\\\\ud83d", "\\ud83d"),
        ("\\ud83d\\ude00 \\n\\u0041", "\U0001f600 \nA"),
    ],
)
async def test_text_that_is_cut_within_a_character_is_readable(escaped: str, expected: str) -> None:
    """C24: half of a surrogate pair, as JavaScript leaves it, is replaced with and without orjson."""
    text = body(title="TITLE").replace("TITLE", escaped)
    async with plain_server(every(lambda: page(text))) as server, session_of(server) as session:
        job = await session.wait_for("task_1", timeout=10)
    assert job.extra["title"] == expected
    assert job.to_json().encode()


async def test_failed_job_without_code_keeps_its_reason() -> None:
    """C7: an error detail may lack its code."""
    text = body(status="failed", error={"message": "The picture is empty."})
    async with plain_server(every(lambda: page(text))) as server, session_of(server) as session:
        with pytest.raises(GenerationFailedError, match="The picture is empty"):
            await session.wait_for("task_1")


async def test_record_has_request_id() -> None:
    async with plain_server(every(lambda: page(body(), X_Request_Id="req_1"))) as server, session_of(server) as session:
        job = await session.wait_for("task_1")
        assert job.request_id == "req_1"
        assert job == Generation(**{name: getattr(job, name) for name in ("id", "status", "model", "result")})
    async with plain_server(every(lambda: page(body(requestId="req_2")))) as server, session_of(server) as session:
        assert (await session.wait_for("task_1")).request_id == "req_2"


LARGE = {
    "numbers": lambda: body(result={"urls": [5] * 800_000}),
    "objects": lambda: body(result={"urls": [{}] * 500_000}),
    "members": lambda: body(**{f"member_{number}": [] for number in range(80_000)}),
    "padding": lambda: body(padding="x" * 1_600_000),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE.keys())
async def test_large_record_is_not_read(make: Any) -> None:
    """S11: a generation has at most 1 MiB."""
    text = make()
    async with plain_server(every(lambda: page(text))) as server, session_of(server) as session:
        with pytest.raises(OutcomeUnknownError, match="longer than 1048576 bytes"):
            await session.submit("z-image", "A red kite")


@pytest.mark.parametrize("links", [[5] * 500_000, ["x", *[None] * 200_000], [[[]]] * 150_000, [{}] * 300_000])
def test_wrong_list_in_a_webhook_costs_milliseconds(links: list[Any]) -> None:
    """S11: reading stops at the first errors."""
    payload: dict[str, Any] = {
        "id": "evt_1",
        "type": "generation.succeeded",
        "data": {**SUCCEEDED, "result": {"urls": links}},
    }
    event = WebhookEvent(**payload)
    started = time.thread_time()
    job = event.generation
    assert time.thread_time() - started < 0.1
    assert job is not None
    assert job.succeeded


# --- webhook events ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {"created_at": 1_795_000_000},
        {"created_at": 1_795_000_000.25},
        {"created_at": "yesterday"},
        {"created_at": None, "api_version": 5},
        {"data": []},
        {"data": None},
        {"data": "text", "type": "generation.succeeded"},
    ],
)
def test_signed_event_with_odd_members_is_accepted(members: dict[str, Any]) -> None:
    """D9: only the id and the type are essential."""
    event = {"id": "evt_1", "type": "generation.succeeded", "generation": SUCCEEDED, **members}
    read = verify_event(event)
    assert (read.id, read.type) == ("evt_1", "generation.succeeded")
    assert read.generation is not None
    assert read.generation.urls == ("https://c.example/x.png",)


def test_unix_time_of_event_is_read() -> None:
    """D9"""
    created = verify_event({"id": "evt_1", "type": "ping", "created_at": 1_795_000_000}).created_at
    assert created is not None
    assert created.timestamp() == 1_795_000_000


@pytest.mark.parametrize(
    "members",
    [
        {"data": SUCCEEDED},
        {"data": {"object": SUCCEEDED}},
        {"data": {"generation": SUCCEEDED}},
        {"generation": SUCCEEDED},
        {"object": SUCCEEDED},
        {"object": "event", "generation": {"id": "task_1", "status": "succeeded", "result": SUCCEEDED["result"]}},
    ],
)
def test_generation_of_event_is_found(members: dict[str, Any]) -> None:
    """D9: in `data`, or at the top level."""
    job = verify_event({"id": "evt_1", "type": "generation.succeeded", **members}).generation
    assert job is not None
    assert job.urls == ("https://c.example/x.png",)


def test_other_object_is_no_generation() -> None:
    """D9"""
    endpoint = {"id": "whend_1", "status": "disabled"}
    assert verify_event({"id": "evt_1", "type": "endpoint.disabled", "data": {"object": endpoint}}).generation is None


@pytest.mark.parametrize("event", [{"type": "generation.succeeded"}, {"id": 5, "type": "x"}, []])
def test_event_without_id_is_refused(event: Any) -> None:
    """D9"""
    with pytest.raises(WebhookVerificationError):
        verify_event(event)


def verify_event(event: Any) -> WebhookEvent:
    return read_event(json.dumps(event).encode())


# --- requests ---------------------------------------------------------------------------------------------------------


async def test_param_outside_of_json_is_named() -> None:
    """C17"""
    async with plain_server() as server, session_of(server) as session:
        for params, shown in (
            ({"a": {1}}, "params.a: this set"),
            ({"a": [{"b": b""}]}, r"params.a\[0\].b: this bytes"),
        ):
            with pytest.raises(ConfigurationError, match=shown):
                await session.submit("z-image", "A red kite", params=params)
        assert server.requests == []


@pytest.mark.parametrize("model", ["", " ", "\t\n", None, 5])
async def test_blank_model_is_not_sent(model: Any) -> None:
    """C23"""
    async with plain_server() as server, session_of(server) as session:
        with pytest.raises(ConfigurationError, match="model must be"):
            await session.submit(model, "A red kite")
        assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("n", "", ["generation.succeeded"]), "url is blank"),
        ((" ", "https://h.example/x", ["generation.succeeded"]), "name is blank"),
        (("n", "https://h.example/x", []), "event_types"),
        (("n", "https://h.example/x", [""]), "event_types"),
        (("n", None, ["generation.succeeded"]), "url must be a string"),
    ],
)
async def test_blank_webhook_is_not_sent(arguments: Any, shown: str) -> None:
    """C23"""
    async with plain_server() as server, session_of(server) as session:
        with pytest.raises(ConfigurationError, match=shown):
            await session.webhooks.create(*arguments)
        assert server.requests == []


KLING = {"id": "kling-2-6", "params": [{"key": "duration", "type": "select", "options": ["5", "10"]}]}


def refusing_service(request: ReceivedRequest) -> web.Response:
    """Answers with a catalogue, and refuses every purchase as another service would."""
    if request.method == "GET":
        return as_json({"data": [{"id": "z-image"}, KLING]})
    return as_json({"detail": "it is unknown"}, 404 if b"zimage" in request.body else 422)


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize(
    ("model", "params", "nearest"),
    [
        ("zimage", {}, "did you mean 'z-image'"),
        ("kling-2-6", {"duratoin": "5"}, "did you mean 'duration'"),
        ("kling-2-6", {"duration": "11"}, "there are 5, 10"),
        ("z-image", {}, None),
    ],
)
async def test_refusal_names_the_nearest(model: str, params: Any, nearest: str | None, *, is_read: bool) -> None:
    """N10: also without a check, by the packaged catalogue if none was read; nothing is read for it."""
    async with plain_server(refusing_service) as server, session_of(server) as session:
        if is_read:
            await session.models.list()
        with pytest.raises(APIStatusError) as refused:
            await session.submit(model, "A red kite", params=params)
        assert str(refused.value).startswith("it is unknown [4")
        assert (nearest or "it is unknown") in str(refused.value)
        assert ("catalogue" in str(refused.value)) is (nearest is not None)
        assert refused.value.args == (str(refused.value),)
        assert [request.method for request in server.requests] == ["GET"] * is_read + ["POST"]
