"""Requests for a generation, validated on construction, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import attrs

from . import assumptions
from .errors import ConfigurationError, GenerationFailedError
from .idempotency import attach_idempotency_key
from .public_module import set_public_module
from .types.generations import File, Generation, ReferenceMedia
from .types.record import Record


@runtime_checkable
class FilePath(Protocol):
    """Local path, such as a `pathlib.Path`."""

    def __fspath__(self) -> str:
        """Returns the path as text."""
        ...


Reference: TypeAlias = ReferenceMedia | File | FilePath | str
"""Reference of a job: an uploaded file, or the path of a local file to upload."""


def check_client_request_id(value: str | None) -> None:
    """Raises `ConfigurationError` for an invalid `client_request_id`."""
    limit = assumptions.CLIENT_REQUEST_ID_MAX_LENGTH
    if value is not None and (not isinstance(value, str) or not 1 <= len(value) <= limit):
        raise ConfigurationError(f"client_request_id must be a string of 1 to {limit} characters")


def _copy_params(params: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(params) if isinstance(params, Mapping) else params


def _copy_references(references: Sequence[Reference]) -> Sequence[Reference]:
    if isinstance(references, str | bytes) or not isinstance(references, Sequence):
        return references
    return tuple(references)


@attrs.frozen
class GenerationRequest(Record):
    """Request for a job. Keys of `params` belong to the model and are never renamed.

    The request keeps copies of `params` and `references`, so that a dictionary can be reused for the next job. Raises
    `ConfigurationError` for a request that is invalid for every model.

    >>> GenerationRequest("z-image", "A red kite", params={"aspect_ratio": "16:9"}).model
    'z-image'
    """

    # Paths are for code only: a request body must not name local files.
    _pydantic_types: ClassVar[Mapping[str, Any]] = {"references": tuple[File | ReferenceMedia, ...]}

    model: str
    """Id of the model, such as `z-image`."""
    prompt: str | None = None
    """Text of the prompt, for models that take one."""
    params: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, hash=False, converter=_copy_params)
    """Parameters of the model. Their keys are never renamed."""
    references: Sequence[Reference] = attrs.field(default=(), kw_only=True, hash=False, converter=_copy_references)
    """Uploaded files, or paths of local files that are uploaded before the purchase."""
    client_request_id: str | None = attrs.field(default=None, kw_only=True)
    """Your id of the job, of at most 128 characters."""
    idempotency_key: str | None = attrs.field(default=None, kw_only=True)
    """Key of the purchase; left out, one is created for each call."""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise ConfigurationError(f"model must be the id of a model, such as 'z-image', not {self.model!r}")
        if self.prompt is not None and not isinstance(self.prompt, str):
            raise ConfigurationError(f"prompt must be a string, not {type(self.prompt).__name__}")
        if not isinstance(self.params, Mapping):
            raise ConfigurationError(f"params must be a mapping, not {type(self.params).__name__}")
        if not all(isinstance(key, str) for key in self.params):
            raise ConfigurationError("the keys of params must be strings: they are sent unchanged")
        self._check_references()
        check_client_request_id(self.client_request_id)

    def _check_references(self) -> None:
        if not isinstance(self.references, tuple):
            raise ConfigurationError("references must be a list of ReferenceMedia, File or paths")
        for reference in self.references:
            _check_reference(reference)
        if self.references and "referenceMediaItems" in self.params:
            raise ConfigurationError("give references either as references=... or in params, not both")

    @property
    def paths(self) -> Sequence[FilePath | str]:
        """The references to local files: a session uploads them before it buys the job."""
        return [each for each in self.references if isinstance(each, FilePath | str)]

    def to_wire(self) -> dict[str, Any]:
        """Returns the body of the request, with the references in `params.referenceMediaItems`.

        Raises `ConfigurationError` for a local path: its upload has a URL.
        """
        params = dict(self.params)
        if self.references:
            params["referenceMediaItems"] = [_reference_item(reference) for reference in self.references]
        body: dict[str, Any] = {"model": self.model}
        if self.prompt is not None:
            body["prompt"] = self.prompt
        if params:
            body["params"] = params
        if self.client_request_id is not None:
            body["client_request_id"] = self.client_request_id
        return body


def build_request(
    model: str | GenerationRequest,
    prompt: str | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    references: Sequence[Reference] = (),
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Returns the request for the arguments of a submit: a `GenerationRequest`, or its parts."""
    if isinstance(model, GenerationRequest):
        job = model if idempotency_key is None else attrs.evolve(model, idempotency_key=idempotency_key)
        if prompt is not None or params is not None or references or client_request_id is not None:
            raise ConfigurationError(
                "give either a GenerationRequest or its parts: it can only be combined with idempotency_key",
                idempotency_key=job.idempotency_key,
            )
        return job
    with attach_idempotency_key(idempotency_key):
        return GenerationRequest(
            model,
            prompt,
            params={} if params is None else params,
            references=references,
            client_request_id=client_request_id,
            idempotency_key=idempotency_key,
        )


def _check_reference(reference: object) -> None:
    if isinstance(reference, str) and "://" in reference:
        raise ConfigurationError(
            f"a reference by URL needs its kind: ReferenceMedia({reference.partition('?')[0]!r}, kind=...)"
        )
    if not reference or not isinstance(reference, ReferenceMedia | File | FilePath | str):
        shown = repr(reference) if isinstance(reference, str) else type(reference).__name__
        raise ConfigurationError(f"a reference must be a path, a File or a ReferenceMedia, not {shown}")


def _reference_item(reference: Reference) -> dict[str, Any]:
    if isinstance(reference, File):
        reference = reference.as_reference()
    if not isinstance(reference, ReferenceMedia):
        raise ConfigurationError(f"{reference} has not been uploaded: submit the job through a session")
    return reference.to_wire()


@attrs.frozen
class Outcome(Record):
    """Outcome of one request of `map`: a record, an error, or both if the service failed the job."""

    request: GenerationRequest
    """The request."""
    generation: Generation | None = None
    """Last record of the bought job, also if the wait failed; None if nothing was bought."""
    error: Exception | None = None
    """Error of the job; None if it succeeded."""

    @property
    def ok(self) -> bool:
        """True if the job succeeded."""
        return self.error is None

    def unwrap(self) -> Generation:
        """Returns the succeeded record, or raises the error."""
        if self.error is not None:
            raise self.error
        if self.generation is None:
            raise ConfigurationError("this outcome has neither a record nor an error")
        return self.generation


def raise_if_failed(generation: Generation) -> Generation:
    """Returns the record, or raises `GenerationFailedError` for a failed job."""
    if generation.failed:
        error = generation.error
        reason = f"{error.code}: {error.message}".strip(".: ") if error is not None else ""
        raise GenerationFailedError(
            f"the service ended {generation.id} ({generation.model}) as failed: {reason or 'no reason given'}. "
            "A new submit is a new purchase; the reserved credits of a failed job return to the balance.",
            task_id=generation.id,
            last=generation,
        )
    return generation


set_public_module("rivya_async", GenerationRequest, Outcome)
