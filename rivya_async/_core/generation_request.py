"""What a purchase asks for, checked when it is made: nothing wrong travels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from . import assumed
from .errors import ConfigurationError
from .records import ReferenceMedia


def _own_params(params: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(params) if isinstance(params, Mapping) else params


def _own_references(references: Sequence[ReferenceMedia]) -> Sequence[ReferenceMedia]:
    return tuple(references) if isinstance(references, list) else references


@attrs.frozen
class GenerationRequest:
    """A job to buy [6]. Keys of `params` belong to the model and are never renamed.

    Keeps copies of `params` and `references`: filling one dictionary anew for the next job does not change this one.
    Raises `ConfigurationError` where it could not be a job for any model.

    >>> GenerationRequest("z-image", "A red kite", params={"aspect_ratio": "16:9"}).model
    'z-image'
    """

    model: str
    prompt: str | None = None
    params: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, hash=False, converter=_own_params)
    references: Sequence[ReferenceMedia] = attrs.field(default=(), kw_only=True, hash=False, converter=_own_references)
    client_request_id: str | None = attrs.field(default=None, kw_only=True)
    idempotency_key: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ConfigurationError(f"model must be the id of a model, such as 'z-image', not {self.model!r}")
        if self.prompt is not None and not isinstance(self.prompt, str):
            raise ConfigurationError(f"prompt must be a string, not {type(self.prompt).__name__}")
        if not isinstance(self.params, Mapping):
            raise ConfigurationError(f"params must be a mapping, not {type(self.params).__name__}")
        if not all(isinstance(key, str) for key in self.params):
            raise ConfigurationError("the keys of params must be strings: they travel as they are")
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
