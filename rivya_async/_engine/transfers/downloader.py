"""Result files to disk: resumed where they broke off, checked for their length, renamed when complete."""

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
    BadRequestError,
    ConfigurationError,
    DownloadError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RivyaError,
)
from ..._core.files.filenames import file_extension
from ..._core.http.error_responses import status_error_class
from ..._core.http.range_requests import UNKNOWN_VERSION, resource_version, resume_offset
from ..._core.http.redirects import MAX_REDIRECTS, RedirectTarget, redirect_target
from ..hooks import DownloadDetails, notify
from .file_io import convert_os_errors, run_in_thread_uncancellable
from .partial_file import PartialFile, file_exists_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from ..._core.http.messages import Response
    from ..http.request_executor import RequestExecutor
    from ..http.request_limiter import ClosableSemaphore
    from ..http.transport import StreamingResponse, Transport
    from .uploader import OnProgress

RANGE_NOT_SATISFIABLE: Final = 416

EXPIRED_LINK_ERRORS: Final = (BadRequestError, AuthenticationError, PermissionDeniedError, NotFoundError)
"""Errors of 400, 401, 403, 404 and 410: what file hosts answer to an expired link."""


@attrs.frozen(kw_only=True)
class DownloadTarget:
    """One file to download. `make_filename` returns the file's name for an extension that includes the dot.

    `id` identifies the file, also if its link has changed. `refresh_url` reads the link again, where that is possible.
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
    """Downloads files. Downloads in flight are bounded apart from calls and polls: they go to other hosts.

    `is_own` recognises the service's own hosts, to which redirects may lead although they are not public.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        transport: Transport,
        downloads: ClosableSemaphore,
        *,
        is_own: Callable[[str], bool],
    ) -> None:
        self._executor = executor
        self._transport = transport
        self._downloads = downloads
        self._is_own = is_own
        self._loop = asyncio.get_running_loop()

    async def download(self, target: DownloadTarget) -> Path:
        """Returns the path of the file. An interrupted transfer is resumed under the retry policy.

        The policy counts attempts from the last one that made progress: a long file may break off often. An expired
        link is read again once. Cancelling leaves no file, but of a long file the part that a later download resumes.
        """
        transfer = Transfer(target, self._open_response)
        started = self._loop.time()
        try:
            try:
                path = await self._run(transfer)
            except EXPIRED_LINK_ERRORS as error:
                if target.refresh_url is None or not transfer.replace_url(await target.refresh_url()):
                    raise
                path = await self._run(transfer, error.attempts)
        except RivyaError as error:
            self._notify_download(transfer, started, error)
            raise
        finally:
            transfer.close()
        self._notify_download(transfer, started, None)
        return path

    async def _run(self, transfer: Transfer, previous_attempts: int = 0) -> Path:
        return await self._executor.run(
            transfer.attempt,
            self._downloads,
            progress=transfer.resumable_bytes,
            previous_attempts=previous_attempts,
        )

    def _notify_download(self, transfer: Transfer, started: float, error: RivyaError | None) -> None:
        hooks = self._executor.hooks
        if hooks:
            elapsed = self._loop.time() - started
            details = DownloadDetails(_hostname(transfer.url), transfer.received_bytes, elapsed, error)
            notify(hooks, "on_download", details)

    @asynccontextmanager
    async def _open_response(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[StreamingResponse]:
        """Yields a successful response, after redirects."""
        target = RedirectTarget(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._transport.fetch(target.url, headers, only_public=target.only_public) as response:
                next_target = redirect_target(target.url, response.head, is_own=self._is_own)
                if next_target is None:
                    if not response.head.is_success:
                        raise _status_error(response.head, self._executor.environment.wall_time())
                    yield response
                    return
            target = next_target
        raise DownloadError(f"the host of the file redirects more than {MAX_REDIRECTS} times: read the job again")


class Transfer:
    """The state of one file over all attempts."""

    def __init__(
        self,
        target: DownloadTarget,
        open_response: Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[StreamingResponse]],
    ) -> None:
        self.url = target.url
        self.received_bytes = 0
        """Bytes received over the network, in all attempts."""
        self._target = target
        self._open_response = open_response
        self._partial_file: PartialFile | None = None
        self._path: Path | None = None

    def resumable_bytes(self) -> int:
        """Returns the number of bytes on disk that need not be sent again."""
        partial_file = self._partial_file
        return 0 if partial_file is None or not partial_file.version.can_resume else partial_file.received

    def replace_url(self, url: str) -> bool:
        """Takes a new link; returns whether it differs from the current one."""
        is_new = url != self.url
        self.url = url
        return is_new

    async def attempt(self, _number: int = 1) -> Path:
        """Downloads the missing bytes; returns the path of the complete file."""
        while True:
            version = UNKNOWN_VERSION if self._partial_file is None else self._partial_file.version
            received = self.resumable_bytes()
            try:
                async with self._open_response(self.url, version.range_headers(received)) as response:
                    offset = resume_offset(response.head, version, received)
                    partial_file = await run_in_thread_uncancellable(self._prepare_partial_file, response.head, offset)
                    if partial_file is not None:
                        return await self._write_and_commit(partial_file, response)
            except APIStatusError as error:
                if error.status != RANGE_NOT_SATISFIABLE or not received:
                    raise
                self._restart()

    def close(self) -> None:
        """Keeps an incomplete file if a later download can resume it."""
        if self._partial_file is not None:
            self._partial_file.close()

    def _prepare_partial_file(self, head: Response, offset: int | None) -> PartialFile | None:
        """Returns the file that the body of this response is written to; None if another request is needed."""
        if offset is None and self.resumable_bytes():  # a range, but not the requested one
            self._restart()
            return None
        if offset is None:
            raise OutcomeUnknownError("the host of the file answered with a range that was not requested")
        if offset:
            return self._partial_file
        path, version = self._resolve_path(head), resource_version(head)
        if self._partial_file is not None and (self._path, self._partial_file.version) == (path, version):
            self._partial_file.truncate()  # the host does not serve ranges
            return self._partial_file
        if self._partial_file is not None:
            self._partial_file.close(is_stale=True)
        with convert_os_errors(path):
            self._path, self._partial_file = path, PartialFile.open(path, self._target.id, version)
            if self._partial_file.received > (version.total or 0):
                self._partial_file.truncate()
            self._partial_file.check_disk_space(path)
        is_usable = not self._partial_file.received or self._partial_file.is_complete
        return self._partial_file if is_usable else None

    def _restart(self) -> None:
        """Discards the received bytes: the next request asks for the whole file."""
        if self._partial_file is not None:
            self._partial_file.truncate()

    def _resolve_path(self, head: Response) -> Path:
        target, total = self._target, resource_version(head).total
        path = target.folder / target.make_filename(file_extension(head.content_type, self.url))
        with convert_os_errors(path), suppress(FileNotFoundError):
            status = path.lstat()  # also raises for a name that the file system does not accept
            if stat.S_ISDIR(status.st_mode):
                raise ConfigurationError(f"{path} is a folder: choose another name")
            if not target.overwrite:
                raise file_exists_error(path)
        if target.max_bytes is not None and total is not None and total > target.max_bytes:
            raise _too_large_error(path, target.max_bytes)
        return path

    async def _write_and_commit(self, partial_file: PartialFile, response: StreamingResponse) -> Path:
        path, total, max_bytes = cast("Path", self._path), partial_file.version.total, self._target.max_bytes
        while not partial_file.is_complete and (chunk := await response.read()):
            self.received_bytes += len(chunk)
            if max_bytes is not None and partial_file.received + len(chunk) > max_bytes:
                raise _too_large_error(path, max_bytes)
            with convert_os_errors(path):
                await run_in_thread_uncancellable(partial_file.write, chunk)
            await self._notify_progress(partial_file.received, total)
        if not partial_file.received:
            raise OutcomeUnknownError(f"{path.name} is empty: the host of the file sent none of it")
        if total is not None and partial_file.received != total:
            received = partial_file.received
            if received > total:
                partial_file.truncate()
            raise OutcomeUnknownError(
                f"{path.name} broke off: the host of the file sent {received:,} of {total:,} bytes"
            )
        with convert_os_errors(path):
            await run_in_thread_uncancellable(partial_file.commit, path, self._target.overwrite)
        return path

    async def _notify_progress(self, received: int, total: int | None) -> None:
        if self._target.on_progress is not None:
            result = self._target.on_progress(received, total)
            if inspect.isawaitable(result):
                await result


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


def _hostname(url: str) -> str:
    """Returns the host alone: the rest of a link gives access to the file."""
    with suppress(ValueError):
        return urlsplit(url).hostname or ""
    return ""


def _too_large_error(path: Path, max_bytes: int) -> DownloadError:
    return DownloadError(f"{path.name} is longer than max_bytes={max_bytes}: nothing is kept; raise it", path=str(path))
