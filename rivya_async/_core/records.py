"""What the API speaks of, as frozen values. No record knows a session: all can be compared, pickled and printed.

Members that the service adds later are kept in `extra`. Instants are aware UTC datetimes. The docstrings name the
section of the public contract in brackets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import attrs

from . import assumed
from .errors import ConfigurationError, GenerationFailed

Amount = int | float
"""A number of credits. The service documents whole numbers; a fraction is kept as it is."""


class Status(StrEnum):
    """The statuses that are documented [7]. A record may carry another string: it counts as open."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


TERMINAL: Final = frozenset({"succeeded", "failed"})


def _extra() -> Any:
    """Members that we do not know: part of what a record equals, not of its hash."""
    return attrs.field(factory=dict, hash=False, kw_only=True)


@attrs.frozen
class GenerationResult:
    """Where the files of a succeeded job are [7]. The links may expire: download soon."""

    primary_url: str
    urls: tuple[str, ...] = ()
    extra: Mapping[str, Any] = _extra()


@attrs.frozen
class GenerationError:
    """Why the service ended a job as failed [7]. `code` is an open string."""

    code: str
    message: str = ""
    extra: Mapping[str, Any] = _extra()


@attrs.frozen
class Generation:
    """One job, as the service described it at one moment [6, 7].

    `status` is an open string. `reserved_credits` are held from the start, `final_credits` are an ended job's charge.

    >>> Generation(id="task_1", status="some_new_status", model="z-image").is_terminal
    False
    """

    id: str
    status: str
    model: str
    reserved_credits: Amount = 0
    final_credits: Amount = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    result: GenerationResult | None = None
    error: GenerationError | None = None
    extra: Mapping[str, Any] = _extra()

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self.status in TERMINAL

    @property
    def succeeded(self) -> bool:
        """Whether the job has ended well."""
        return self.status == Status.SUCCEEDED

    @property
    def failed(self) -> bool:
        """Whether the service ended the job as failed."""
        return self.status == Status.FAILED

    @property
    def duration(self) -> timedelta | None:
        """From submit to the last change, by the server's clock; None where the service gave no times."""
        if self.created_at is None or self.updated_at is None:
            return None
        return self.updated_at - self.created_at

    @property
    def urls(self) -> tuple[str, ...]:
        """The result's links, the primary one first; empty unless the job succeeded."""
        if self.result is None:
            return ()
        return self.result.urls or (self.result.primary_url,)


@attrs.frozen
class ReferenceMedia:
    """A picture, video or sound that a job refers to [6]: the URL that the Files API returned, and its kind.

    >>> ReferenceMedia("https://rivya.ai/f/1.png", kind="image").to_wire()
    {'url': 'https://rivya.ai/f/1.png', 'kind': 'image'}
    """

    url: str
    kind: str
    name: str | None = None
    mime_type: str | None = None
    duration_seconds: float | None = None
    duration_token: str | None = attrs.field(default=None, repr=False)

    def to_wire(self) -> dict[str, Any]:
        """An item of `params.referenceMediaItems`, whose members alone are camelCase."""
        item = {
            "url": self.url,
            "kind": self.kind,
            "name": self.name,
            "mimeType": self.mime_type,
            "durationSeconds": self.duration_seconds,
            "durationToken": self.duration_token,
        }
        return {name: value for name, value in item.items() if value is not None}


@attrs.frozen
class GenerationRequest:
    """A job to buy [6]. Keys of `params` belong to the model and are never renamed.

    Raises `ConfigurationError` where it could not be a job for any model.

    >>> GenerationRequest("z-image", "A red kite", params={"aspect_ratio": "16:9"}).model
    'z-image'
    """

    model: str
    prompt: str | None = None
    params: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, hash=False)
    references: Sequence[ReferenceMedia] = attrs.field(default=(), kw_only=True, hash=False)
    client_request_id: str | None = attrs.field(default=None, kw_only=True)
    idempotency_key: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ConfigurationError(f"model must be the id of a model, such as 'z-image', not {self.model!r}")
        if self.prompt is not None and not isinstance(self.prompt, str):
            raise ConfigurationError(f"prompt must be a string, not {type(self.prompt).__name__}")
        if not isinstance(self.params, Mapping):
            raise ConfigurationError(f"params must be a mapping, not {type(self.params).__name__}")
        self._check_references()
        self._check_client_request_id()

    def _check_references(self) -> None:
        if isinstance(self.references, ReferenceMedia | str) or not isinstance(self.references, Sequence):
            raise ConfigurationError("references must be a list of ReferenceMedia")
        for reference in self.references:
            if not isinstance(reference, ReferenceMedia):
                raise ConfigurationError(
                    f"a reference must be a ReferenceMedia with a URL, not {type(reference).__name__}"
                )
        if self.references and "referenceMediaItems" in self.params:
            raise ConfigurationError("give references either as references=... or in params, not both")

    def _check_client_request_id(self) -> None:
        name = self.client_request_id
        if name is not None and (
            not isinstance(name, str) or not 1 <= len(name) <= assumed.CLIENT_REQUEST_ID_MAX_LENGTH
        ):
            raise ConfigurationError(
                f"client_request_id must be a string of 1 to {assumed.CLIENT_REQUEST_ID_MAX_LENGTH} characters"
            )

    def to_wire(self) -> dict[str, Any]:
        """The body of the request, with the references in `params.referenceMediaItems`."""
        params = dict(self.params)
        if self.references:
            params["referenceMediaItems"] = [reference.to_wire() for reference in self.references]
        body: dict[str, Any] = {"model": self.model}
        if self.prompt is not None:
            body["prompt"] = self.prompt
        if params:
            body["params"] = params
        if self.client_request_id is not None:
            body["client_request_id"] = self.client_request_id
        return body


@attrs.frozen
class Outcome:
    """How one request of `map` ended: with a record, with an error, or, where the service failed the job, with both."""

    request: GenerationRequest
    generation: Generation | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether the job succeeded."""
        return self.error is None

    def unwrap(self) -> Generation:
        """The succeeded record; raises the error otherwise."""
        if self.error is not None:
            raise self.error
        if self.generation is None:
            raise ConfigurationError("this outcome holds neither a record nor an error")
        return self.generation


@attrs.frozen
class ModelParam:
    """One parameter of a model [5]: `type` is `select`, `number`, `text` or `array`, all open strings."""

    key: str
    type: str
    required: bool = False
    default: Any = attrs.field(default=None, hash=False)
    min: Amount | None = None
    max: Amount | None = None
    step: Amount | None = None
    options: tuple[str, ...] = ()
    description: str = ""
    extra: Mapping[str, Any] = _extra()


@attrs.frozen
class Model:
    """A model of the catalogue [5]. Whatever the service leaves out or nulls is None or empty."""

    id: str
    display_name: str = ""
    category: str = ""
    runtime: str | None = None
    base_credits: Amount | None = None
    billing_type: str | None = None
    supported_modes: tuple[str, ...] = ()
    max_prompt_length: int | None = None
    reference_media: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    params: tuple[ModelParam, ...] = ()
    api_status: str | None = None
    api_input_status: str | None = None
    supported_api_inputs: tuple[str, ...] = ()
    requires_files_api: bool | None = None
    requires_upload_for_modes: tuple[str, ...] = ()
    url_input_supported: bool | None = None
    file_kinds: tuple[str, ...] = ()
    chat_capabilities: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    notices: tuple[Any, ...] = attrs.field(default=(), hash=False)
    extra: Mapping[str, Any] = _extra()

    @property
    def is_available(self) -> bool:
        """Whether the service lets it be called."""
        return self.api_status == "available"

    def param(self, key: str) -> ModelParam | None:
        """The parameter of this key, or None."""
        return next((param for param in self.params if param.key == key), None)


@attrs.frozen
class ModelList:
    """The whole catalogue, in the service's order [5]."""

    data: tuple[Model, ...]
    extra: Mapping[str, Any] = _extra()


@attrs.frozen
class Credits:
    """The balance of the account [9]; the same wallet as the web studio."""

    current_credits: Amount
    extra: Mapping[str, Any] = _extra()


def unwrapped(generation: Generation) -> Generation:
    """The record of an ended job, or `GenerationFailed` in its place."""
    if generation.failed:
        why = f"{generation.error.code}: {generation.error.message}" if generation.error else "no reason given"
        raise GenerationFailed(
            f"the service ended {generation.id} ({generation.model}) as failed: {why}. "
            "A new submit is a new purchase; what a failed job held goes back to the balance.",
            task_id=generation.id,
            last=generation,
        )
    return generation
