"""Files to the service: a form that is streamed, by the retry law of any call, with a bound of its own.

An upload buys nothing and the API names no idempotency key for it. So it carries none, and is repeated after whatever
passes by waiting, if its source can be read again: at worst a file is left at the service that nobody refers to.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, cast

import attrs

from ..._core.errors import ConfigurationError, OutcomeUnknownError, RequestNotSentError, ValidationFailed
from ..._core.http.messages import MultipartForm, Request, Response
from .upload_source import unreadable_file_error

if TYPE_CHECKING:
    from ..http.transport import Transport
    from .upload_source import UploadSource

OnProgress: TypeAlias = Callable[[int, int | None], Awaitable[None] | None]
"""Told of the bytes sent and the bytes there are, None where nobody knows; may be a plain or an async function."""


@attrs.frozen(eq=False)
class UploadRequest(Request):
    """A request whose body is a form. `max_bytes` bounds a source of unknown size."""

    form: MultipartForm = attrs.field(kw_only=True)
    source: UploadSource = attrs.field(kw_only=True, repr=False)
    max_bytes: int | None = attrs.field(kw_only=True, default=None)
    on_progress: OnProgress | None = attrs.field(kw_only=True, default=None)

    @property
    def wants_key(self) -> bool:
        """Never: nothing is bought."""
        return False

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be sent again from the beginning."""
        return self.source.can_rewind


class UploadTransport:
    """A transport for a `RequestExecutor`: what it sends are uploads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Timeout] = set()

    async def send(self, request: Request) -> Response:
        """Send the form once. What the source or the listener raises ends it, and is raised as it is."""
        upload = cast("UploadRequest", request)
        body = UploadBody(upload)
        cut = asyncio.timeout(None)
        try:
            async with cut:
                self._running.add(cut)
                return await self._transport.upload(request, upload.form, body)
        except (RequestNotSentError, OutcomeUnknownError):
            if body.failure is None:
                raise
        except TimeoutError:
            if not cut.expired():
                raise
            raise OutcomeUnknownError(
                "the session was closed while a file was being sent: upload it again, with another session"
            ) from None
        finally:
            self._running.discard(cut)
            await body.aclose()
        try:
            raise body.failure
        finally:
            del body  # or the error would hold itself, and the source, until the garbage collector comes

    def cancel_all(self) -> None:
        """End what is being sent."""
        for cut in self._running:
            cut.reschedule(self._loop.time())


class UploadBody:
    """One pass over a source: counted, held to its size, and told of. No generator, which would have to be closed."""

    def __init__(self, upload: UploadRequest) -> None:
        self.failure: Exception | None = None
        self._upload = upload
        self._reader = upload.source.open_reader()
        self._sent = 0

    def __aiter__(self) -> UploadBody:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._read_next()
        except OSError as error:
            self.failure = unreadable_file_error(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever awaits the upload shall see it
            self.failure = error
        else:
            if not piece:
                raise StopAsyncIteration
            return piece
        # Not the failure itself, whose traceback would then lead through frames that hold the key.
        raise ConnectionAbortedError("the source of the upload failed") from None

    async def aclose(self) -> None:
        """Let go of the source."""
        await self._reader.aclose()

    async def _read_next(self) -> bytes:
        upload, size = self._upload, self._upload.form.size
        if self._sent and upload.on_progress is not None:
            told = upload.on_progress(self._sent, size)
            if inspect.isawaitable(told):
                await told
        piece = await self._reader.read()
        self._sent += len(piece)
        if size is not None and (self._sent > size or (not piece and self._sent < size)):
            raise ConfigurationError(
                f"{upload.form.filename!r} had {size:,} bytes when it was opened, and no longer has: "
                "nothing was kept of it, upload it when nobody writes to it"
            )
        if upload.max_bytes is not None and self._sent > upload.max_bytes:
            raise ValidationFailed(
                f"{upload.form.filename!r} has more than the {upload.max_bytes:,} bytes that are taken: "
                "nothing was kept of it, make it smaller",
                code="validation_failed",
            )
        return piece
