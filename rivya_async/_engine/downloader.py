"""Result files to disk: taken up where they broke off, checked for their length, and given their name when whole."""

from __future__ import annotations

import asyncio
import inspect
import stat
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import attrs

from .._core.errors import (
    Answered,
    ConfigurationError,
    DownloadError,
    NotFound,
    OutcomeUnknown,
    RivyaError,
    ScopeDenied,
    Unauthorized,
    ValidationFailed,
    answered_class,
)
from .._core.filenames import extension
from .._core.redirects import MOST_REDIRECTS, Hop, target_of
from .._core.retry import Attempts, Stop, decide
from .._core.transfer import UNKNOWN, goes_on_at, version_of
from .disk import disk, to_the_end
from .hooks import DownloadDetails, tell
from .part import Part, exists

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from .._core.message import Response
    from .._core.policies import RetryPolicy
    from .ambient import Ambient
    from .gate import Gate
    from .hooks import Hooks
    from .transport import Fetched, Transport
    from .uploader import OnProgress

BEYOND_THE_END: Final = 416

EXPIRED: Final = (ValidationFailed, Unauthorized, ScopeDenied, NotFound)
"""400, 401, 403, 404, 410: what one host or another answers to a link that is no longer good."""


@attrs.frozen(kw_only=True)
class Wanted:
    """One file to be had: from where, and where to. `name` makes its name of the extension, dot and all.

    `id` tells it from every other file, whatever its link is today. `fresh` reads the link again, if there is
    something to read it from.
    """

    url: str
    id: str
    folder: Path
    name: Callable[[str], str]
    overwrite: bool = False
    max_bytes: int | None = None
    on_progress: OnProgress | None = None
    fresh: Callable[[], Awaitable[str]] | None = None


class Downloader:
    """Downloads files, with a bound of its own on how many come at once.

    `is_own` knows the hosts that redirects may lead to though they are not public.
    """

    def __init__(
        self,
        transport: Transport,
        gate: Gate,
        retry: RetryPolicy,
        ambient: Ambient,
        *,
        is_own: Callable[[str], bool],
        hooks: Sequence[Hooks],
    ) -> None:
        self._transport = transport
        self._gate = gate
        self._retry = retry
        self._ambient = ambient
        self._is_own = is_own
        self._hooks = hooks
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()

    def close(self) -> None:
        """Begin nothing, and end the pauses between attempts."""
        self._closed.set()
        self._gate.close()

    async def download(self, wanted: Wanted) -> Path:
        """The path of the file. A transfer that breaks off goes on as the retry policy says.

        The policy counts from the last attempt that brought the file on: a long file may break off often. A link that
        has expired is read again once. Cancelling it leaves no file; of a long one what can be taken up by the next
        download.
        """
        transfer = Transfer(wanted, self._asked)
        asked_at = began = self._loop.time()
        sent, counted, far = 0, 0, 0
        fresh = wanted.fresh
        try:
            while True:
                sent, counted = sent + 1, counted + 1
                try:
                    async with self._place():
                        path = await transfer.attempt()
                    self._tell(transfer, asked_at, None)
                    return path
                except RivyaError as error:
                    error.attempts = sent
                    if isinstance(error, EXPIRED) and fresh is not None:
                        url, fresh = await fresh(), None
                        if url != transfer.url:
                            transfer.url = url
                            continue
                    if transfer.resumable > far:
                        began, counted, far = self._loop.time(), 1, transfer.resumable
                    attempts = Attempts(counted, self._loop.time() - began)
                    decision = decide(self._retry, error, attempts, repeatable=True, u=self._ambient.uniform())
                    if isinstance(decision, Stop) or await self._is_closed_within(decision.delay):
                        raise
        except RivyaError as error:
            self._tell(transfer, asked_at, error)
            raise
        finally:
            transfer.leave()

    def _tell(self, transfer: Transfer, asked_at: float, error: RivyaError | None) -> None:
        if self._hooks:
            elapsed = self._loop.time() - asked_at
            details = DownloadDetails(_host_of(transfer.url), transfer.received_bytes, elapsed, error)
            tell(self._hooks, "on_download", details)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        await self._gate.enter()
        try:
            yield
        finally:
            self._gate.leave()

    async def _is_closed_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)
        return self._closed.is_set()

    @asynccontextmanager
    async def _asked(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Fetched]:
        """A successful answer, of wherever the redirects lead."""
        hop = Hop(url)
        for _ in range(MOST_REDIRECTS + 1):
            async with self._transport.fetch(hop.url, headers, only_public=hop.only_public) as fetched:
                target = target_of(hop.url, fetched.head, is_own=self._is_own)
                if target is None:
                    if not fetched.head.is_success:
                        raise _refused(fetched.head, self._ambient.wall())
                    yield fetched
                    return
            hop = target
        raise DownloadError(f"the host of the file redirects more than {MOST_REDIRECTS} times: read the job again")


class Transfer:
    """One file on its way, over every attempt."""

    def __init__(
        self,
        wanted: Wanted,
        ask: Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[Fetched]],
    ) -> None:
        self.url = wanted.url
        self.received_bytes = 0
        """What came over the network, in all attempts."""
        self._wanted = wanted
        self._ask = ask
        self._part: Part | None = None
        self._path: Path | None = None

    @property
    def resumable(self) -> int:
        """Bytes on disk that need not come again."""
        return 0 if self._part is None or not self._part.version.can_resume else self._part.received

    async def attempt(self) -> Path:
        """Bring the file to its end."""
        while True:
            version = UNKNOWN if self._part is None else self._part.version
            received = self.resumable
            try:
                async with self._ask(self.url, version.rest(received)) as fetched:
                    offset = goes_on_at(fetched.head, version, received)
                    part = await to_the_end(self._begin, fetched.head, offset)
                    if part is not None:
                        return await self._bring_home(part, fetched)
            except Answered as error:
                if error.status != BEYOND_THE_END or not received:
                    raise
                self._again()

    def leave(self) -> None:
        """Keep of it what a later download can take up, if it did not come to its end."""
        if self._part is not None:
            self._part.leave()

    def _begin(self, head: Response, offset: int | None) -> Part | None:
        """The part that the body of this answer goes to; None where the host has to be asked otherwise."""
        if offset is None and self.resumable:  # a part, but not the one that was asked for
            self._again()
            return None
        if offset is None:
            raise OutcomeUnknown("the host of the file answered with a part of it that nobody asked for")
        if offset:
            return self._part
        path, version = self._target(head), version_of(head)
        if self._part is not None and (self._path, self._part.version) == (path, version):
            self._part.empty()  # the host gives all or nothing
            return self._part
        if self._part is not None:
            self._part.leave(is_stale=True)
        with disk(path):
            self._path, self._part = path, Part.open(path, self._wanted.id, version)
            if self._part.received > (version.total or 0):
                self._part.empty()
            self._part.check_room(path)
        return self._part if not self._part.received or self._part.is_whole else None

    def _again(self) -> None:
        """What has come is of no use: ask for all of it."""
        if self._part is not None:
            self._part.empty()

    def _target(self, head: Response) -> Path:
        wanted, total = self._wanted, version_of(head).total
        path = wanted.folder / wanted.name(extension(head.content_type, self.url))
        with disk(path), suppress(FileNotFoundError):
            found = path.lstat()  # which also tells of a name that cannot be
            if stat.S_ISDIR(found.st_mode):
                raise ConfigurationError(f"{path} is a folder: choose another name")
            if not wanted.overwrite:
                raise exists(path)
        if wanted.max_bytes is not None and total is not None and total > wanted.max_bytes:
            raise _too_long(path, wanted.max_bytes)
        return path

    async def _bring_home(self, part: Part, fetched: Fetched) -> Path:
        path, total = cast("Path", self._path), part.version.total
        while not part.is_whole and (chunk := await fetched.read()):
            self.received_bytes += len(chunk)
            if self._wanted.max_bytes is not None and part.received + len(chunk) > self._wanted.max_bytes:
                raise _too_long(path, self._wanted.max_bytes)
            with disk(path):
                await to_the_end(part.write, chunk)
            await self._tell(part.received, total)
        if not part.received:
            raise OutcomeUnknown(f"{path.name} is empty: the host of the file sent none of it")
        if total is not None and part.received != total:
            if part.received > total:
                part.empty()
            raise OutcomeUnknown(
                f"{path.name} broke off: the host of the file sent {part.received:,} of {total:,} bytes"
            )
        with disk(path):
            await to_the_end(part.place, path, self._wanted.overwrite)
        return path

    async def _tell(self, received: int, total: int | None) -> None:
        if self._wanted.on_progress is not None:
            told = self._wanted.on_progress(received, total)
            if inspect.isawaitable(told):
                await told


def _refused(answer: Response, now: float) -> Answered:
    """What the host of the file said, which is not the service: its refusal tells nothing of keys and scopes."""
    kind = answered_class(answer.status, None)
    advice = "the link may have expired, read the job again" if kind in EXPIRED else "download it again later"
    return kind(
        f"the host of the file answered {answer.status}: {advice}",
        status=answer.status,
        retry_after=answer.retry_after(now),
    )


def _host_of(url: str) -> str:
    """The host alone: who has the rest of a link has the file."""
    with suppress(ValueError):
        return urlsplit(url).hostname or ""
    return ""


def _too_long(path: Path, most: int) -> DownloadError:
    return DownloadError(f"{path.name} is longer than max_bytes={most}: nothing is kept; raise it", path=str(path))
