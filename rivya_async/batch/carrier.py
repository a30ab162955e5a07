"""Who buys and waits for a batch: a session, or workers in its place."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import Generation, SavedFile
    from ..resources.files import Files
    from ..resources.generations import Generations
    from ..resources.models import Models


class Carrier(Protocol):
    """What a run needs of a session. What it raises decides what becomes of a row: it raises what a session does."""

    @property
    def base_url(self) -> str:
        """Where the service is."""
        ...

    @property
    def models(self) -> Models:
        """The catalogue."""
        ...

    @property
    def files(self) -> Files:
        """Uploads."""
        ...

    @property
    def generations(self) -> Generations:
        """Reads of single jobs."""
        ...

    def submit(self, request: GenerationRequest, /, *, idempotency_key: str) -> Awaitable[Generation]:
        """Buy a job under this key."""
        ...

    def wait_for(self, bought: Generation | str, /, *, raise_on_failure: bool) -> Awaitable[Generation]:
        """Wait for its end."""
        ...

    def download(
        self, source: Generation | str, /, to: Path, *, name: str, overwrite: bool
    ) -> Awaitable[Sequence[Path]]:
        """Save its files."""
        ...


class Saver(Protocol):
    """Who saves the files of ended jobs, where this process does not."""

    def __call__(self, job: Generation, folder: Path, name: str, /) -> Awaitable[Sequence[SavedFile]]:
        """Save them in a folder, under names by this template. `DownloadError` where that does not go."""
        ...
