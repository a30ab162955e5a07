"""The asyncio SDK for the Rivya API.

Names are imported when they are first used: `import rivya_async` costs a moment, aiohttp comes with the first session.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core.allowance import Allowance
    from ._core.chat_capabilities import ChatCapabilities
    from ._core.chat_records import ChatCompletion, ChatCredits, ChatMessage, ChatSession, Usage
    from ._core.chat_reply import ChatEvent
    from ._core.cost import Cost
    from ._core.errors import (
        Answered,
        ApiDisabled,
        ConfigurationError,
        DeadlineExceeded,
        DecodeError,
        DownloadError,
        GenerationFailed,
        IdempotencyConflict,
        InsufficientCredits,
        JournalError,
        NotFound,
        NotSent,
        NotSentInTime,
        OutcomeUnknown,
        OutsideTolerance,
        RateLimited,
        RivyaError,
        ScopeDenied,
        ServerError,
        SessionClosed,
        SessionConflict,
        SignatureMismatch,
        SpendLimitReached,
        StreamInterrupted,
        Unauthorized,
        ValidationFailed,
        WaitError,
        WebhookError,
    )
    from ._core.generation_request import GenerationRequest
    from ._core.model import Model
    from ._core.model_param import ModelParam
    from ._core.outcome import Outcome
    from ._core.policies import PollPolicy, RateLimit, RetryPolicy, Timeouts
    from ._core.problem import Problem
    from ._core.records import (
        Credits,
        File,
        Generation,
        GenerationError,
        GenerationResult,
        ReferenceMedia,
        Status,
    )
    from ._core.reference_rules import KindLimit, ReferenceRules
    from ._core.spend import Spend
    from ._core.webhook_records import WebhookDelivery, WebhookEndpoint, WebhookEvent
    from ._engine.chat_stream import ChatStream
    from ._engine.hooks import AttemptDetails, DownloadDetails, Hooks, PollDetails, RetryDetails, WaitDetails
    from .session import RivyaSession

__version__ = "0.1.0"

__all__ = [
    "Allowance",
    "Answered",
    "ApiDisabled",
    "AttemptDetails",
    "ChatCapabilities",
    "ChatCompletion",
    "ChatCredits",
    "ChatEvent",
    "ChatMessage",
    "ChatSession",
    "ChatStream",
    "ConfigurationError",
    "Cost",
    "Credits",
    "DeadlineExceeded",
    "DecodeError",
    "DownloadDetails",
    "DownloadError",
    "File",
    "Generation",
    "GenerationError",
    "GenerationFailed",
    "GenerationRequest",
    "GenerationResult",
    "Hooks",
    "IdempotencyConflict",
    "InsufficientCredits",
    "JournalError",
    "KindLimit",
    "Model",
    "ModelParam",
    "NotFound",
    "NotSent",
    "NotSentInTime",
    "Outcome",
    "OutcomeUnknown",
    "OutsideTolerance",
    "PollDetails",
    "PollPolicy",
    "Problem",
    "RateLimit",
    "RateLimited",
    "ReferenceMedia",
    "ReferenceRules",
    "RetryDetails",
    "RetryPolicy",
    "RivyaError",
    "RivyaSession",
    "ScopeDenied",
    "ServerError",
    "SessionClosed",
    "SessionConflict",
    "SignatureMismatch",
    "Spend",
    "SpendLimitReached",
    "Status",
    "StreamInterrupted",
    "Timeouts",
    "Unauthorized",
    "Usage",
    "ValidationFailed",
    "WaitDetails",
    "WaitError",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookError",
    "WebhookEvent",
    "__version__",
]

_HOMES = {
    "._core.allowance": "Allowance",
    "._core.chat_capabilities": "ChatCapabilities",
    "._core.chat_records": "ChatCompletion ChatCredits ChatMessage ChatSession Usage",
    "._core.chat_reply": "ChatEvent",
    "._core.errors": (
        "Answered ApiDisabled ConfigurationError DeadlineExceeded DecodeError DownloadError GenerationFailed "
        "IdempotencyConflict InsufficientCredits JournalError NotFound NotSent NotSentInTime OutcomeUnknown "
        "OutsideTolerance RateLimited RivyaError ScopeDenied ServerError SessionClosed SessionConflict "
        "SignatureMismatch SpendLimitReached StreamInterrupted Unauthorized ValidationFailed WaitError WebhookError"
    ),
    "._core.generation_request": "GenerationRequest",
    "._core.model": "Model",
    "._core.model_param": "ModelParam",
    "._core.outcome": "Outcome",
    "._core.policies": "PollPolicy RateLimit RetryPolicy Timeouts",
    "._core.problem": "Problem",
    "._core.records": "Credits File Generation GenerationError GenerationResult ReferenceMedia Status",
    "._core.reference_rules": "KindLimit ReferenceRules",
    "._core.cost": "Cost",
    "._core.spend": "Spend",
    "._core.webhook_records": "WebhookDelivery WebhookEndpoint WebhookEvent",
    "._engine.chat_stream": "ChatStream",
    "._engine.hooks": "AttemptDetails DownloadDetails Hooks PollDetails RetryDetails WaitDetails",
    ".session": "RivyaSession",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
