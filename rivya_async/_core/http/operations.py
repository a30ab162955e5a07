"""Operations of the API: the request for arguments, and the record for a response."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeGuard, TypeVar
from urllib.parse import quote

import attrs

from ..catalogue.model import ModelList
from ..errors import ConfigurationError, ResponseDecodeError
from ..files.media_type import KINDS
from ..types.generations import Credits, File, Generation
from ..types.purchase_cost import GENERATIONS_PATH
from . import serialization
from .messages import Request, Response
from .serialization import parse_usual_generation

if TYPE_CHECKING:
    from ..generation_request import GenerationRequest

T = TypeVar("T")

FILES_PATH: Final = "/api/v1/files"

MAX_GENERATION_BYTES: Final = 1024 * 1024
"""Maximum size of the record of a generation in bytes."""


@attrs.frozen
class Operation(Generic[T]):
    """Request with the decoder of its response."""

    request: Request
    decode: Callable[[Response], T] = attrs.field(repr=False)


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_HasId)

PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
"""An id that is its own path segment, as all known ids are."""


def record_decoder(record: type[T]) -> Callable[[Response], T]:
    """Returns the decoder of responses that are one record."""
    return lambda response: serialization.decode(response.body, record)


def list_request(path: str, limit: int | None) -> Request:
    """Returns the request of a list. Raises `ConfigurationError` for an invalid limit."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ConfigurationError(f"limit must be a whole number from 1 on, or None, not {limit!r}")
    return Request("GET", path if limit is None else f"{path}?limit={limit}")


def object_path(path: str, object_id: object, name: str, source: str) -> str:
    """Returns the path of an object with the id as its last segment. Raises `ConfigurationError` for an invalid id."""
    if isinstance(object_id, str) and PLAIN_ID.fullmatch(object_id):
        return f"{path}/{object_id}"  # saves 3 us per poll
    if not _is_object_id(object_id):
        raise ConfigurationError(f"{object_id!r:.80} is not {name}: pass the {source}")
    return f"{path}/{quote(object_id, safe='')}"


def _is_object_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.isprintable() and bool(value.strip(". "))


def require_id(record: R, object_id: str, name: str) -> R:
    """Returns the record, or raises `ResponseDecodeError` if it has another id."""
    if record.id != object_id:
        raise ResponseDecodeError(
            f"the service answered with the {name} {record.id} when asked for {object_id}",
            path="$.id",
            reason=f"another {name} than the one asked for",
        )
    return record


def create_generation(job: GenerationRequest, key: str) -> Operation[tuple[Generation, Mapping[str, str]]]:
    """Returns `POST /api/v1/generations` (contract section 6): a purchase under `key`.

    The result is the job with the headers of the response, by which a replay is recognized.
    """
    request = Request(
        "POST",
        GENERATIONS_PATH,
        body=serialization.encode_json(job.to_wire()),
        idempotency_key=key,
        max_response_bytes=MAX_GENERATION_BYTES,
    )
    return Operation(request, _read_purchased_generation)


def _read_purchased_generation(response: Response) -> tuple[Generation, Mapping[str, str]]:
    """Returns the purchased job. Without a usable id it could not be waited for: the outcome is unknown."""
    generation = read_generation(response)
    if not _is_object_id(generation.id):
        raise ResponseDecodeError(
            f"the service answered a purchase with the task id {generation.id!r:.80}",
            path="$.id",
            reason="not an id",
        )
    return generation, response.headers


def retrieve_generation(task_id: str) -> Operation[Generation]:
    """Returns `GET /api/v1/generations/{taskId}` (contract section 7). Raises `ConfigurationError` for a bad id."""
    return Operation(_retrieve_request(task_id), partial(_decode_requested_generation, task_id))


@attrs.frozen
class CachedPollResponse:
    """Decoded response to a poll, with a hash of its body to recognize an equal response."""

    generation: Generation
    body_hash: int


def poll_generation(task_id: str, cached: CachedPollResponse | None) -> Operation[CachedPollResponse]:
    """Returns the operation of a poll: a response equal to `cached` is not decoded again, which saves 17 us."""
    return Operation(_retrieve_request(task_id), partial(_decode_poll, task_id, cached))


def _retrieve_request(task_id: str) -> Request:
    path = object_path(GENERATIONS_PATH, task_id, "a task id", "`id` of a Generation")
    return Request("GET", path, max_response_bytes=MAX_GENERATION_BYTES)


def _decode_poll(task_id: str, cached: CachedPollResponse | None, response: Response) -> CachedPollResponse:
    body_hash = hash(response.body)  # salted 64 bits: the body would need a third of a KiB for each job
    if cached is not None and cached.body_hash == body_hash:
        return cached
    return CachedPollResponse(_decode_requested_generation(task_id, response), body_hash)


def _decode_requested_generation(task_id: str, response: Response) -> Generation:
    return require_id(read_generation(response), task_id, "task")


def create_file(kind: str) -> Operation[File]:
    """Returns `POST /api/v1/files` (contract section 8), which is free and accepts no documented idempotency key.

    `kind` is used if the response has none.
    """

    def read_created_file(response: Response) -> File:
        file = read_file(response)
        return file if file.kind else attrs.evolve(file, kind=kind)

    return Operation(Request("POST", FILES_PATH), read_created_file)


def retrieve_file(file_id: str) -> Operation[File]:
    """Returns `GET /api/v1/files/{fileId}` (contract section 8). Raises `ConfigurationError` for an invalid id."""
    return Operation(Request("GET", object_path(FILES_PATH, file_id, "a file id", "`id` of a File")), read_file)


def list_models() -> Operation[ModelList]:
    """Returns `GET /api/v1/models` (contract section 5): public, without an API key."""
    return Operation(Request("GET", "/api/v1/models", needs_api_key=False), record_decoder(ModelList))


def retrieve_credits() -> Operation[Credits]:
    """Returns `GET /api/v1/credits` (contract section 9)."""
    return Operation(Request("GET", "/api/v1/credits"), record_decoder(Credits))


def retrieve_openapi() -> Operation[dict[str, Any]]:
    """Returns `GET /api/v1/openapi.json` (contract section 12): public, without an API key."""
    return Operation(Request("GET", "/api/v1/openapi.json", needs_api_key=False), read_openapi)


def read_generation(response: Response) -> Generation:
    """Returns the generation of a 2xx response."""
    value = serialization.parse_json(response.body)
    request_id = response.request_id
    generation = parse_usual_generation(value, request_id)
    if generation is not None:
        return generation
    generation = serialization.structure(value, Generation)
    request_id = request_id or generation.extra.get("requestId")
    return generation if not isinstance(request_id, str) else attrs.evolve(generation, request_id=request_id)


def read_file(response: Response) -> File:
    """Returns the file of a 2xx response; its id is in `id` or `file_id`, by assumption [9]."""
    value = serialization.parse_json(response.body)
    if isinstance(value, dict) and "id" not in value and "file_id" in value:
        value = {"id": value["file_id"], **{name: member for name, member in value.items() if name != "file_id"}}
    file = serialization.structure(value, File)
    guessed = (file.mime_type or "").partition("/")[0]
    return file if file.kind or guessed not in KINDS else attrs.evolve(file, kind=guessed)


def read_openapi(response: Response) -> dict[str, Any]:
    """Returns the OpenAPI document of a 2xx response unchanged; its content is not documented."""
    document = serialization.parse_json(response.body)
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise ResponseDecodeError("the response is not an OpenAPI document", path="$.paths", reason="no object")
    return document
