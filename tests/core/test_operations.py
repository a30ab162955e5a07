"""Operations of the API: requests, records and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.catalogue.model import Model, ModelList
from rivya_async._core.errors import (
    APIDisabledError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ChatSessionConflictError,
    ConfigurationError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
)
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.http import error_responses, operations
from rivya_async._core.http.messages import Request, Response
from rivya_async._core.types.generations import Credits, File, Generation, ReferenceMedia

NOW = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT."""


def response(body: Any, status: int = 200, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


PUBLIC_FILE = {
    "id": "file_1",
    "object": "file",
    "kind": "video",
    "url": "https://rivya.ai/f/1.mp4",
    "name": "1.mp4",
    "mime_type": "video/mp4",
    "size_bytes": 2120,
    "duration_seconds": 1.0,
    "duration_token": "dt_1",
    "model": None,
    "client_request_id": None,
    "created_at": "2026-05-11T08:00:00.000Z",
}


def test_reads_openapi_document() -> None:
    endpoint = operations.retrieve_openapi()
    assert (endpoint.request.method, endpoint.request.path) == ("GET", "/api/v1/openapi.json")
    assert not endpoint.request.needs_api_key
    assert endpoint.decode(response({"paths": {}, "new": 1})) == {"paths": {}, "new": 1}


@pytest.mark.parametrize("body", [[], None, "openapi", {}, {"paths": []}])
def test_rejects_invalid_openapi_document(body: Any) -> None:
    with pytest.raises(ResponseDecodeError):
        operations.retrieve_openapi().decode(response(body))


# --- requests ---------------------------------------------------------------------------------------------------------


def test_create_generation_request() -> None:
    job = GenerationRequest("z-image", "A red kite", params={"aspect_ratio": "16:9"})
    request = operations.create_generation(job, "order-42").request
    assert (request.method, request.path) == ("POST", "/api/v1/generations")
    assert request.idempotency_key == "order-42"
    assert request.needs_api_key
    assert request.body is not None
    assert json.loads(request.body) == {
        "model": "z-image",
        "prompt": "A red kite",
        "params": {"aspect_ratio": "16:9"},
    }


@pytest.mark.parametrize(
    "job",
    [
        GenerationRequest("m", params={"seed": float("nan")}),
        GenerationRequest("m", params={"seed": object()}),
        GenerationRequest("m", "\ud800"),
        GenerationRequest("m", references=[ReferenceMedia("u", "audio", duration_seconds=float("inf"))]),
    ],
)
def test_rejects_purchase_that_is_not_json(job: GenerationRequest) -> None:
    with pytest.raises(ConfigurationError, match="JSON"):
        operations.create_generation(job, "key-1")


@pytest.mark.parametrize(
    ("endpoint", "request_"),
    [
        (operations.list_models(), Request("GET", "/api/v1/models", needs_api_key=False)),
        (operations.retrieve_credits(), Request("GET", "/api/v1/credits")),
        (
            operations.retrieve_generation("task_ab12"),
            Request("GET", "/api/v1/generations/task_ab12", max_response_bytes=1024 * 1024),
        ),
    ],
)
def test_read_requests(endpoint: operations.Operation[Any], request_: Request) -> None:
    assert endpoint.request == request_


@pytest.mark.parametrize(
    ("task_id", "segment"),
    [
        ("task_ab12", "task_ab12"),
        ("0b5c-9.d~e", "0b5c-9.d~e"),
        ("a/b", "a%2Fb"),
        ("../credits", "..%2Fcredits"),
        ("a?b#c", "a%3Fb%23c"),
        ("a%2Fb", "a%252Fb"),
        ("a b", "a%20b"),
        ("漢", "%E6%BC%A2"),
    ],
)
def test_task_id_is_one_path_segment(task_id: str, segment: str) -> None:
    assert operations.retrieve_generation(task_id).request.path == f"/api/v1/generations/{segment}"


@pytest.mark.parametrize(
    "task_id",
    ["", ".", "..", "...", " ", ". .", "a\nb", "a\x00", "\ud800", None, 5, b"task_1", Generation("a", "b", "c")],
    ids=ascii,
)
def test_rejects_invalid_task_id(task_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a task id"):
        operations.retrieve_generation(task_id)


@given(st.text())
def test_task_id_never_leaves_its_path_segment(task_id: str) -> None:
    try:
        path = operations.retrieve_generation(task_id).request.path
    except ConfigurationError:
        return
    prefix, _, segment = path.rpartition("/")
    assert prefix == "/api/v1/generations"
    assert segment.strip(".")
    assert segment.isascii()
    assert not set(segment) & set("?# \r\n\\")


# --- responses --------------------------------------------------------------------------------------------------------

QUEUED = {
    "id": "task_1",
    "status": "queued",
    "model": "z-image",
    "reserved_credits": 1,
    "final_credits": 0,
    "created_at": "2026-05-11T08:00:00.000Z",
    "updated_at": "2026-05-11T08:00:00.000Z",
    "result": None,
    "error": None,
}
TASK = {"id": "task_1", "status": "queued", "model": "z-image", "reserved_credits": 1}


@pytest.mark.parametrize(
    ("endpoint", "body", "record"),
    [
        (
            operations.create_generation(GenerationRequest("z-image"), "key-1"),
            TASK,
            (Generation("task_1", "queued", "z-image", 1), {}),
        ),
        (operations.retrieve_generation("task_1"), TASK, Generation("task_1", "queued", "z-image", 1)),
        (
            operations.list_models(),
            {"object": "list", "data": [{"id": "z-image"}]},
            ModelList((Model("z-image"),), extra={"object": "list"}),
        ),
        (operations.retrieve_credits(), {"current_credits": 123}, Credits(123)),
    ],
)
def test_decodes_success_response(endpoint: operations.Operation[Any], body: Any, record: Any) -> None:
    assert endpoint.decode(response(body)) == record


def test_rejects_response_for_other_task() -> None:
    with pytest.raises(ResponseDecodeError, match=r"task task_1 when asked for task_2") as caught:
        operations.retrieve_generation("task_2").decode(response(TASK))
    assert caught.value.path == "$.id"


@pytest.mark.parametrize("task_id", ["", " ", "..", "task\n1"])
def test_rejects_purchase_without_usable_id(task_id: str) -> None:
    endpoint = operations.create_generation(GenerationRequest("z-image", "A red kite"), "order-42")
    with pytest.raises(ResponseDecodeError) as caught:
        endpoint.decode(response({"id": task_id, "status": "queued"}))
    assert caught.value.path == "$.id"


def test_equal_poll_response_is_not_decoded_again() -> None:
    first = operations.poll_generation("task_1", None).decode(response(TASK))
    assert first.generation == Generation("task_1", "queued", "z-image", 1)
    assert operations.poll_generation("task_1", first).decode(response(TASK)) is first
    ended = operations.poll_generation("task_1", first).decode(response(TASK | {"status": "succeeded"}))
    assert ended.generation.succeeded
    assert operations.poll_generation("task_1", ended).decode(response(TASK)) == first


def test_generation_has_request_id() -> None:
    read = operations.read_generation
    assert read(response(TASK, X_Request_Id="req_1")) == Generation("task_1", "queued", "z-image", 1)
    headers = {"X-Request-Id": "req_1"}
    for body in (TASK, QUEUED):
        assert read(Response(200, headers, json.dumps(body).encode())).request_id == "req_1"
    assert read(response({**TASK, "requestId": "req_2"})).request_id == "req_2"
    assert read(response({**TASK, "requestId": 5})).request_id is None
    assert read(Response(200, {"Request-Id": "req_3"}, json.dumps(QUEUED).encode())).request_id == "req_3"


def test_poll_is_read() -> None:
    poll, read = operations.poll_generation("task 1", None), operations.retrieve_generation("task 1")
    assert poll.request == read.request
    with pytest.raises(ResponseDecodeError, match="when asked for task 1"):
        poll.decode(response(TASK))
    with pytest.raises(ConfigurationError, match="not a task id"):
        operations.poll_generation("..", None)


def envelope(code: str | None, message: str | None = "Something is wrong.") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "requestId": "req_7f31c0"}}


@pytest.mark.parametrize(
    ("status", "code", "kind", "advice"),
    [
        (503, "public_api_disabled", APIDisabledError, "later"),
        (401, "api_key_missing", AuthenticationError, "RIVYA_API_KEY"),
        (401, "api_key_expired", AuthenticationError, "RIVYA_API_KEY"),
        (403, "api_scope_denied", PermissionDeniedError, "new API key"),
        (429, "rate_limited", RateLimitError, "fewer requests"),
        (400, "validation_failed", BadRequestError, "Change the request"),
        (404, "not_found", NotFoundError, "Check the id"),
        (409, "idempotency_conflict", IdempotencyConflictError, "new idempotency key"),
        (409, "chat_session_conflict", ChatSessionConflictError, "new chat session"),
        (402, "insufficient_credits", InsufficientCreditsError, "top up"),
        (500, "internal_error", InternalServerError, "later"),
        (418, "some_new_code", APIStatusError, ""),
    ],
)
def test_error_message_has_cause_and_advice(status: int, code: str, kind: type[APIStatusError], advice: str) -> None:
    error = error_responses.read_error(response(envelope(code), status), NOW)
    assert type(error) is kind
    assert (error.status, error.code, error.request_id, error.retry_after) == (status, code, "req_7f31c0", None)
    assert str(error).startswith(f"Something is wrong. [{status} {code}]")
    assert advice in str(error)


def test_every_error_class_has_advice() -> None:
    def subclasses(kind: type[APIStatusError]) -> set[type[APIStatusError]]:
        return set(kind.__subclasses__()).union(*map(subclasses, kind.__subclasses__()))

    assert set(error_responses.ADVICE) == subclasses(APIStatusError)


@given(st.binary(max_size=50), st.integers(300, 599))
def test_any_response_makes_an_error(body: bytes, status: int) -> None:
    error = error_responses.read_error(response(body, status), NOW)
    assert isinstance(error, APIStatusError)
    assert error.status == status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_error_names_redirect_target(status: int) -> None:
    error = error_responses.read_error(response(b"", status, Location="https://elsewhere.example/api"), NOW)
    assert "redirects to https://elsewhere.example/api" in str(error)
    assert "base_url" in str(error)


def test_ignores_location_without_redirect() -> None:
    error = error_responses.read_error(response(b"", 503, Location="https://status.example"), NOW)
    assert "redirect" not in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "Sun, 06 Nov 1994 08:50:07 GMT"}, 30.0),
        ({"Retry_After": "Sun, 06 Nov 1994 08:50:07 GMT", "Date": "Sun, 06 Nov 1994 08:50:00 GMT"}, 7.0),
        ({"Retry_After": "soon"}, None),
    ],
)
def test_error_has_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert error_responses.read_error(response(envelope("rate_limited"), 429, **headers), NOW).retry_after == seconds


# --- files ------------------------------------------------------------------------------------------------------------


def test_upload_has_no_idempotency_key() -> None:
    request = operations.create_file("image").request
    assert (request.method, request.path, request.idempotency_key) == ("POST", "/api/v1/files", None)
    assert request.needs_api_key


def test_reads_file() -> None:
    file = operations.read_file(response(PUBLIC_FILE))
    assert (file.id, file.kind, file.duration_token, file.size_bytes) == ("file_1", "video", "dt_1", 2120)
    assert file.created_at is not None
    assert file.extra == {"object": "file"}


def test_file_id_has_two_names() -> None:
    renamed = {"file_id": "file_1", **{name: value for name, value in PUBLIC_FILE.items() if name != "id"}}
    assert operations.read_file(response(renamed)) == operations.read_file(response(PUBLIC_FILE))
    both = operations.read_file(response({**PUBLIC_FILE, "file_id": "file_2"}))
    assert (both.id, both.extra["file_id"]) == ("file_1", "file_2")


def test_missing_kind_comes_from_argument_or_type() -> None:
    least = {"id": "file_1", "url": "https://rivya.ai/f/1"}
    assert operations.create_file("audio").decode(response(least)) == File("file_1", least["url"], "audio")
    assert operations.create_file("audio").decode(response(PUBLIC_FILE)).kind == "video"
    assert operations.read_file(response({**least, "mime_type": "image/png", "kind": None})).kind == "image"
    assert operations.read_file(response({**least, "mime_type": "application/pdf"})).kind == ""


@pytest.mark.parametrize("body", [[], {}, {"id": "file_1"}, {"file_id": 5, "url": "x"}, b"<html>"])
def test_rejects_invalid_file(body: Any) -> None:
    with pytest.raises(ResponseDecodeError):
        operations.read_file(response(body))


def test_retrieves_file_by_id() -> None:
    assert operations.retrieve_file("file_1/../x").request.path == "/api/v1/files/file_1%2F..%2Fx"
    for wrong in ("", "..", "a\n", None):
        with pytest.raises(ConfigurationError, match="is not a file id"):
            operations.retrieve_file(wrong)  # type: ignore[arg-type]
