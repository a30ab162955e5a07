"""Result files to disk: streamed to a temporary file beside the target and renamed when whole."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .._core.errors import Answered, ConfigurationError, RivyaError, answered_class
from .._core.filenames import extension
from .._core.retry import Attempts, Stop, decide

if TYPE_CHECKING:
    from pathlib import Path

    from .._core.message import Response
    from .._core.policies import RetryPolicy
    from .ambient import Ambient
    from .gate import Gate
    from .transport import Fetched, Transport

STEM_KEPT: Final = 40
"""Characters of a file's name that its temporary file bears."""


class Downloader:
    """Downloads a URL to a file, with a bound of its own on how many run at once."""

    def __init__(self, transport: Transport, gate: Gate, retry: RetryPolicy, ambient: Ambient) -> None:
        self._transport = transport
        self._gate = gate
        self._retry = retry
        self._ambient = ambient
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()

    def close(self) -> None:
        """Begin nothing, and end the pauses between attempts."""
        self._closed.set()
        self._gate.close()

    async def download(self, url: str, folder: Path, name: str | None, *, stem: str, overwrite: bool) -> Path:
        """The path of the file: `folder / name`, or a name from `stem` and the content type.

        A transfer that breaks off is begun anew as the retry policy says. Cancelling it leaves nothing on disk.
        """
        began = self._loop.time()
        sent = 0
        while True:
            sent += 1
            try:
                return await self._once(url, folder, name, stem=stem, overwrite=overwrite)
            except RivyaError as error:
                error.attempts = sent
                attempts = Attempts(sent, self._loop.time() - began)
                decision = decide(self._retry, error, attempts, repeatable=True, u=self._ambient.uniform())
                if isinstance(decision, Stop) or await self._is_closed_within(decision.delay):
                    raise

    async def _is_closed_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)
        return self._closed.is_set()

    async def _once(self, url: str, folder: Path, name: str | None, *, stem: str, overwrite: bool) -> Path:
        await self._gate.enter()
        try:
            async with self._transport.fetch(url) as fetched:
                if not fetched.head.is_success:
                    raise _refused(fetched.head, self._ambient.wall())
                path = folder / (name or stem + extension(fetched.head.content_type, url))
                if path.exists() and not overwrite:
                    raise _exists(path)
                await self._save(fetched, path, overwrite=overwrite)
                return path
        finally:
            self._gate.leave()

    async def _save(self, fetched: Fetched, path: Path, *, overwrite: bool) -> None:
        """Write to a hidden file beside the target, then rename it: nobody ever sees half a file.

        Opening and renaming are single quick system calls; only writing goes to a thread.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name[:STEM_KEPT]}.{uuid.uuid4().hex}.part")
        try:
            with part.open("xb") as file:
                async for chunk in fetched.chunks():
                    await asyncio.to_thread(file.write, chunk)
            if overwrite:
                part.replace(path)
            else:
                _rename(part, path)
        finally:
            part.unlink(missing_ok=True)


def _refused(answer: Response, now: float) -> Answered:
    """What the host of the file said, which is not the service: its refusal tells nothing of keys and scopes."""
    return answered_class(answer.status, None)(
        f"the host of the file answered {answer.status}: the link may have expired, read the job again for a fresh one",
        status=answer.status,
        retry_after=answer.retry_after(now),
    )


def _rename(part: Path, path: Path) -> None:
    """Give the file its name, but never the name of a file that has appeared meanwhile."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without links
        if path.exists():
            raise _exists(path) from None
        part.replace(path)


def _exists(path: Path) -> ConfigurationError:
    return ConfigurationError(f"{path} exists: pass overwrite=True, or another target")
