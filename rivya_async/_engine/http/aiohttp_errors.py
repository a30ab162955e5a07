"""The table that sorts what aiohttp raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aiohttp

from ..._core.errors import ConfigurationError, OutcomeUnknownError, RequestNotSentError, RivyaError

if TYPE_CHECKING:
    from yarl import URL


class ConnectionLost(Exception):
    """A lost connection, dressed so that aiohttp does not send the request again behind our back."""

    def __init__(self, error: aiohttp.ClientError) -> None:
        super().__init__()
        self.error = error


AIOHTTP_ERRORS: Final = (aiohttp.ClientError, OSError, ValueError, ConnectionLost)
"""What comes out of aiohttp; `TimeoutError` is an `OSError`, a bad URL a `ValueError`."""

ERROR_TABLE: Final[tuple[tuple[type[Exception], type[RivyaError]], ...]] = (
    (aiohttp.ConnectionTimeoutError, RequestNotSentError),
    (aiohttp.ClientConnectorError, RequestNotSentError),  # DNS, refused, TLS, certificate, proxy
    (aiohttp.InvalidURL, ConfigurationError),
    (aiohttp.NonHttpUrlClientError, ConfigurationError),
    (aiohttp.ClientError, OutcomeUnknownError),  # dropped, time-out while reading, broken body, malformed answer
    (OSError, OutcomeUnknownError),
    (ValueError, ConfigurationError),
)
"""The first row that fits says whether the request may have acted. The last resort is to assume that it may."""

ADVICE: Final[dict[type[RivyaError], str]] = {
    RequestNotSentError: "nothing was sent",
    OutcomeUnknownError: "the service may or may not have acted",
    ConfigurationError: "check base_url",
}


def convert_error(error: Exception, url: URL) -> RivyaError:
    """One of our errors for one of aiohttp's, by the table; never with a query string, which may hold a signature."""
    if isinstance(error, ConnectionLost):
        error = error.error
    kind = next((ours for theirs, ours in ERROR_TABLE if isinstance(error, theirs)), OutcomeUnknownError)
    where = url.with_query(None).with_fragment(None)
    return kind(f"{where}: {type(error).__name__}: {_describe_error(error)}; {ADVICE[kind]}")


def _describe_error(error: Exception) -> str:
    """What aiohttp says of it, but for the URLs that it mixes in."""
    if isinstance(error, aiohttp.InvalidURL):
        return "not a URL that can be requested"
    if isinstance(error, aiohttp.ClientResponseError):
        return error.message or "no answer that HTTP knows"
    if isinstance(error, TimeoutError):
        return "it took too long"
    return str(error) or "no reason given"
