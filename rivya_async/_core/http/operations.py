"""Per operation of the API: arguments to a request, an answer to a record or an error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

import attrs

from ..catalogue.model import ModelList
from ..errors import APIStatusError, ConfigurationError, ResponseDecodeError, status_error_class
from ..files.media_type import KINDS
from ..types.generations import Credits, File, Generation
from ..types.purchase_cost import GENERATIONS_PATH
from . import idempotency, serialization
from .messages import Request, Response
from .serialization import parse_open_generation

if TYPE_CHECKING:
    from ..generation_request import GenerationRequest

T = TypeVar("T")


@attrs.frozen
class Operation(Generic[T]):
    """A request, and how to read the answer to it."""

    request: Request
    decode: Callable[[Response], T] = attrs.field(repr=False)


def create_generation(job: GenerationRequest, key: str | None = None) -> Operation[Generation]:
    """`POST /api/v1/generations`, contract section 6: a purchase under `key`, or under one that the caller mints."""
    key = None if key is None else idempotency.validate_key(key)
    request = Request("POST", GENERATIONS_PATH, body=serialization.encode_json(job.to_wire()), idempotency_key=key)
    return Operation(request, read_generation)


def retrieve_generation(task_id: str) -> Operation[Generation]:
    """`GET /api/v1/generations/{taskId}`, contract section 7. Raises `ConfigurationError` for what is no task id."""
    return Operation(_retrieve_request(task_id), partial(_decode_requested_generation, task_id))


@attrs.frozen
class CachedPollResponse:
    """What an answer told of a job, and a mark by which the same answer is known again."""

    generation: Generation
    body_hash: int


def poll_generation(task_id: str, seen: CachedPollResponse | None) -> Operation[CachedPollResponse]:
    """`retrieve_generation` for one who has `seen` the answer before: the same one is not read again. Saves 17 us."""
    return Operation(_retrieve_request(task_id), partial(_decode_poll, task_id, seen))


def _retrieve_request(task_id: str) -> Request:
    if not _is_id(task_id):
        raise ConfigurationError(f"{task_id!r} is not a task id: pass the `id` of a Generation")
    return Request("GET", f"{GENERATIONS_PATH}/{quote(task_id, safe='')}")


def _decode_poll(task_id: str, seen: CachedPollResponse | None, response: Response) -> CachedPollResponse:
    mark = hash(response.body)  # 64 bits, salted: the answer itself would be a third of a KiB for each job
    return (
        seen
        if seen is not None and seen.body_hash == mark
        else CachedPollResponse(_decode_requested_generation(task_id, response), mark)
    )


def _decode_requested_generation(task_id: str, response: Response) -> Generation:
    generation = read_generation(response)
    if generation.id != task_id:
        raise ResponseDecodeError(
            f"the service answered with the task {generation.id} when asked for {task_id}",
            path="$.id",
            reason="another task than the one asked for",
        )
    return generation


def create_file(kind: str) -> Operation[File]:
    """`POST /api/v1/files`, contract section 8. It buys nothing, and the API names no idempotency key for it.

    What the answer leaves out of the kind is what was asked for.
    """

    def read_created_file(response: Response) -> File:
        file = read_file(response)
        return file if file.kind else attrs.evolve(file, kind=kind)

    return Operation(Request("POST", "/api/v1/files"), read_created_file)


def retrieve_file(file_id: str) -> Operation[File]:
    """`GET /api/v1/files/{fileId}`, contract section 8. Raises `ConfigurationError` for what is no file id."""
    if not _is_id(file_id):
        raise ConfigurationError(f"{file_id!r} is not a file id: pass the `id` of a File")
    return Operation(Request("GET", f"/api/v1/files/{quote(file_id, safe='')}"), read_file)


def list_models() -> Operation[ModelList]:
    """`GET /api/v1/models`, contract section 5: public, no key."""
    return Operation(Request("GET", "/api/v1/models", needs_api_key=False), read_models)


def retrieve_credits() -> Operation[Credits]:
    """`GET /api/v1/credits`, contract section 9."""
    return Operation(Request("GET", "/api/v1/credits"), read_credits)


def retrieve_openapi() -> Operation[dict[str, Any]]:
    """`GET /api/v1/openapi.json`, contract section 12: public, no key."""
    return Operation(Request("GET", "/api/v1/openapi.json", needs_api_key=False), read_openapi)


def read_generation(response: Response) -> Generation:
    """A generation out of a 2xx answer."""
    value = serialization.parse_json(response.body)
    return parse_open_generation(value) or serialization.structure(value, Generation)


def read_file(response: Response) -> File:
    """A file out of a 2xx answer; whether its id is called `id` or `file_id` is an assumption [9]."""
    value = serialization.parse_json(response.body)
    if isinstance(value, dict) and "id" not in value and "file_id" in value:
        value = {"id": value["file_id"], **{name: member for name, member in value.items() if name != "file_id"}}
    file = serialization.structure(value, File)
    guessed = (file.mime_type or "").partition("/")[0]
    return file if file.kind or guessed not in KINDS else attrs.evolve(file, kind=guessed)


def read_models(response: Response) -> ModelList:
    """The catalogue out of a 2xx answer."""
    return serialization.decode(response.body, ModelList)


def read_openapi(response: Response) -> dict[str, Any]:
    """The OpenAPI document out of a 2xx answer, as it came; its content is not documented."""
    document = serialization.parse_json(response.body)
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise ResponseDecodeError("the answer is no OpenAPI document", path="$.paths", reason="no object")
    return document


def read_credits(response: Response) -> Credits:
    """The balance out of a 2xx answer."""
    return serialization.decode(response.body, Credits)


def read_error(response: Response, now: float) -> APIStatusError:
    """The error out of any answer but a 2xx, contract section 3. Copes with a proxy's page in place of the envelope."""
    told = _error_envelope(response.body)
    code = _nonempty_text(told.get("code"))
    kind = status_error_class(response.status, code)
    message = _nonempty_text(told.get("message")) or _default_message(response)
    advice = ADVICE_BY_CODE.get(code) or ADVICE.get(kind.__name__)
    return kind(
        f"{message} [{response.status} {code or 'without a code'}]" + (f" {advice}" if advice else ""),
        status=response.status,
        code=code,
        retry_after=response.retry_after(now),
        request_id=_nonempty_text(told.get("requestId")),
    )


ADVICE = {
    "APIDisabledError": "The service has switched its API off for now: try again later.",
    "IdempotencyConflictError": "Take a new idempotency key for a new job, or repeat the old job unchanged.",
    "InsufficientCreditsError": "Nothing was bought: top up the account, or choose a cheaper model.",
    "NotFoundError": "Check the id, and that it belongs to the account of this API key.",
    "RateLimitError": "Slow down: send fewer requests at once.",
    "PermissionDeniedError": "Make a new API key that has the scope.",
    "InternalServerError": "The service failed: try again later, a purchase under the same idempotency key.",
    "ChatSessionConflictError": "Begin a new chat session.",
    "AuthenticationError": "Check RIVYA_API_KEY: keys are made and revoked in the account settings.",
    "ValidationFailed": "Change the request: the service will refuse it again as it is.",
}
"""What to do next, by the name of the class."""

ADVICE_BY_CODE: dict[str | None, str] = {
    "webhook_url_rejected": "Give an https URL of a public host, without a user, a password and a fragment.",
}
"""The same where the code says more than the class."""


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip(". "))


def _error_envelope(body: bytes) -> dict[str, Any]:
    try:
        value = serialization.parse_json(body)
    except ResponseDecodeError:
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def _nonempty_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _default_message(response: Response) -> str:
    if response.is_redirect and response.location is not None:
        return f"the service redirects to {response.location}, which is not followed with a key: set base_url"
    return "the service answered without an error message"
