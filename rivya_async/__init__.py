"""The asyncio SDK for the Rivya API.

Names are imported on first use, so that `import rivya_async` stays fast. The first session imports aiohttp.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core.catalogue.model import Model
    from ._core.catalogue.model_param import ModelParam
    from ._core.catalogue.pricing import PriceEstimate
    from ._core.catalogue.reference_rules import FileLimit, ReferenceRules
    from ._core.chat.accumulator import ChatEvent
    from ._core.errors import (
        APIConnectionError,
        APIDisabledError,
        APIStatusError,
        AuthenticationError,
        BadRequestError,
        ChatSessionConflictError,
        ConfigurationError,
        ConflictError,
        DownloadError,
        GenerationFailedError,
        IdempotencyConflictError,
        InsufficientCreditsError,
        InternalServerError,
        InvalidRequestError,
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
        WaitError,
        WaitTimeoutError,
        WebhookVerificationError,
    )
    from ._core.generation_request import GenerationRequest, Outcome
    from ._core.limits.external_limiter import ExternalRateLimiter
    from ._core.open_jobs import OpenJob
    from ._core.policies import PollPolicy, RateLimit, RetryPolicy, Timeouts
    from ._core.spend import SpendSummary
    from ._core.types.chat import ChatCapabilities, ChatCompletion, ChatCredits, ChatMessage, ChatSession, Usage
    from ._core.types.generations import (
        Credits,
        ErrorDetail,
        File,
        Generation,
        GenerationResult,
        ReferenceMedia,
        Status,
        ValidationProblem,
    )
    from ._core.types.progress import Progress
    from ._core.types.purchase_cost import PurchaseCost
    from ._core.webhooks.records import WebhookDelivery, WebhookEndpoint, WebhookEvent
    from ._engine.hooks import AttemptDetails, DownloadDetails, Hooks, PollDetails, RetryDetails, WaitDetails
    from ._engine.streaming.chat_stream import ChatStream
    from .session import RivyaSession

    __version__: str

__all__ = [
    "APIConnectionError",
    "APIDisabledError",
    "APIStatusError",
    "AttemptDetails",
    "AuthenticationError",
    "BadRequestError",
    "ChatCapabilities",
    "ChatCompletion",
    "ChatCredits",
    "ChatEvent",
    "ChatMessage",
    "ChatSession",
    "ChatSessionConflictError",
    "ChatStream",
    "ConfigurationError",
    "ConflictError",
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
    "InvalidRequestError",
    "JournalError",
    "Model",
    "ModelParam",
    "NotFoundError",
    "OpenJob",
    "Outcome",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "PollDetails",
    "PollPolicy",
    "PriceEstimate",
    "Progress",
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

_NAMES_BY_MODULE = {
    "._core.limits.external_limiter": "ExternalRateLimiter",
    "._core.catalogue.model": "Model",
    "._core.types.chat": "ChatCapabilities ChatCompletion ChatCredits ChatMessage ChatSession Usage",
    "._core.chat.accumulator": "ChatEvent",
    "._core.errors": (
        "APIConnectionError APIDisabledError APIStatusError AuthenticationError BadRequestError "
        "ChatSessionConflictError ConfigurationError ConflictError DownloadError GenerationFailedError "
        "IdempotencyConflictError InsufficientCreditsError InternalServerError InvalidRequestError JournalError "
        "NotFoundError OutcomeUnknownError PermissionDeniedError RateLimitError RequestNotSentError "
        "ResponseDecodeError RivyaError SessionClosedError SignatureMismatchError SpendLimitError "
        "StreamInterruptedError SubmitTimeoutError TimestampToleranceError WaitError WaitTimeoutError "
        "WebhookVerificationError"
    ),
    "._core.generation_request": "GenerationRequest Outcome",
    "._core.open_jobs": "OpenJob",
    "._core.catalogue.model_param": "ModelParam",
    "._core.catalogue.pricing": "PriceEstimate",
    "._core.policies": "PollPolicy RateLimit RetryPolicy Timeouts",
    "._core.types.generations": (
        "Credits File Generation ErrorDetail GenerationResult ReferenceMedia Status ValidationProblem"
    ),
    "._core.catalogue.reference_rules": "FileLimit ReferenceRules",
    "._core.types.progress": "Progress",
    "._core.types.purchase_cost": "PurchaseCost",
    "._core.spend": "SpendSummary",
    "._core.webhooks.records": "WebhookDelivery WebhookEndpoint WebhookEvent",
    "._engine.streaming.chat_stream": "ChatStream",
    "._engine.hooks": "AttemptDetails DownloadDetails Hooks PollDetails RetryDetails WaitDetails",
    ".session": "RivyaSession",
}
_SUBMODULES = frozenset(
    ["batch", "blocking", "catalogue", "otel", "progress", "receiver", "sandbox", "testing", "workers"]
)
"""Public modules, which are imported on first use too. Some of them need an extra."""

_MODULE_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names.split()}


if not TYPE_CHECKING:  # type checkers would accept every name

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            value = import_module("importlib.metadata").version("rivya-async")
        elif name in _SUBMODULES:
            return _import_submodule(name)
        elif name in _MODULE_BY_NAME:
            value = getattr(import_module(_MODULE_BY_NAME[name], __name__), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def _import_submodule(name: str) -> Any:
    try:
        return import_module(f".{name}", __name__)
    except ImportError as error:  # `hasattr` and `inspect.getmembers` expect an AttributeError
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {error}") from error


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES])
