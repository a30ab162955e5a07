"""Downloads of result files: their URLs, file names and refreshed links."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .._core.errors import ConfigurationError, RivyaError
from .._core.files.filename_template import FilenameTemplate
from .._core.files.filenames import safe_stem, stem_from_url
from .._core.http.operations import retrieve_generation
from .._core.types.generations import Generation
from .._engine.transfers.downloader import DownloadTarget
from .._engine.transfers.file_io import convert_os_errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from .._engine.engine import Engine
    from .._engine.transfers.uploader import OnProgress

URL_PATTERN: Final = re.compile(r"(?i)https?://.")
MAX_SHOWN_LENGTH: Final = 60
"""Characters of a URL in an error message."""

PLACEHOLDER_EXTENSION: Final = ".unknown"
"""The longest possible extension of a URL. Names are validated with it before the first request."""


class ResultDownloads:
    """The implementation of `RivyaSession.download`."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def save(
        self,
        source: Generation | str,
        to: str | os.PathLike[str],
        *,
        name: str | None,
        overwrite: bool,
        max_bytes: int | None,
        on_progress: OnProgress | None,
    ) -> list[Path]:
        """Saves the files of a job or of one URL; see `RivyaSession.download`."""
        _validate_options(max_bytes, on_progress)
        urls = _source_urls(source)
        folder, make_namer = _resolve_names(source, to, name, len(urls))
        targets = [
            DownloadTarget(
                url=url,
                id=url if isinstance(source, str) else f"{source.id}/{number}",
                folder=folder,
                make_filename=make_namer(number),
                overwrite=overwrite,
                max_bytes=max_bytes,
                on_progress=on_progress,
                refresh_url=None if isinstance(source, str) else self._url_refresher(source, number - 1),
            )
            for number, url in enumerate(urls, 1)
        ]
        return await self._save_all(targets)

    async def _save_all(self, targets: Sequence[DownloadTarget]) -> list[Path]:
        """Saves one file after the other, so that progress is per file. A failure does not affect the other files."""
        downloader = self._engine().downloader
        saved: list[Path] = []
        failures: list[RivyaError] = []
        for target in targets:
            try:
                saved.append(await downloader.download(target))
            except RivyaError as error:
                failures.append(error)
        if not failures:
            return saved
        if saved:
            failures[0].add_note(f"files that were saved: {', '.join(map(str, saved))}")
        try:
            raise failures[0]
        finally:
            failures.clear()  # breaks the cycle of the error and its traceback

    def _url_refresher(self, generation: Generation, index: int) -> Callable[[], Awaitable[str]]:
        async def refresh_url() -> str:
            urls = (await self._engine().executor.execute(retrieve_generation(generation.id))).urls
            return urls[index] if index < len(urls) else generation.urls[index]

        return refresh_url


def _validate_options(max_bytes: int | None, on_progress: OnProgress | None) -> None:
    if max_bytes is not None and (isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1):
        raise ConfigurationError(f"max_bytes must be a whole number from 1 on, or None, not {max_bytes!r}")
    if on_progress is not None and not callable(on_progress):
        raise ConfigurationError(f"on_progress must be a function of two byte counts, not {on_progress!r}")


def _source_urls(source: Generation | str) -> Sequence[str]:
    if isinstance(source, str):
        urls: Sequence[str] = [source]
    elif not isinstance(source, Generation):
        raise ConfigurationError(f"download takes a Generation or a URL, not {type(source).__name__}")
    elif not (urls := source.urls):
        raise ConfigurationError(f"{source.id} has no files: {_describe_missing_files(source)}")
    for url in urls:
        if not URL_PATTERN.match(url):
            raise ConfigurationError(
                f"{url[:MAX_SHOWN_LENGTH]!r} is not a URL that can be downloaded: it needs http or https and a host. "
                "For a task id, retrieve the generation and pass that"
            )
    return urls


def _describe_missing_files(generation: Generation) -> str:
    if generation.failed:
        return "it is 'failed'; submit the job again"
    if generation.succeeded:
        return "it is 'succeeded' without a link; retrieve it again, and contact the support if there is still none"
    return f"it is {generation.status!r}, wait for it to succeed first"


def _resolve_names(
    source: Generation | str, to: str | os.PathLike[str], name: str | None, count: int
) -> tuple[Path, Callable[[int], Callable[[str], str]]]:
    """Returns the folder and a factory: from the number of a file (from 1) to a function from extension to name."""
    target = _validate_path(to)
    with convert_os_errors(target):
        is_folder = target.is_dir()
    stem = stem_from_url(source) if isinstance(source, str) else safe_stem(source.id)
    if name is not None:
        template, values = FilenameTemplate(name), _template_values(source, stem)
        if count > 1 and not template.has_index:
            raise ConfigurationError(f"this job has {count} files: put {{index}} into name, so that each has its own")
        for number in range(1, count + 1):
            template.format(values, index=number, ext=PLACEHOLDER_EXTENSION)
        return target, lambda number: lambda ext: template.format(values, index=number, ext=ext)
    if not target.suffix or is_folder or os.fspath(to).endswith(("/", os.sep)):
        return target, lambda number: lambda ext: f"{stem}{_index_suffix(number)}{ext}"
    return target.parent, lambda number: lambda _: f"{target.stem}{_index_suffix(number)}{target.suffix}"


def _validate_path(to: str | os.PathLike[str]) -> Path:
    if not isinstance(to, str | os.PathLike) or "\0" in str(to):
        raise ConfigurationError(f"to must be the path of a folder or of a file, not {to!r:.80}")
    return Path(to)


def _template_values(source: Generation | str, stem: str) -> Mapping[str, str]:
    if isinstance(source, str):
        return {"task_id": stem, "model": "file"}
    return {"task_id": source.id, "model": source.model}


def _index_suffix(number: int) -> str:
    return "" if number == 1 else f"-{number}"
