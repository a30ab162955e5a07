"""A message held against the catalogue before it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .errors import ValidationFailed
from .nearest import hint, nearest
from .problem import Problem, shown, told, unknown_model

if TYPE_CHECKING:
    from .chat_capabilities import ChatCapabilities
    from .chat_request import ChatRequest
    from .model import Model


def check_turn(turn: ChatRequest, catalogue: Mapping[str, Model]) -> None:
    """Raise `ValidationFailed` with every problem as `problems`; what the catalogue leaves unsaid is not checked."""
    model = catalogue.get(turn.model)
    found = (unknown_model(turn.model, catalogue),) if model is None else tuple(_problems(turn, model))
    if found:
        raise ValidationFailed(told(turn.model, found), problems=found)


def _problems(turn: ChatRequest, model: Model) -> Iterator[Problem]:
    capabilities = model.chat
    if capabilities is None:
        yield Problem("model", "unavailable", f"{model.id} is no chat model: use session.generate")
        return
    if model.api_status is not None and not model.is_available:
        yield Problem("model", "unavailable", f"{model.id} cannot be asked through the API now: {model.api_status!r}")
    most = model.max_prompt_length
    if most is not None and len(turn.message) > most:
        claim = f"message has {len(turn.message):,} characters, and {model.id} takes at most {most:,}"
        yield Problem("message", "length", claim, (most,))
    yield from _option_problems(turn, model.id, capabilities)


def _option_problems(turn: ChatRequest, model_id: str, capabilities: ChatCapabilities) -> Iterator[Problem]:
    if turn.attachments and capabilities.images is False:
        yield Problem("attachments", "kind", f"{model_id} takes no attachments")
    if turn.enable_web_search and capabilities.web_search is False:
        yield Problem("enable_web_search", "option", f"{model_id} cannot search the web")
    if turn.include_thoughts and capabilities.thoughts is False:
        yield Problem("include_thoughts", "option", f"{model_id} does not tell its thoughts")
    effort, known = turn.reasoning_effort, capabilities.reasoning_efforts
    if effort is not None and known is not None and effort not in known:
        meant = nearest(effort, known)
        claim = f"reasoning_effort cannot be {shown(effort)} for {model_id} {hint(meant, known)}"
        yield Problem("reasoning_effort", "option", claim, meant)
