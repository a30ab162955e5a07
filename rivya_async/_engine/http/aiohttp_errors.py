"""Conversion of the exceptions of aiohttp to `RivyaError`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aiohttp

from ..._core.errors import ConfigurationError, OutcomeUnknownError, RequestNotSentError, RivyaError
from ..._core.masking import mask_url
from ..._core.terminal_text import shorten_text

if TYPE_CHECKING:
    from yarl import URL


class ConnectionLost(Exception):
    """A lost connection. aiohttp does not recognise this type, and therefore does not repeat the request."""

    def __init__(self, error: aiohttp.ClientError) -> None:
        super().__init__()
        self.error = error


AIOHTTP_ERRORS: Final = (aiohttp.ClientError, OSError, ValueError, ConnectionLost)
"""Exceptions that aiohttp raises. `TimeoutError` is an `OSError`; an invalid URL raises `ValueError`."""

ERROR_TABLE: Final[tuple[tuple[type[Exception], type[RivyaError]], ...]] = (
    (aiohttp.ConnectionTimeoutError, RequestNotSentError),
    (aiohttp.ClientHttpProxyError, RequestNotSentError),  # a refused CONNECT
    (aiohttp.ClientConnectorError, RequestNotSentError),  # DNS, refused, TLS, certificate, proxy
    (aiohttp.ClientHttpProxyError, RequestNotSentError),  # the proxy refused to connect
    (aiohttp.InvalidURL, ConfigurationError),
    (aiohttp.NonHttpUrlClientError, ConfigurationError),
    (aiohttp.ClientError, OutcomeUnknownError),  # dropped, read timeout, truncated body, malformed response
    (OSError, OutcomeUnknownError),
    (ValueError, ConfigurationError),
)
"""The error for each exception; the first matching row counts. Other exceptions leave the outcome unknown."""

MAX_SHOWN_LENGTH: Final = 200
"""Maximum number of characters of an exception in a message."""

ADVICE: Final[dict[type[RivyaError], str]] = {
    RequestNotSentError: "nothing was sent. Check the network and the host: base_url sets that of API calls",
    OutcomeUnknownError: "the service may or may not have acted",
    ConfigurationError: "check base_url",
}


def convert_error(error: Exception, url: URL, *, not_sent: bool = False) -> RivyaError:
    """Returns the `RivyaError` for an exception. Its message omits user and query of the URL, which may be secret.

    `not_sent`: the request was certainly not sent.
    """
    if isinstance(error, ConnectionLost):
        error = error.error
    kind: type[RivyaError] = RequestNotSentError
    if not not_sent:
        kind = next((to for caught, to in ERROR_TABLE if isinstance(error, caught)), OutcomeUnknownError)
    return kind(f"{mask_url(str(url))}: {type(error).__name__}: {_describe_error(error)}; {ADVICE[kind]}")


def _describe_error(error: Exception) -> str:
    """Returns the message of the exception. Messages that contain URLs are replaced."""
    if isinstance(error, aiohttp.InvalidURL):
        return "not a valid URL for a request"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered with {error.status} {error.message}"
    if isinstance(error, aiohttp.ClientResponseError):
        return shorten_text(error.message, MAX_SHOWN_LENGTH) or "not a valid HTTP response"
    if isinstance(error, TimeoutError):
        return "it took too long"
    return shorten_text(str(error), MAX_SHOWN_LENGTH) or "no reason given"
