"""A message held against the catalogue before it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..catalogue.suggestions import closest_matches, suggestion_text
from ..catalogue.validation import format_problems, shorten, unknown_model_problem
from ..errors import ValidationFailed
from ..types.validation_problem import ValidationProblem

if TYPE_CHECKING:
    from ..catalogue.chat_capabilities import ChatCapabilities
    from ..catalogue.model import Model
    from .request import ChatRequest


def check_chat_request(turn: ChatRequest, catalogue: Mapping[str, Model]) -> None:
    """Raise `ValidationFailed` with every problem as `problems`; what the catalogue leaves unsaid is not checked."""
    model = catalogue.get(turn.model)
    found = (unknown_model_problem(turn.model, catalogue),) if model is None else tuple(_chat_problems(turn, model))
    if found:
        raise ValidationFailed(format_problems(turn.model, found), problems=found)


def _chat_problems(turn: ChatRequest, model: Model) -> Iterator[ValidationProblem]:
    capabilities = model.chat
    if capabilities is None:
        yield ValidationProblem("model", "unavailable", f"{model.id} is no chat model: use session.generate")
        return
    if model.api_status is not None and not model.is_available:
        yield ValidationProblem(
            "model", "unavailable", f"{model.id} cannot be asked through the API now: {model.api_status!r}"
        )
    most = model.max_prompt_length
    if most is not None and len(turn.message) > most:
        claim = f"message has {len(turn.message):,} characters, and {model.id} takes at most {most:,}"
        yield ValidationProblem("message", "length", claim, (most,))
    yield from _option_problems(turn, model.id, capabilities)


def _option_problems(turn: ChatRequest, model_id: str, capabilities: ChatCapabilities) -> Iterator[ValidationProblem]:
    if turn.attachments and capabilities.images is False:
        yield ValidationProblem("attachments", "kind", f"{model_id} takes no attachments")
    if turn.enable_web_search and capabilities.web_search is False:
        yield ValidationProblem("enable_web_search", "option", f"{model_id} cannot search the web")
    if turn.include_thoughts and capabilities.thoughts is False:
        yield ValidationProblem("include_thoughts", "option", f"{model_id} does not tell its thoughts")
    effort, known = turn.reasoning_effort, capabilities.reasoning_efforts
    if effort is not None and known is not None and effort not in known:
        meant = closest_matches(effort, known)
        claim = f"reasoning_effort cannot be {shorten(effort)} for {model_id} {suggestion_text(meant, known)}"
        yield ValidationProblem("reasoning_effort", "option", claim, meant)
