"""The parts of a session that a batch uses. Workers implement them too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from .._engine.hooks import Hooks, PollDetails

if TYPE_CHECKING:
    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import Generation, SavedFile
    from ..resources.files import Files
    from ..resources.generations import Generations
    from ..resources.models import Models


class BatchBackend(Protocol):
    """The members of a session that a run uses. An implementation raises the errors of a session."""

    @property
    def base_url(self) -> str: ...  # noqa: D102  as in `RivyaSession`

    @property
    def models(self) -> Models: ...  # noqa: D102  as in `RivyaSession`

    @property
    def files(self) -> Files: ...  # noqa: D102  as in `RivyaSession`

    @property
    def generations(self) -> Generations: ...  # noqa: D102  as in `RivyaSession`

    def submit(self, request: GenerationRequest, /, *, idempotency_key: str) -> Awaitable[Generation]:
        """Purchases a job under this key."""
        ...

    def wait_for(self, bought: Generation | str, /, *, raise_on_failure: bool) -> Awaitable[Generation]:
        """Waits until the job ends."""
        ...

    def download(
        self, source: Generation | str, /, to: Path, *, name: str, exists: Literal["overwrite"]
    ) -> Awaitable[Sequence[Path]]:
        """Saves the files of a job."""
        ...


FileSaver: TypeAlias = "Callable[[Generation, Path, str], Awaitable[Sequence[SavedFile]]]"
"""A function that saves the files of a job in a folder, under names by a template, outside this process.

It raises `DownloadError`.
"""


class PollCounter(Hooks):
    """The number of polls of each job of a batch. Other jobs of the session are not counted."""

    def __init__(self) -> None:
        self._polls: dict[str, int] = {}

    def begin(self, task_id: str) -> None:
        """Starts counting the polls of this job."""
        self._polls[task_id] = 0

    def end(self, task_id: str) -> int:
        """Stops counting and returns the number."""
        return self._polls.pop(task_id, 0)

    def on_poll(self, details: PollDetails) -> None:
        """Counts a poll."""
        if details.task_id in self._polls:
            self._polls[details.task_id] += 1
