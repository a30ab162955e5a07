"""Result files to disk: taken up where they broke off, checked for their length, and given their name when whole."""

from __future__ import annotations

import asyncio
import inspect
import stat
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import attrs

from ..._core.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    DownloadError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RivyaError,
    ValidationFailed,
)
from ..._core.files.filenames import file_extension
from ..._core.http.error_responses import status_error_class
from ..._core.http.range_requests import UNKNOWN_VERSION, resource_version, resume_offset
from ..._core.http.redirects import MAX_REDIRECTS, RedirectTarget, redirect_target
from ..._core.http.retry import AttemptState, GiveUp, decide_retry
from ..hooks import DownloadDetails, notify
from .file_io import convert_os_errors, run_in_thread_uncancellable
from .partial_file import PartialFile, file_exists_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from ..._core.http.messages import Response
    from ..._core.policies import RetryPolicy
    from ..environment import Environment
    from ..hooks import Hooks
    from ..http.request_limiter import RequestLimiter
    from ..http.transport import StreamingResponse, Transport
    from .uploader import OnProgress

RANGE_NOT_SATISFIABLE: Final = 416

EXPIRED_LINK_ERRORS: Final = (ValidationFailed, AuthenticationError, PermissionDeniedError, NotFoundError)
"""400, 401, 403, 404, 410: what one host or another answers to a link that is no longer good."""


@attrs.frozen(kw_only=True)
class DownloadTarget:
    """One file to be had: from where, and where to. `name` makes its name of the extension, dot and all.

    `id` tells it from every other file, whatever its link is today. `fresh` reads the link again, if there is
    something to read it from.
    """

    url: str
    id: str
    folder: Path
    make_filename: Callable[[str], str]
    overwrite: bool = False
    max_bytes: int | None = None
    on_progress: OnProgress | None = None
    refresh_url: Callable[[], Awaitable[str]] | None = None


class Downloader:
    """Downloads files, with a bound of its own on how many come at once.

    `is_own` knows the hosts that redirects may lead to though they are not public.
    """

    def __init__(
        self,
        transport: Transport,
        gate: RequestLimiter,
        retry: RetryPolicy,
        ambient: Environment,
        *,
        is_own: Callable[[str], bool],
        hooks: Sequence[Hooks],
    ) -> None:
        self._transport = transport
        self._limiter = gate
        self._retry = retry
        self._environment = ambient
        self._is_own = is_own
        self._hooks = hooks
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()

    def close(self) -> None:
        """Begin nothing, and end the pauses between attempts."""
        self._closed.set()
        self._limiter.close()

    async def download(self, wanted: DownloadTarget) -> Path:
        """The path of the file. A transfer that breaks off goes on as the retry policy says.

        The policy counts from the last attempt that brought the file on: a long file may break off often. A link that
        has expired is read again once. Cancelling it leaves no file; of a long one what can be taken up by the next
        download.
        """
        transfer = Transfer(wanted, self._open_response)
        asked_at = began = self._loop.time()
        sent, counted, far = 0, 0, 0
        fresh = wanted.refresh_url
        try:
            while True:
                sent, counted = sent + 1, counted + 1
                try:
                    async with self._slot():
                        path = await transfer.attempt()
                    self._notify_download(transfer, asked_at, None)
                    return path
                except RivyaError as error:
                    error.attempts = sent
                    if isinstance(error, EXPIRED_LINK_ERRORS) and fresh is not None:
                        url, fresh = await fresh(), None
                        if url != transfer.url:
                            transfer.url = url
                            continue
                    if transfer.resumable_bytes > far:
                        began, counted, far = self._loop.time(), 1, transfer.resumable_bytes
                    attempts = AttemptState(counted, self._loop.time() - began)
                    decision = decide_retry(
                        self._retry, error, attempts, repeatable=True, u=self._environment.uniform()
                    )
                    if isinstance(decision, GiveUp) or await self._closed_during(decision.delay):
                        raise
        except RivyaError as error:
            self._notify_download(transfer, asked_at, error)
            raise
        finally:
            transfer.close()

    def _notify_download(self, transfer: Transfer, asked_at: float, error: RivyaError | None) -> None:
        if self._hooks:
            elapsed = self._loop.time() - asked_at
            details = DownloadDetails(_hostname(transfer.url), transfer.received_bytes, elapsed, error)
            notify(self._hooks, "on_download", details)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        await self._limiter.acquire()
        try:
            yield
        finally:
            self._limiter.release()

    async def _closed_during(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)
        return self._closed.is_set()

    @asynccontextmanager
    async def _open_response(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[StreamingResponse]:
        """A successful answer, of wherever the redirects lead."""
        hop = RedirectTarget(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._transport.fetch(hop.url, headers, only_public=hop.only_public) as fetched:
                target = redirect_target(hop.url, fetched.head, is_own=self._is_own)
                if target is None:
                    if not fetched.head.is_success:
                        raise _status_error(fetched.head, self._environment.wall_time())
                    yield fetched
                    return
            hop = target
        raise DownloadError(f"the host of the file redirects more than {MAX_REDIRECTS} times: read the job again")


class Transfer:
    """One file on its way, over every attempt."""

    def __init__(
        self,
        wanted: DownloadTarget,
        ask: Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[StreamingResponse]],
    ) -> None:
        self.url = wanted.url
        self.received_bytes = 0
        """What came over the network, in all attempts."""
        self._target = wanted
        self._open_response = ask
        self._partial_file: PartialFile | None = None
        self._path: Path | None = None

    @property
    def resumable_bytes(self) -> int:
        """Bytes on disk that need not come again."""
        return (
            0
            if self._partial_file is None or not self._partial_file.version.can_resume
            else self._partial_file.received
        )

    async def attempt(self) -> Path:
        """Bring the file to its end."""
        while True:
            version = UNKNOWN_VERSION if self._partial_file is None else self._partial_file.version
            received = self.resumable_bytes
            try:
                async with self._open_response(self.url, version.range_headers(received)) as fetched:
                    offset = resume_offset(fetched.head, version, received)
                    part = await run_in_thread_uncancellable(self._prepare_partial_file, fetched.head, offset)
                    if part is not None:
                        return await self._write_and_commit(part, fetched)
            except APIStatusError as error:
                if error.status != RANGE_NOT_SATISFIABLE or not received:
                    raise
                self._restart()

    def close(self) -> None:
        """Keep of it what a later download can take up, if it did not come to its end."""
        if self._partial_file is not None:
            self._partial_file.close()

    def _prepare_partial_file(self, head: Response, offset: int | None) -> PartialFile | None:
        """The part that the body of this answer goes to; None where the host has to be asked otherwise."""
        if offset is None and self.resumable_bytes:  # a part, but not the one that was asked for
            self._restart()
            return None
        if offset is None:
            raise OutcomeUnknownError("the host of the file answered with a part of it that nobody asked for")
        if offset:
            return self._partial_file
        path, version = self._resolve_path(head), resource_version(head)
        if self._partial_file is not None and (self._path, self._partial_file.version) == (path, version):
            self._partial_file.truncate()  # the host gives all or nothing
            return self._partial_file
        if self._partial_file is not None:
            self._partial_file.close(is_stale=True)
        with convert_os_errors(path):
            self._path, self._partial_file = path, PartialFile.open(path, self._target.id, version)
            if self._partial_file.received > (version.total or 0):
                self._partial_file.truncate()
            self._partial_file.check_disk_space(path)
        return self._partial_file if not self._partial_file.received or self._partial_file.is_complete else None

    def _restart(self) -> None:
        """What has come is of no use: ask for all of it."""
        if self._partial_file is not None:
            self._partial_file.truncate()

    def _resolve_path(self, head: Response) -> Path:
        wanted, total = self._target, resource_version(head).total
        path = wanted.folder / wanted.make_filename(file_extension(head.content_type, self.url))
        with convert_os_errors(path), suppress(FileNotFoundError):
            found = path.lstat()  # which also tells of a name that cannot be
            if stat.S_ISDIR(found.st_mode):
                raise ConfigurationError(f"{path} is a folder: choose another name")
            if not wanted.overwrite:
                raise file_exists_error(path)
        if wanted.max_bytes is not None and total is not None and total > wanted.max_bytes:
            raise _too_large_error(path, wanted.max_bytes)
        return path

    async def _write_and_commit(self, part: PartialFile, fetched: StreamingResponse) -> Path:
        path, total = cast("Path", self._path), part.version.total
        while not part.is_complete and (chunk := await fetched.read()):
            self.received_bytes += len(chunk)
            if self._target.max_bytes is not None and part.received + len(chunk) > self._target.max_bytes:
                raise _too_large_error(path, self._target.max_bytes)
            with convert_os_errors(path):
                await run_in_thread_uncancellable(part.write, chunk)
            await self._notify_progress(part.received, total)
        if not part.received:
            raise OutcomeUnknownError(f"{path.name} is empty: the host of the file sent none of it")
        if total is not None and part.received != total:
            if part.received > total:
                part.truncate()
            raise OutcomeUnknownError(
                f"{path.name} broke off: the host of the file sent {part.received:,} of {total:,} bytes"
            )
        with convert_os_errors(path):
            await run_in_thread_uncancellable(part.commit, path, self._target.overwrite)
        return path

    async def _notify_progress(self, received: int, total: int | None) -> None:
        if self._target.on_progress is not None:
            told = self._target.on_progress(received, total)
            if inspect.isawaitable(told):
                await told


def _status_error(answer: Response, now: float) -> APIStatusError:
    """What the host of the file said, which is not the service: its refusal tells nothing of keys and scopes."""
    kind = status_error_class(answer.status, None)
    advice = (
        "the link may have expired, read the job again" if kind in EXPIRED_LINK_ERRORS else "download it again later"
    )
    return kind(
        f"the host of the file answered {answer.status}: {advice}",
        status=answer.status,
        retry_after=answer.retry_after(now),
    )


def _hostname(url: str) -> str:
    """The host alone: who has the rest of a link has the file."""
    with suppress(ValueError):
        return urlsplit(url).hostname or ""
    return ""


def _too_large_error(path: Path, most: int) -> DownloadError:
    return DownloadError(f"{path.name} is longer than max_bytes={most}: nothing is kept; raise it", path=str(path))
