"""Operations of the webhook API: requests and records."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import pytest

from rivya_async._core.errors import (
    APIDisabledError,
    APIStatusError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    OutcomeUnknownError,
    RateLimitError,
    RequestNotSentError,
    ResponseDecodeError,
    RivyaError,
)
from rivya_async._core.http.messages import Request, Response
from rivya_async._core.http.retry import definitely_not_processed
from rivya_async._core.webhooks import operations as endpoints
from rivya_async._core.webhooks.records import WebhookDelivery, WebhookEndpoint, WebhookEvent

ENDPOINT: Final = {
    "id": "whend_5",
    "object": "webhook_endpoint",
    "name": "Prod",
    "url": "https://hooks.example.org/rivya",
    "event_types": ["generation.succeeded", "generation.failed"],
    "status": "active",
    "secret_preview": "whsec_a1...9f00c2",
    "signing_secret": "whsec_a1b2c3",
    "last_success_at": None,
    "last_failure_at": None,
    "failure_count": 0,
    "created_at": "2026-05-11T08:00:00.000Z",
    "updated_at": "2026-05-11T08:00:00.000Z",
    "disabled_at": None,
    "revoked_at": None,
}
"""Documented response to a create."""

GENERATION: Final = {"id": "task_1", "status": "succeeded", "model": "z-image"}


def response(body: Any) -> Response:
    return Response(200, {}, json.dumps(body).encode())


def sent(request: Request) -> tuple[str, str, Any]:
    return request.method, request.path, None if request.body is None else json.loads(request.body)


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            endpoints.create_webhook("Prod", "https://a.example", ("generation.failed",)).request,
            ("POST", "", {"name": "Prod", "url": "https://a.example", "event_types": ["generation.failed"]}),
        ),
        (endpoints.list_webhooks().request, ("GET", "", None)),
        (endpoints.list_webhooks(5).request, ("GET", "?limit=5", None)),
        (endpoints.retrieve_webhook("a/b").request, ("GET", "/a%2Fb", None)),
        (endpoints.update_webhook("w", status="disabled", name=None).request, ("PATCH", "/w", {"status": "disabled"})),
        (endpoints.update_webhook("w", event_types=["x"]).request, ("PATCH", "/w", {"event_types": ["x"]})),
        (endpoints.delete_webhook("w").request, ("DELETE", "/w", None)),
        (endpoints.rotate_secret("w").request, ("POST", "/w/rotate-secret", None)),
        (endpoints.test_webhook("w").request, ("POST", "/w/test", None)),
        (endpoints.list_deliveries("w", 7).request, ("GET", "/w/deliveries?limit=7", None)),
    ],
)
def test_requests(request_: Request, expected: tuple[str, str, Any]) -> None:
    method, path, body = expected
    assert sent(request_) == (method, f"/api/v1/webhooks{path}", body)


def test_events_have_own_path() -> None:
    assert sent(endpoints.list_events(3).request) == ("GET", "/api/v1/webhook-events?limit=3", None)


@pytest.mark.parametrize(
    ("request_", "is_repeatable"),
    [
        (endpoints.create_webhook("a", "b", ["c"]).request, False),
        (endpoints.rotate_secret("w").request, False),
        (endpoints.test_webhook("w").request, False),
        (endpoints.update_webhook("w", name="a").request, True),
        (endpoints.delete_webhook("w").request, True),
        (endpoints.list_webhooks().request, True),
    ],
)
def test_repeatability_depends_on_method(request_: Request, is_repeatable: bool) -> None:
    assert request_.is_repeatable is is_repeatable


@pytest.mark.parametrize(
    "make",
    [
        lambda: endpoints.create_webhook(None, "b", ["c"]),  # type: ignore[arg-type]
        lambda: endpoints.create_webhook("a", 5, ["c"]),  # type: ignore[arg-type]
        lambda: endpoints.create_webhook("a", "b", "generation.failed"),
        lambda: endpoints.create_webhook("a", "b", None),  # type: ignore[arg-type]
        lambda: endpoints.create_webhook("a", "b", []),
        lambda: endpoints.create_webhook("a", "b", [5]),  # type: ignore[list-item]
        lambda: endpoints.create_webhook("a", "b", 5),  # type: ignore[arg-type]
        lambda: endpoints.create_webhook(" ", "b", ["c"]),
        lambda: endpoints.create_webhook("a", "", ["c"]),
        lambda: endpoints.create_webhook("a", "b", [""]),
        lambda: endpoints.update_webhook("w"),
        lambda: endpoints.update_webhook("w", other=" "),
        lambda: endpoints.update_webhook("w", status=True),
        lambda: endpoints.update_webhook("w", event_types=[]),
        lambda: endpoints.retrieve_webhook(""),
        lambda: endpoints.retrieve_webhook(".."),
        lambda: endpoints.retrieve_webhook("a\nb"),
        lambda: endpoints.retrieve_webhook(None),  # type: ignore[arg-type]
        lambda: endpoints.list_webhooks(0),
        lambda: endpoints.list_webhooks(True),
        lambda: endpoints.list_events("5"),  # type: ignore[arg-type]
    ],
)
def test_rejects_invalid_arguments(make: Any) -> None:
    with pytest.raises(ConfigurationError):
        make()


JOB = {"id": "task_1", "status": "succeeded", "model": "z-image"}


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (WebhookEvent("e", "generation.failed", data=JOB), True),
        (WebhookEvent("e", "job.done", data={"object": JOB}), True),
        (WebhookEvent("e", "", data={"generation": JOB}), True),
        (WebhookEvent("e", "", extra={"generation": JOB}), True),
        (WebhookEvent("e", "", extra={"object": JOB}), True),
        (WebhookEvent("e", "generation.failed", data={"id": "task_1", "status": "failed"}), True),
        (WebhookEvent("e", "endpoint.disabled", data={"id": "whend_1", "status": "disabled"}), False),
        (WebhookEvent("e", "generation.failed", data={"status": "failed"}, extra={"object": "event"}), False),
    ],
)
def test_finds_job_of_event(event: WebhookEvent, found: bool) -> None:
    assert (event.generation is not None) is found


# --- responses --------------------------------------------------------------------------------------------------------


def test_reads_documented_response() -> None:
    endpoint = endpoints.create_webhook("a", "b", ["c"]).decode(response(ENDPOINT))
    assert endpoint.signing_secret == "whsec_a1b2c3"
    assert endpoint.created_at == datetime(2026, 5, 11, 8, tzinfo=UTC)
    assert endpoint.is_active
    assert endpoint.event_types == ("generation.succeeded", "generation.failed")
    assert not endpoint.extra
    assert pickle.loads(pickle.dumps(endpoint)) == attrs.evolve(endpoint, signing_secret=None)


def test_repr_omits_secret() -> None:
    endpoint = endpoints.create_webhook("a", "b", ["c"]).decode(response(ENDPOINT))
    assert "a1b2c3" not in repr(endpoint) + str(endpoint) + f"{endpoint}"


def test_secret_is_in_copies_and_not_in_pickles() -> None:
    endpoint = WebhookEndpoint("whend_1", name="Prod", signing_secret="whsec_c0ffee", extra={"mood": "calm"})
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        travelled = pickle.dumps(endpoint, protocol)
        assert b"c0ffee" not in travelled
        assert pickle.loads(travelled) == attrs.evolve(endpoint, signing_secret=None)
    for copied in (copy.copy(endpoint), copy.deepcopy(endpoint), attrs.evolve(endpoint, name="Other")):
        assert copied.signing_secret == "whsec_c0ffee"


def test_reads_minimal_responses() -> None:
    bare = endpoints.list_webhooks().decode(response({"data": [{"id": "w", "event_types": None, "mood": 1}]}))
    assert bare == (WebhookEndpoint(id="w", extra={"mood": 1}),)
    assert endpoints.list_deliveries("w").decode(response({"data": [{"id": "d"}]})) == (WebhookDelivery("d"),)
    assert endpoints.list_events().decode(response({"data": [{"id": "e", "data": None}]})) == (WebhookEvent("e"),)
    assert endpoints.test_webhook("w").decode(response({"id": "d", "status": "succeeded"})).succeeded
    assert not WebhookDelivery("d").succeeded


@pytest.mark.parametrize(
    "decode",
    [
        endpoints.retrieve_webhook("w").decode,
        endpoints.update_webhook("w", name="a").decode,
        endpoints.delete_webhook("w").decode,
        endpoints.rotate_secret("w").decode,
    ],
)
def test_rejects_response_for_other_endpoint(decode: Any) -> None:
    with pytest.raises(ResponseDecodeError, match="when asked for w") as raised:
        decode(response(ENDPOINT))
    assert "a1b2c3" not in str(raised.value)
    assert decode(response({**ENDPOINT, "id": "w"})).id == "w"


def test_reads_empty_response_to_delete() -> None:
    assert endpoints.delete_webhook("w").decode(Response(204, {}, b"")) == WebhookEndpoint("w", status="revoked")


@pytest.mark.parametrize("data", [GENERATION, {"object": GENERATION}, {"generation": GENERATION}])
def test_generation_of_event(data: dict[str, Any]) -> None:
    event = WebhookEvent("evt_1", "generation.succeeded", data=data)
    assert event.generation is not None
    assert (event.generation.id, event.generation.succeeded) == ("task_1", True)
    assert hash(event) == hash(WebhookEvent("evt_1", "generation.succeeded"))


@pytest.mark.parametrize("data", [{}, {"object": "generation"}, {"status": "succeeded"}, {"generation": {"status": 5}}])
def test_event_without_readable_generation(data: dict[str, Any]) -> None:
    assert WebhookEvent("evt_1", data=data).generation is None


@pytest.mark.parametrize(
    ("error", "did_not"),
    [
        (RequestNotSentError("no route"), True),
        (RateLimitError("slow down", status=429), True),
        (APIDisabledError("off", status=503), True),
        (APIStatusError("too early", status=425), True),
        (APIStatusError("time-out", status=408), False),
        (InternalServerError("oops", status=500), False),
        (OutcomeUnknownError("no answer"), False),
        (BadRequestError("no", status=400), False),
    ],
)
def test_definitely_not_processed(error: RivyaError, did_not: bool) -> None:
    """Only these errors allow a repeat without a key."""
    assert definitely_not_processed(error) is did_not


def test_decode_error_has_no_frame_with_the_secret() -> None:
    with pytest.raises(ResponseDecodeError) as raised:
        endpoints.create_webhook("a", "https://a.example", ["generation.succeeded"]).decode(
            response({"id": 1, "signing_secret": "whsec_1"})
        )
    frames = list(traceback.walk_tb(raised.value.__traceback__))
    assert all("whsec_1" not in repr(frame.f_locals.get("value")) for frame, _ in frames)
    assert raised.value.__cause__ is None
