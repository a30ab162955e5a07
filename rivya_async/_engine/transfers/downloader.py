"""Result files to disk: resumed where they broke off, checked for their length, renamed when complete."""

from __future__ import annotations

import asyncio
import inspect
import stat
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import attrs

from ..._core.errors import APIStatusError, ConfigurationError, DownloadError, OutcomeUnknownError, RivyaError
from ..._core.files.media_type import SNIFF_BYTES, is_result_media, result_extension
from ..._core.http.range_requests import UNKNOWN_VERSION, resource_version, resume_offset
from ..._core.http.redirects import MAX_REDIRECTS, RedirectTarget, link_target, redirect_target
from ..hooks import DownloadDetails, notify
from .file_io import await_uncancellable, convert_os_errors, run_in_thread_uncancellable, start_in_thread
from .file_response import EXPIRED_LINK_ERRORS, ResponseBody, UnusableResponseError, validate_head
from .partial_file import PartialFile, file_exists_error, is_whole_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from ..._core.config import Config
    from ..._core.http.messages import Response
    from ..http.request_executor import RequestExecutor
    from ..http.request_limiter import ClosableSemaphore
    from ..http.transport import StreamingResponse, Transport
    from .partial_file import Exists
    from .uploader import OnProgress

RANGE_NOT_SATISFIABLE: Final = 416

MIN_PROGRESS_BYTES: Final = 64 * 1024
"""Bytes after which the retry policy begins again. Without a minimum, one byte per attempt would never end."""

MAX_REFRESHES: Final = 100
"""Times that the link of one file is read again in one download."""


@attrs.frozen(kw_only=True)
class DownloadTarget:
    """One file to download. `make_filename` returns the file's name for an extension that includes the dot.

    `id` identifies the file, also if its link has changed. `refresh_url` reads the link again, where that is possible.
    `is_result` is true for a link of the service, which must lead to media on the public internet, and false for a URL
    of the caller.
    """

    url: str
    id: str
    folder: Path
    make_filename: Callable[[str], str]
    is_result: bool = True
    exists: Exists = "error"
    max_bytes: int | None = None
    on_progress: OnProgress | None = None
    refresh_url: Callable[[], Awaitable[str]] | None = None


class Downloader:
    """Downloads files. Downloads in flight are bounded apart from calls and polls: they go to other hosts."""

    def __init__(
        self, executor: RequestExecutor, transport: Transport, downloads: ClosableSemaphore, config: Config
    ) -> None:
        self._executor = executor
        self._transport = transport
        self._downloads = downloads
        self._config = config
        self._loop = asyncio.get_running_loop()

    async def download(self, target: DownloadTarget) -> Path:
        """Returns the path of the file. An interrupted transfer is resumed under the retry policy.

        The policy counts attempts from the last one that made progress: a long file may break off often. An expired
        link is read again once, and once more after each progress. Cancelling leaves no file, but of a long file the
        part that a later download resumes.
        """
        transfer = Transfer(target, self._open_response)
        started = self._loop.time()
        try:
            path = await self._run_to_end(transfer, target.refresh_url)
        except RivyaError as error:
            self._notify_download(transfer, started, error)
            raise
        finally:
            transfer.close()
        self._notify_download(transfer, started, None)
        return path

    async def _run_to_end(self, transfer: Transfer, refresh_url: Callable[[], Awaitable[str]] | None) -> Path:
        attempts, reached, refreshes = 0, -1, 0
        while True:
            try:
                return await self._executor.run(
                    transfer.attempt, self._downloads, progress=transfer.progress, previous_attempts=attempts
                )
            except (*EXPIRED_LINK_ERRORS, UnusableResponseError) as error:
                received = transfer.resumable_bytes()
                if refresh_url is None or received <= reached or refreshes >= MAX_REFRESHES:
                    raise _final_error(error) from error.__cause__
                try:
                    is_new = transfer.replace_url(await refresh_url())
                except RivyaError as cause:
                    if isinstance(error, UnusableResponseError):
                        raise _final_error(error) from cause
                    raise
                if not is_new:
                    raise _final_error(error) from error.__cause__
                attempts, reached, refreshes = error.attempts, received, refreshes + 1

    def _notify_download(self, transfer: Transfer, started: float, error: RivyaError | None) -> None:
        hooks = self._executor.hooks
        if hooks:
            elapsed = self._loop.time() - started
            details = DownloadDetails(_hostname(transfer.url), transfer.received_bytes, elapsed, error)
            notify(hooks, "on_download", details)

    @asynccontextmanager
    async def _open_response(
        self, url: str, headers: Mapping[str, str], *, is_result: bool
    ) -> AsyncIterator[StreamingResponse]:
        """Yields a response with a file, after redirects."""
        is_own = self._config.is_service_host
        target = link_target(url, base_url=self._config.base_url, is_own=is_own) if is_result else RedirectTarget(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._transport.fetch(target.url, headers, only_public=target.only_public) as response:
                next_target = redirect_target(target.url, response.head, is_own=is_own)
                if next_target is None:
                    validate_head(response.head, self._executor.environment.wall_time())
                    yield response
                    return
            target = next_target
        raise DownloadError(f"the host of the file redirects more than {MAX_REDIRECTS} times: read the job again")


class Transfer:
    """The state of one file over all attempts."""

    def __init__(
        self,
        target: DownloadTarget,
        open_response: Callable[..., AbstractAsyncContextManager[StreamingResponse]],
    ) -> None:
        self.url = target.url
        self.received_bytes = 0
        """Bytes received over the network, in all attempts."""
        self._target = target
        self._open_response = open_response
        self._partial_file: PartialFile | None = None
        self._path: Path | None = None
        self._is_cancelled = False

    def resumable_bytes(self) -> int:
        """Returns the number of bytes on disk that need not be sent again."""
        partial_file = self._partial_file
        return 0 if partial_file is None or not partial_file.version.can_resume else partial_file.received

    def progress(self) -> int:
        """Returns the units of progress on disk."""
        return self.resumable_bytes() // MIN_PROGRESS_BYTES

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
                range_headers = version.range_headers(received)
                async with self._open_response(self.url, range_headers, is_result=self._target.is_result) as response:
                    offset, body = resume_offset(response.head, version, received), ResponseBody(response)
                    if offset == 0:
                        total = resource_version(response.head).total
                        self._check_length(total or 0)
                        if await body.read_ahead(total) and self._target.on_progress is None:
                            saving = start_in_thread(self._save_whole, response.head, body.start)
                            path = await await_uncancellable(saving, self._cancel_commit)
                            if path is not None:
                                return path
                            continue
                    partial_file = await run_in_thread_uncancellable(
                        self._prepare_partial_file, response.head, body.start, offset
                    )
                    if partial_file is not None:
                        return await self._write_and_commit(partial_file, body)
            except APIStatusError as error:
                if error.status != RANGE_NOT_SATISFIABLE or not received:
                    raise
                self._restart()

    def close(self) -> None:
        """Keeps an incomplete file if a later download can resume it."""
        if self._partial_file is not None:
            self._partial_file.close()

    def _prepare_partial_file(self, head: Response, start: bytes, offset: int | None) -> PartialFile | None:
        """Returns the file that the body of this response is written to; None if another request is needed.

        `start` is the start of the body if it is the whole file.
        """
        if offset is None and self.resumable_bytes():  # a range, but not the requested one
            self._restart()
            return None
        if offset is None:
            raise OutcomeUnknownError("the host of the file answered with a range that was not requested")
        if offset:
            return self._partial_file
        path, version = self._resolve_path(head, start), resource_version(head)
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

    def _save_whole(self, head: Response, content: bytes) -> Path | None:
        """Saves a short file in one step, which saves two changes of thread. Returns None as the method above.

        A cancellation waits for the step. It leaves no file, unless the commit has begun.
        """
        partial_file = self._prepare_partial_file(head, content, 0)
        if partial_file is None:
            return None
        path = cast("Path", self._path)
        with convert_os_errors(path):
            if not partial_file.is_complete:
                partial_file.write(content)
                self.received_bytes += len(content)
            return None if self._is_cancelled else partial_file.commit(path, self._target.exists)

    def _cancel_commit(self) -> None:
        self._is_cancelled = True

    def _restart(self) -> None:
        """Discards the received bytes: the next request asks for the whole file."""
        if self._partial_file is not None:
            self._partial_file.truncate()

    def _resolve_path(self, head: Response, start: bytes) -> Path:
        target, content_type = self._target, head.content_type
        if start and not is_result_media(content_type, start[:SNIFF_BYTES], rejects_text=target.is_result):
            raise UnusableResponseError(
                f"the host of the file answered with a page or a message ({(content_type or 'text')[:50]}), and not "
                "with an image, a video or audio: nothing was saved. Read the job again, and download it later"
            )
        path = target.folder / target.make_filename(result_extension(content_type, start[:SNIFF_BYTES], self.url))
        with convert_os_errors(path), suppress(FileNotFoundError):
            status = path.lstat()  # also raises for a name that the file system does not accept
            if stat.S_ISDIR(status.st_mode):
                raise ConfigurationError(f"{path} is a folder: choose another name")
            if target.exists == "error" or (target.exists == "keep" and not is_whole_file(path)):
                raise file_exists_error(path)
        return path

    def _check_length(self, length: int) -> None:
        max_bytes = self._target.max_bytes
        if max_bytes is not None and length > max_bytes:
            path = None if self._path is None else str(self._path)
            raise DownloadError(f"the file is longer than max_bytes={max_bytes}: nothing is kept; raise it", path=path)

    async def _write_and_commit(self, partial_file: PartialFile, body: ResponseBody) -> Path:
        path, total = cast("Path", self._path), partial_file.version.total
        while not partial_file.is_complete and (chunk := await body.read()):
            self.received_bytes += len(chunk)
            self._check_length(partial_file.received + len(chunk))
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
            return await run_in_thread_uncancellable(partial_file.commit, path, self._target.exists)

    async def _notify_progress(self, received: int, total: int | None) -> None:
        if self._target.on_progress is not None:
            result = self._target.on_progress(received, total)
            if inspect.isawaitable(result):
                await result


def _hostname(url: str) -> str:
    """Returns the host alone: the rest of a link gives access to the file."""
    with suppress(ValueError):
        return urlsplit(url).hostname or ""
    return ""


def _final_error(error: RivyaError) -> RivyaError:
    if not isinstance(error, UnusableResponseError):
        return error
    return DownloadError(error.message, attempts=error.attempts)
