"""Downloads that appear in their folder only when they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._engine.disk import to_the_end
from .._engine.placing import placed, waiting_room

if TYPE_CHECKING:
    from .._core.records import Generation
    from .._core.saved_file import SavedFile

MAX_LOOP_HASH_BYTES: Final = 1024 * 1024
"""Bytes of the largest file that is hashed on the event loop: it takes less time than a thread."""


async def save_files(
    session: Any, generation: Generation, folder: Path, *, name: str | None, owner: str, relative_to: Path | None = None
) -> list[SavedFile]:
    """Downloads the files of a job into the staging folder of `owner`, and moves each into `folder`.

    `name` is a template. Paths are relative to `relative_to`, or absolute. Raises `ConfigurationError` where another
    file has the name.
    """
    paths = await session.download(generation, waiting_room(folder, owner), name=name, overwrite=True)
    files = []
    for path in paths:
        move = (path, folder, relative_to or folder)
        file = placed(*move) if path.stat().st_size <= MAX_LOOP_HASH_BYTES else await to_the_end(placed, *move)
        files.append(file if relative_to else attrs.evolve(file, path=str(folder.absolute() / path.name)))
    return files
