"""Responses of file hosts: their errors, and bodies whose start is read ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..._core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RivyaError,
)
from ..._core.files.media_type import SNIFF_BYTES
from ..._core.http.error_responses import status_error_class
from ..._core.http.range_requests import is_encoded

if TYPE_CHECKING:
    from ..._core.http.messages import Response
    from ..http.transport import StreamingResponse

FILE_STATUSES: Final = frozenset({200, 201, 203, 206})
"""Statuses of responses that contain a file. A 202 or a 204 has none yet."""

MAX_SHORT_FILE_BYTES: Final = 1024 * 1024
"""Maximum bytes of a file that is read completely before it is written."""

EXPIRED_LINK_ERRORS: Final = (BadRequestError, AuthenticationError, PermissionDeniedError, NotFoundError)
"""Errors of 400, 401, 403, 404 and 410: what file hosts answer to an expired link."""


class UnusableResponseError(OutcomeUnknownError):
    """Response that does not contain the file, perhaps for a moment. It is raised as `DownloadError` at last."""


class ResponseBody:
    """The body of a response. Its start can be read ahead."""

    def __init__(self, response: StreamingResponse) -> None:
        self.start = b""
        self._response = response
        self._buffered = b""
        self._failure: RivyaError | None = None

    async def read_ahead(self, total: int | None) -> bool:
        """Reads the start, from which the media type is recognised, or as much of it as arrives.

        Returns True for a short file of this length that is read completely.
        """
        is_short = total is not None and 0 < total <= MAX_SHORT_FILE_BYTES
        size = max(SNIFF_BYTES, total) if total is not None and is_short else SNIFF_BYTES
        try:
            while len(self.start) < size and (chunk := await self._response.read()):
                self.start += chunk
        except RivyaError as error:
            if not self.start:
                raise
            self._failure = error
        self._buffered = self.start
        return is_short and len(self.start) == total

    async def read(self) -> bytes:
        """Returns the next chunk, empty at the end. Raises as the response does."""
        if self._buffered:
            chunk, self._buffered = self._buffered, b""
            return chunk
        failure, self._failure = self._failure, None
        if failure is None:
            return await self._response.read()
        try:
            raise failure
        finally:
            del failure  # breaks the reference cycle between the error and its traceback


def validate_head(head: Response, now: float) -> None:
    """Raises the error of a response without the bytes of a file. `now` is in seconds since the epoch."""
    if not head.is_success:
        raise _status_error(head, now)
    if head.status not in FILE_STATUSES:
        raise UnusableResponseError(
            f"the host of the file answered {head.status} without a file: nothing was saved. Download it later"
        )
    if is_encoded(head):
        raise UnusableResponseError(
            "the host of the file answered with a Content-Encoding, although none was accepted: nothing was saved. "
            "Download it later, without a proxy that compresses"
        )


def _status_error(response: Response, now: float) -> APIStatusError:
    """Returns the error for a refusal by a file host, which says nothing about API keys or scopes."""
    error_class = status_error_class(response.status, None)
    advice = (
        "the link may have expired, read the job again"
        if error_class in EXPIRED_LINK_ERRORS
        else "download it again later"
    )
    return error_class(
        f"the host of the file answered {response.status}: {advice}",
        status=response.status,
        retry_after=response.retry_after(now),
    )
