"""The logger `rivya_async`: debug records of all requests, and warnings about rate limits and outages.

No record contains an API key, a prompt, a link or a body. Errors are named by class, status and code, since their
messages may repeat parts of a request.
"""

from __future__ import annotations

import logging
import math
import os
from typing import TYPE_CHECKING, Final

from .._core.errors import APIStatusError, RivyaError
from .hooks import AttemptDetails, DownloadDetails, Hooks, PollDetails, RetryDetails, WaitDetails

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG_VARIABLE: Final = "RIVYA_LOG"

EPISODE_SECONDS: Final = 60.0
"""Seconds without a 429 after which the next one is reported again."""

logger: Final = logging.getLogger("rivya_async")


def configure_logging() -> None:
    """Shows the log on stderr if `RIVYA_LOG` is `debug` or `info`. Further calls do nothing."""
    name = os.environ.get(LOG_VARIABLE, "").strip().lower()
    if not name:
        return
    if name not in {"debug", "info"}:
        logger.warning("%s must be debug or info: it is ignored", LOG_VARIABLE)
        return
    level = logging.DEBUG if name == "debug" else logging.INFO
    if logger.level == logging.NOTSET or logger.level > level:
        logger.setLevel(level)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)


def with_log(hooks: Sequence[Hooks]) -> tuple[Hooks, ...]:
    """Returns the hooks, with one that logs if the logger is enabled for DEBUG."""
    return (*hooks, LoggingHooks()) if logger.isEnabledFor(logging.DEBUG) else tuple(hooks)


class LoggingHooks(Hooks):
    """Hooks that log every attempt, retry, poll, wait and download at the level DEBUG."""

    def on_attempt(self, details: AttemptDetails) -> None:
        """Logs a request and its response."""
        logger.debug(
            "%s %s attempt %d: %s in %.3f s, request id %s, idempotency key %s",
            details.method,
            details.path.partition("?")[0],
            details.number,
            details.status if details.error is None else describe_error(details.error),
            details.elapsed,
            details.request_id,
            details.idempotency_key,
        )

    def on_retry(self, details: RetryDetails) -> None:
        """Logs a back-off."""
        logger.debug(
            "%s %s attempt %d in %.3f s after %s, idempotency key %s",
            details.method,
            details.path.partition("?")[0],
            details.number,
            details.delay,
            describe_error(details.error),
            details.idempotency_key,
        )

    def on_poll(self, details: PollDetails) -> None:
        """Logs a poll and the time to the next one."""
        logger.debug(
            "%s poll %d: %s, next poll %s",
            details.task_id,
            details.number,
            details.status if details.error is None else describe_error(details.error),
            "none" if details.delay is None else f"in {details.delay:.3f} s",
        )

    def on_wait(self, details: WaitDetails) -> None:
        """Logs the end of a wait."""
        end = details.status if details.error is None else describe_error(details.error)
        logger.debug("%s wait: %s in %.3f s, %d polls", details.task_id, end, details.elapsed, details.polls)

    def on_download(self, details: DownloadDetails) -> None:
        """Logs a download."""
        logger.debug(
            "download from %s: %s in %.3f s, %d bytes",
            details.host,
            "complete" if details.error is None else describe_error(details.error),
            details.elapsed,
            details.received_bytes,
        )


def describe_error(error: RivyaError) -> str:
    """Returns class, status, code and request id of an error, without its message.

    >>> describe_error(APIStatusError("Refused: A red kite", status=429, code="rate_limited", request_id="req_1"))
    'APIStatusError 429 rate_limited, request id req_1'
    """
    parts = [type(error).__name__]
    if isinstance(error, APIStatusError):
        parts += [str(part) for part in (error.status, error.code) if part is not None]
    return " ".join(parts) + (f", request id {error.request_id}" if error.request_id else "")


class ServiceLog:
    """Warnings about the service of one session, one for each rate limit episode and outage."""

    def __init__(self) -> None:
        self._last_rejection = -math.inf

    def on_rate_limited(self, now: float, error: RivyaError, delay: float) -> None:
        """Warns about the first 429 of an episode."""
        if now - self._last_rejection > EPISODE_SECONDS:
            logger.warning(
                "rate limit met (%s): requests pause for %.3f s, then continue at a lower rate",
                describe_error(error),
                delay,
            )
        self._last_rejection = now

    def on_outage(self, error: RivyaError) -> None:
        """Warns that the circuit breaker has opened."""
        logger.warning(
            "service down, circuit breaker open (last error: %s): requests wait until a probe gets a response",
            describe_error(error),
        )

    def on_recovery(self, seconds: float) -> None:
        """Reports that the circuit breaker has closed."""
        logger.info("service responds again after %.1f s, circuit breaker closed", seconds)
