"""Chat requests, validated on construction and against the catalogue before they are sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from .. import assumptions
from ..catalogue.validation import closest_matches, format_problems, shorten, suggestion_text, unknown_model_problem
from ..errors import ConfigurationError, InvalidRequestError
from ..generation_request import GenerationRequest
from ..types.generations import File, ValidationProblem

if TYPE_CHECKING:
    from ..catalogue.model import Model
    from ..types.chat import ChatCapabilities

BOOLEAN_FIELDS: Final = ("enable_web_search", "include_thoughts")
TEXT_FIELDS: Final = ("session_id", "reasoning_effort", "client_request_id")


@attrs.frozen(kw_only=True)
class ChatRequest:
    """Body of `POST /chat/completions` [10]: members that are None are not sent, `extra` is sent unchanged.

    Raises `ConfigurationError` for a request that is invalid for every model.
    """

    model: str
    message: str
    session_id: str | None = None
    attachments: Sequence[str] = ()
    enable_web_search: bool | None = None
    reasoning_effort: str | None = None
    include_thoughts: bool | None = None
    client_request_id: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ConfigurationError(f"model must be the id of a model, such as 'gpt-5-2-chat', not {self.model!r}")
        if not isinstance(self.message, str) or not self.message.strip():
            raise ConfigurationError("message must be a string that is not blank: it is the only message of this turn")
        for name in TEXT_FIELDS:
            self._check_text(name)
        for name in BOOLEAN_FIELDS:
            if not isinstance(getattr(self, name), bool | None):
                raise ConfigurationError(f"{name} must be True, False or left out, not {getattr(self, name)!r}")
        self._check_extra()

    def _check_text(self, name: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"{name} must be a string that is not empty, not {value!r}")
        if name == "client_request_id" and len(value) > assumptions.CLIENT_REQUEST_ID_MAX_LENGTH:
            raise ConfigurationError(f"{name} has at most {assumptions.CLIENT_REQUEST_ID_MAX_LENGTH} characters")

    def _check_extra(self) -> None:
        if not isinstance(self.extra, Mapping) or not all(isinstance(name, str) for name in self.extra):
            raise ConfigurationError("extra must be a mapping of further members of the request, by their names")
        known = [name for name in self.extra if name in KNOWN_FIELDS]
        if known:
            raise ConfigurationError(f"{', '.join(known)} of extra has an argument of its own: use that")

    def to_wire(self) -> dict[str, Any]:
        """Returns the body of the request, without unset members."""
        body = {name: value for name in KNOWN_FIELDS if (value := getattr(self, name)) is not None}
        del body["attachments"]
        if self.attachments:
            body["attachments"] = [{"file_id": file_id} for file_id in self.attachments]
        return {**body, **self.extra}

    def to_priced_job(self) -> GenerationRequest:
        """Returns the turn as a job, whose params are the options that may change its price.

        The history of a chat session has an unknown length, so the price of a turn that continues one is not learned.
        """
        options = {
            "enable_web_search": self.enable_web_search or None,
            "include_thoughts": self.include_thoughts or None,
            "reasoning_effort": None if self.reasoning_effort == "default" else self.reasoning_effort,
            "attachments": len(self.attachments) or None,
            "history": None if self.session_id is None else (),
        }
        return GenerationRequest(self.model, self.message, params={**self.extra, **options})


KNOWN_FIELDS: Final = tuple(field.name for field in attrs.fields(ChatRequest) if field.name != "extra")


def attachment_ids(attachments: Sequence[str | File]) -> tuple[str, ...]:
    """Returns the file ids of attachments."""
    if isinstance(attachments, str) or not isinstance(attachments, Sequence):
        raise ConfigurationError("attachments must be a list of uploaded files or of their ids")
    return tuple(_file_id(attachment) for attachment in attachments)


def _file_id(attachment: str | File) -> str:
    file_id = attachment.id if isinstance(attachment, File) else attachment
    if not isinstance(file_id, str) or not file_id:
        raise ConfigurationError(
            f"an attachment must be an uploaded File or its id, such as 'file_...', not {type(attachment).__name__}: "
            "upload the picture first"
        )
    return file_id


def check_chat_request(request: ChatRequest, catalogue: Mapping[str, Model]) -> None:
    """Raises `InvalidRequestError` with all `problems`, if any; skips rules missing from the catalogue."""
    model_id = request.model
    model = catalogue.get(model_id)
    if model is None:
        problems: tuple[ValidationProblem, ...] = (unknown_model_problem(model_id, catalogue),)
    else:
        problems = tuple(_chat_problems(request, model))
    if problems:
        raise InvalidRequestError(format_problems(model_id, problems), problems=problems)


def _chat_problems(request: ChatRequest, model: Model) -> Iterator[ValidationProblem]:
    capabilities = model.chat
    if capabilities is None:
        yield ValidationProblem("model", "unavailable", f"{model.id} is not a chat model: use session.generate")
        return
    if model.api_status is not None and not model.is_available:
        yield ValidationProblem(
            "model", "unavailable", f"{model.id} cannot be asked through the API now: {model.api_status!r}"
        )
    limit = model.max_prompt_length
    if limit is not None and len(request.message) > limit:
        message = f"message has {len(request.message):,} characters, and {model.id} takes at most {limit:,}"
        yield ValidationProblem("message", "length", message, (limit,))
    yield from _option_problems(request, model.id, capabilities)


def _option_problems(
    request: ChatRequest, model_id: str, capabilities: ChatCapabilities
) -> Iterator[ValidationProblem]:
    if request.attachments and capabilities.images is False:
        yield ValidationProblem("attachments", "kind", f"{model_id} takes no attachments")
    if request.enable_web_search and capabilities.web_search is False:
        yield ValidationProblem("enable_web_search", "option", f"{model_id} cannot search the web")
    if request.include_thoughts and capabilities.thoughts is False:
        yield ValidationProblem("include_thoughts", "option", f"{model_id} does not return its thoughts")
    effort, known = request.reasoning_effort, capabilities.reasoning_efforts
    if effort is not None and known is not None and effort not in known:
        matches = closest_matches(effort, known)
        message = f"reasoning_effort cannot be {shorten(effort)} for {model_id} {suggestion_text(matches, known)}"
        yield ValidationProblem("reasoning_effort", "option", message, matches)
