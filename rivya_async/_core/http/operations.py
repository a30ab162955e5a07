"""Operations of the API: the request for arguments, and the record for a response."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

import attrs

from .. import idempotency
from ..catalogue.model import ModelList
from ..errors import ConfigurationError, ResponseDecodeError
from ..files.media_type import KINDS
from ..types.generations import Credits, File, Generation
from ..types.purchase_cost import GENERATIONS_PATH
from . import serialization
from .messages import Request, Response
from .serialization import parse_open_generation

if TYPE_CHECKING:
    from ..generation_request import GenerationRequest

T = TypeVar("T")


@attrs.frozen
class Operation(Generic[T]):
    """Request with the decoder of its response."""

    request: Request
    decode: Callable[[Response], T] = attrs.field(repr=False)


def create_generation(job: GenerationRequest, key: str | None = None) -> Operation[Generation]:
    """Returns `POST /api/v1/generations` (contract section 6): a purchase under `key`, or under a key added later."""
    key = None if key is None else idempotency.validate_key(key)
    request = Request("POST", GENERATIONS_PATH, body=serialization.encode_json(job.to_wire()), idempotency_key=key)
    return Operation(request, read_generation)


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
    if not _is_id(task_id):
        raise ConfigurationError(f"{task_id!r} is not a task id: pass the `id` of a Generation")
    return Request("GET", f"{GENERATIONS_PATH}/{quote(task_id, safe='')}")


def _decode_poll(task_id: str, cached: CachedPollResponse | None, response: Response) -> CachedPollResponse:
    body_hash = hash(response.body)  # salted 64 bits: the body would need a third of a KiB for each job
    if cached is not None and cached.body_hash == body_hash:
        return cached
    return CachedPollResponse(_decode_requested_generation(task_id, response), body_hash)


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
    """Returns `POST /api/v1/files` (contract section 8), which is free and accepts no documented idempotency key.

    `kind` is used if the response has none.
    """

    def read_created_file(response: Response) -> File:
        file = read_file(response)
        return file if file.kind else attrs.evolve(file, kind=kind)

    return Operation(Request("POST", "/api/v1/files"), read_created_file)


def retrieve_file(file_id: str) -> Operation[File]:
    """Returns `GET /api/v1/files/{fileId}` (contract section 8). Raises `ConfigurationError` for an invalid id."""
    if not _is_id(file_id):
        raise ConfigurationError(f"{file_id!r} is not a file id: pass the `id` of a File")
    return Operation(Request("GET", f"/api/v1/files/{quote(file_id, safe='')}"), read_file)


def list_models() -> Operation[ModelList]:
    """Returns `GET /api/v1/models` (contract section 5): public, without an API key."""
    return Operation(Request("GET", "/api/v1/models", needs_api_key=False), read_models)


def retrieve_credits() -> Operation[Credits]:
    """Returns `GET /api/v1/credits` (contract section 9)."""
    return Operation(Request("GET", "/api/v1/credits"), read_credits)


def retrieve_openapi() -> Operation[dict[str, Any]]:
    """Returns `GET /api/v1/openapi.json` (contract section 12): public, without an API key."""
    return Operation(Request("GET", "/api/v1/openapi.json", needs_api_key=False), read_openapi)


def read_generation(response: Response) -> Generation:
    """Returns the generation of a 2xx response."""
    value = serialization.parse_json(response.body)
    return parse_open_generation(value) or serialization.structure(value, Generation)


def read_file(response: Response) -> File:
    """Returns the file of a 2xx response; its id is in `id` or `file_id`, by assumption [9]."""
    value = serialization.parse_json(response.body)
    if isinstance(value, dict) and "id" not in value and "file_id" in value:
        value = {"id": value["file_id"], **{name: member for name, member in value.items() if name != "file_id"}}
    file = serialization.structure(value, File)
    guessed = (file.mime_type or "").partition("/")[0]
    return file if file.kind or guessed not in KINDS else attrs.evolve(file, kind=guessed)


def read_models(response: Response) -> ModelList:
    """Returns the catalogue of a 2xx response."""
    return serialization.decode(response.body, ModelList)


def read_openapi(response: Response) -> dict[str, Any]:
    """Returns the OpenAPI document of a 2xx response unchanged; its content is not documented."""
    document = serialization.parse_json(response.body)
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise ResponseDecodeError("the response is not an OpenAPI document", path="$.paths", reason="no object")
    return document


def read_credits(response: Response) -> Credits:
    """Returns the balance of a 2xx response."""
    return serialization.decode(response.body, Credits)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip(". "))
