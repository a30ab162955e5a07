"""The asyncio SDK for the Rivya API.

Names are imported when they are first used: `import rivya_async` costs a moment, aiohttp comes with the first session.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core.allowance import ExternalRateLimiter
    from ._core.chat_capabilities import ChatCapabilities
    from ._core.chat_records import ChatCompletion, ChatCredits, ChatMessage, ChatSession, Usage
    from ._core.chat_reply import ChatEvent
    from ._core.cost import PurchaseCost
    from ._core.errors import (
        APIDisabledError,
        APIStatusError,
        AuthenticationError,
        ChatSessionConflictError,
        ConfigurationError,
        DownloadError,
        GenerationFailedError,
        IdempotencyConflictError,
        InsufficientCreditsError,
        InternalServerError,
        JournalError,
        NotFoundError,
        OutcomeUnknownError,
        PermissionDeniedError,
        RateLimitError,
        RequestNotSentError,
        ResponseDecodeError,
        RivyaError,
        SessionClosedError,
        SignatureMismatchError,
        SpendLimitError,
        StreamInterruptedError,
        SubmitTimeoutError,
        TimestampToleranceError,
        ValidationFailed,
        WaitError,
        WaitTimeoutError,
        WebhookVerificationError,
    )
    from ._core.generation_request import GenerationRequest
    from ._core.model import Model
    from ._core.model_param import ModelParam
    from ._core.outcome import Outcome
    from ._core.policies import PollPolicy, RateLimit, RetryPolicy, Timeouts
    from ._core.problem import ValidationProblem
    from ._core.records import (
        Credits,
        ErrorDetail,
        File,
        Generation,
        GenerationResult,
        ReferenceMedia,
        Status,
    )
    from ._core.reference_rules import FileLimit, ReferenceRules
    from ._core.spend import SpendSummary
    from ._core.webhook_records import WebhookDelivery, WebhookEndpoint, WebhookEvent
    from ._engine.chat_stream import ChatStream
    from ._engine.hooks import AttemptDetails, DownloadDetails, Hooks, PollDetails, RetryDetails, WaitDetails
    from .session import RivyaSession

__version__ = "0.1.0"

__all__ = [
    "APIDisabledError",
    "APIStatusError",
    "AttemptDetails",
    "AuthenticationError",
    "ChatCapabilities",
    "ChatCompletion",
    "ChatCredits",
    "ChatEvent",
    "ChatMessage",
    "ChatSession",
    "ChatSessionConflictError",
    "ChatStream",
    "ConfigurationError",
    "Credits",
    "DownloadDetails",
    "DownloadError",
    "ErrorDetail",
    "ExternalRateLimiter",
    "File",
    "FileLimit",
    "Generation",
    "GenerationFailedError",
    "GenerationRequest",
    "GenerationResult",
    "Hooks",
    "IdempotencyConflictError",
    "InsufficientCreditsError",
    "InternalServerError",
    "JournalError",
    "Model",
    "ModelParam",
    "NotFoundError",
    "Outcome",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "PollDetails",
    "PollPolicy",
    "PurchaseCost",
    "RateLimit",
    "RateLimitError",
    "ReferenceMedia",
    "ReferenceRules",
    "RequestNotSentError",
    "ResponseDecodeError",
    "RetryDetails",
    "RetryPolicy",
    "RivyaError",
    "RivyaSession",
    "SessionClosedError",
    "SignatureMismatchError",
    "SpendLimitError",
    "SpendSummary",
    "Status",
    "StreamInterruptedError",
    "SubmitTimeoutError",
    "Timeouts",
    "TimestampToleranceError",
    "Usage",
    "ValidationFailed",
    "ValidationProblem",
    "WaitDetails",
    "WaitError",
    "WaitTimeoutError",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookVerificationError",
    "__version__",
]

_HOMES = {
    "._core.allowance": "ExternalRateLimiter",
    "._core.chat_capabilities": "ChatCapabilities",
    "._core.chat_records": "ChatCompletion ChatCredits ChatMessage ChatSession Usage",
    "._core.chat_reply": "ChatEvent",
    "._core.errors": (
        "APIDisabledError APIStatusError AuthenticationError ChatSessionConflictError ConfigurationError "
        "DownloadError GenerationFailedError IdempotencyConflictError InsufficientCreditsError InternalServerError "
        "JournalError NotFoundError OutcomeUnknownError PermissionDeniedError RateLimitError RequestNotSentError "
        "ResponseDecodeError RivyaError SessionClosedError SignatureMismatchError SpendLimitError "
        "StreamInterruptedError SubmitTimeoutError TimestampToleranceError ValidationFailed WaitError "
        "WaitTimeoutError WebhookVerificationError"
    ),
    "._core.generation_request": "GenerationRequest",
    "._core.model": "Model",
    "._core.model_param": "ModelParam",
    "._core.outcome": "Outcome",
    "._core.policies": "PollPolicy RateLimit RetryPolicy Timeouts",
    "._core.problem": "ValidationProblem",
    "._core.records": "Credits File Generation ErrorDetail GenerationResult ReferenceMedia Status",
    "._core.reference_rules": "FileLimit ReferenceRules",
    "._core.cost": "PurchaseCost",
    "._core.spend": "SpendSummary",
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
