"""Uploads: a multipart form that is streamed, under the retry policy, with a limiter of its own.

An upload buys nothing, and the API documents no idempotency key for it. It is sent without a key and repeated after
every transient fault if its source can rewind. At worst an unused file stays at the service.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, cast

import attrs

from ..._core.errors import ConfigurationError, InvalidRequestError, OutcomeUnknownError, RequestNotSentError
from ..._core.http.messages import MultipartForm, Request, Response
from ..._core.http.operations import create_file
from .upload_source import unreadable_file_error

if TYPE_CHECKING:
    from ..._core.types.generations import File
    from ..http.request_executor import RequestExecutor
    from ..http.request_limiter import RequestLimiter
    from ..http.transport import Transport
    from .upload_source import UploadSource

OnProgress: TypeAlias = Callable[[int, int | None], Awaitable[None] | None]
"""A plain or async function of the transferred bytes and the total bytes; the total is None if it is unknown."""


@attrs.frozen(eq=False)
class UploadRequest(Request):
    """A request whose body is a multipart form. `max_bytes` bounds a source of unknown size."""

    form: MultipartForm = attrs.field(kw_only=True)
    source: UploadSource = attrs.field(kw_only=True, repr=False)
    max_bytes: int | None = attrs.field(kw_only=True, default=None)
    on_progress: OnProgress | None = attrs.field(kw_only=True, default=None)

    @property
    def is_repeatable(self) -> bool:
        """Returns whether the source can be read again from the beginning."""
        return self.source.can_rewind


class Uploader:
    """Sends files to the service. Uploads in flight are bounded apart from calls and polls, since they last long."""

    def __init__(self, executor: RequestExecutor, transport: Transport, limiter: RequestLimiter) -> None:
        self._executor = executor
        self._transport = transport
        self._limiter = limiter
        self._loop = asyncio.get_running_loop()
        self._in_flight: set[asyncio.Timeout] = set()

    async def upload(self, request: UploadRequest) -> File:
        """Returns the uploaded file. Raises what any call can raise, and the errors of source and listener."""
        operation = create_file(request.form.fields["kind"])
        operation = attrs.evolve(operation, request=request)
        return await self._executor.execute(operation, send=self._send, limiter=self._limiter)

    def close(self) -> None:
        """Rejects queued and future uploads, and cancels those in flight."""
        self._limiter.close()
        for scope in self._in_flight:
            scope.reschedule(self._loop.time())

    async def aclose(self) -> None:
        """Closes, and waits for the cancelled uploads to end."""
        self.close()
        await self._limiter.aclose()

    async def _send(self, request: Request) -> Response:
        """Sends the form once."""
        upload = cast("UploadRequest", request)
        body = UploadBody(upload)
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._in_flight.add(scope)
                return await self._transport.upload(request, upload.form, body)
        except (RequestNotSentError, OutcomeUnknownError):
            if body.failure is None:
                raise
        except TimeoutError:
            if not scope.expired():
                raise
            raise OutcomeUnknownError(
                "the session was closed while a file was being sent: upload it again, with another session"
            ) from None
        finally:
            self._in_flight.discard(scope)
            await body.aclose()
        try:
            raise body.failure
        finally:
            del body  # breaks the reference cycle between the error and its traceback


class UploadBody:
    """One pass over a source, which checks its size and reports progress.

    An iterator class, because a generator would have to be closed.
    """

    def __init__(self, upload: UploadRequest) -> None:
        self.failure: Exception | None = None
        self._upload = upload
        self._reader = upload.source.open_reader()
        self._sent = 0

    def __aiter__(self) -> UploadBody:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._read_next()
        except OSError as error:
            self.failure = unreadable_file_error(error)
        except Exception as error:  # noqa: BLE001 - any error of the source or listener is raised to the caller
            self.failure = error
        else:
            if not chunk:
                raise StopAsyncIteration
            return chunk
        # The failure itself is not raised here: its traceback would lead through frames that hold the API key.
        raise ConnectionAbortedError("the source of the upload failed") from None

    async def aclose(self) -> None:
        """Closes the reader."""
        await self._reader.aclose()

    async def _read_next(self) -> bytes:
        upload, size = self._upload, self._upload.form.size
        if self._sent and upload.on_progress is not None:
            result = upload.on_progress(self._sent, size)
            if inspect.isawaitable(result):
                await result
        chunk = await self._reader.read()
        self._sent += len(chunk)
        if size is not None and (self._sent > size or (not chunk and self._sent < size)):
            raise ConfigurationError(
                f"{upload.form.filename!r} had {size:,} bytes when it was opened, and no longer has: "
                "nothing was kept of it, upload it when no other program writes to it"
            )
        if upload.max_bytes is not None and self._sent > upload.max_bytes:
            raise InvalidRequestError(
                f"{upload.form.filename!r} has more than the {upload.max_bytes:,} bytes that are taken: "
                "nothing was kept of it, make it smaller"
            )
        return chunk
