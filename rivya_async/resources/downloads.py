"""Downloads of result files: their URLs, file names and refreshed links."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

import attrs

from .._core.errors import ConfigurationError, DownloadError, RivyaError
from .._core.files.filename_template import FilenameTemplate
from .._core.files.filenames import RESULT_EXTENSIONS, UNKNOWN_EXTENSION, safe_stem, stem_from_url
from .._core.files.media_type import name_mismatch
from .._core.http.operations import retrieve_generation
from .._core.masking import mask_url
from .._core.terminal_text import shorten_text
from .._core.types.generations import Generation
from .._engine.transfers.downloader import DownloadTarget
from .._engine.transfers.file_io import convert_os_errors, run_in_thread_uncancellable
from .._engine.transfers.partial_file import Exists, file_exists_error, is_whole_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from .._engine.engine import Engine
    from .._engine.transfers.uploader import OnProgress

URL_PATTERN: Final = re.compile(r"(?i)https?://.")

PLACEHOLDER_EXTENSION: Final = ".unknown"
"""An extension longer than any of a result. Names are validated with it before the first request."""


def is_url(source: str) -> bool:
    """Returns True for a URL, and False for a task id, which has no slash and no colon."""
    return "/" in source or ":" in source


class DownloadMethods:
    """Method to save the files of jobs."""

    _downloads: ResultDownloads

    async def download(
        self,
        generation_or_url: Generation | str,
        to: str | os.PathLike[str],
        *,
        name: str | None = None,
        exists: Literal["keep", "error", "overwrite", "rename"] | None = None,
        max_bytes: int | None = 2 * 1024**3,
        on_progress: OnProgress | None = None,
    ) -> list[Path]:
        """Saves the files of a succeeded job, or of one URL. Returns a list of their paths, also for one file.

        The job is a record, or a task id, whose record is read first.

        `to` is a folder if it exists as one, ends with a separator (`"out/"`) or `name` is given; it is created if
        missing. Files are named after the task and their format. Otherwise `to` is the name of the first file, and
        further files get a number; a name with the extension of another format is a `DownloadError`, which names the
        right one. `name` is a template with `{task_id}`, `{model}`, `{index}` (from 1) and `{ext}` (with its dot). `~`
        is the home folder.

        `exists` says what happens where a file exists: `keep` returns its path without a request, `error` raises
        `ConfigurationError`, `overwrite` replaces it, `rename` saves as `kite (1).png`. The default is `keep` for names
        that contain the task id, and `error` for names that the caller chose.

        Each file is streamed to a hidden file in the same folder, checked for its length, and renamed when complete. An
        interrupted transfer resumes if the host names the same version of the file, by the retry policy counted from
        the last progress. An expired link (400, 401, 403, 404, 410) is refreshed by reading the job again. If the
        download of a file over 1 MiB is cancelled or fails, the partial file stays, and the next download of the same
        file to the same path resumes it; smaller partial files are deleted. A session downloads at most 16 files at
        once.

        Requests for files have no API key, headers, cookies or credentials of the session or of `http`. The links of a
        job, and every redirect, lead to public addresses only, or to the host of `base_url`, and never from https to
        http. A URL that is passed as a string may lead to any address. A page or a message in place of the file is
        retried. `on_progress(received, total)` is called, or awaited, after each chunk, in bytes; `total` is None if
        the host does not report the length. A file of more than `max_bytes` (2 GiB) is rejected; None sets no limit.
        Links may expire: download soon.

        Raises `ConfigurationError` if the job has no result, a name is invalid, or a file exists; `DownloadError` if
        the file cannot be written, is larger than `max_bytes` or not a media file, or a link is not followed; and what
        any read can raise.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         kite = await session.generate("z-image", "A red kite")
        ...         return await session.download(kite, "kites", name="{model}-{index:02}{ext}")
        >>> asyncio.run(main())
        [PosixPath('kites/z-image-01.png')]
        """
        return await self._downloads.save(
            generation_or_url, to, name=name, exists=exists, max_bytes=max_bytes, on_progress=on_progress
        )


class ResultDownloads:
    """The implementation of `RivyaSession.download`. `record` receives each record that is read by a task id."""

    def __init__(self, engine: Callable[[], Engine], record: Callable[[Generation], None]) -> None:
        self._engine = engine
        self._record = record

    async def save(
        self,
        source: Generation | str,
        to: str | os.PathLike[str],
        *,
        name: str | None,
        exists: Exists | None,
        max_bytes: int | None,
        on_progress: OnProgress | None,
    ) -> list[Path]:
        """Saves the files of a job or of one URL; see `DownloadMethods.download`."""
        _validate_options(max_bytes, on_progress)
        if isinstance(source, str) and not is_url(source):
            resolve_names(None, to, name, 1, exists)  # an invalid target sends nothing
            source = await self._engine().executor.execute(retrieve_generation(source))
            self._record(source)
        urls = _source_urls(source)
        names = resolve_names(source, to, name, len(urls), exists)
        existing = await run_in_thread_uncancellable(names.find_existing, len(urls))
        targets = [
            existing.get(number)
            or DownloadTarget(
                url=url,
                id=url if isinstance(source, str) else f"{source.id}/{number}",
                folder=names.folder,
                make_filename=partial(names.make_filename, number),
                is_result=not isinstance(source, str),
                exists=names.exists,
                max_bytes=max_bytes,
                on_progress=on_progress,
                refresh_url=None if isinstance(source, str) else self._url_refresher(source, number - 1),
            )
            for number, url in enumerate(urls, 1)
        ]
        return await self._save_all(targets)

    async def _save_all(self, targets: Sequence[DownloadTarget | Path]) -> list[Path]:
        """Saves one file after the other, so that progress is per file. A failure does not affect the other files.

        A path is a file that exists and is kept.
        """
        downloader = self._engine().downloader
        saved: list[Path] = []
        failures: list[RivyaError] = []
        for target in targets:
            try:
                saved.append(target if isinstance(target, Path) else await downloader.download(target))
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
        raise ConfigurationError(f"max_bytes must be a whole number from 1 on, or None, not {max_bytes!r:.40}")
    if on_progress is not None and not callable(on_progress):
        raise ConfigurationError(f"on_progress must be a function of two byte counts, not {on_progress!r:.80}")


def _source_urls(source: Generation | str) -> Sequence[str]:
    if isinstance(source, str):
        urls: Sequence[str] = [source]
    elif not isinstance(source, Generation):
        raise ConfigurationError(f"download takes a Generation, a task id or a URL, not {type(source).__name__}")
    elif not (urls := source.urls):
        raise ConfigurationError(f"{source.id} has no files: {_describe_missing_files(source)}")
    for url in urls:
        if not URL_PATTERN.match(url):
            raise ConfigurationError(
                f"{shorten_text(mask_url(url))!r} is not a URL to download: it needs http or https and a host"
            )
    return urls


def _describe_missing_files(generation: Generation) -> str:
    if generation.failed:
        return "it is 'failed'; submit the job again"
    if generation.succeeded:
        return "it is 'succeeded' without a link; retrieve it again, and contact the support if there is still none"
    return f"it is {generation.status!r}, wait for it to succeed first"


@attrs.frozen(kw_only=True)
class ResultNames:
    """The names of the files of one job. `filename` is the caller's name of the first file, if there is one."""

    folder: Path
    exists: Exists
    filename: str | None
    format_name: Callable[[int, str], str]

    def make_filename(self, number: int, ext: str) -> str:
        """Returns the name of a file, by its number from 1 and its extension.

        Raises `DownloadError` if the caller's name is that of another media type.
        """
        if self.filename is None:
            return self.format_name(number, ext)
        path = Path(self.filename)
        if name_mismatch(path.suffix, ext):
            raise DownloadError(
                f"{self.filename} would contain another format, nothing was saved: choose {path.stem + ext!r}, or a "
                "folder, where files are named after their format",
                path=str(self.folder / path),
            )
        return f"{path.stem}{_index_suffix(number)}{path.suffix}"

    def find_existing(self, count: int) -> dict[int, Path]:
        """Returns the paths of the files that exist and are kept, by number.

        Raises `ConfigurationError` if a file with a name of the caller exists and must not. Names after the task depend
        on the format: they are compared with every extension of a result.
        """
        existing: dict[int, Path] = {}
        if self.exists not in {"keep", "error"} or (self.exists == "error" and self.filename is None):
            return existing
        for number in range(1, count + 1):
            extensions = RESULT_EXTENSIONS if self.filename is None else (UNKNOWN_EXTENSION,)
            for path in (self.folder / self.make_filename(number, ext) for ext in extensions):
                with convert_os_errors(path):
                    if self.exists == "error" and os.path.lexists(path):
                        raise file_exists_error(path)
                    if self.exists == "keep" and is_whole_file(path):
                        existing[number] = path
                        break
        return existing


def resolve_names(
    source: Generation | str | None, to: str | os.PathLike[str], name: str | None, count: int, exists: Exists | None
) -> ResultNames:
    """Returns the names of `count` files. Without a source only `to`, `name` and `exists` are validated.

    `to` is a folder if it exists as one, ends with a separator, or `name` is given; otherwise it is a file.
    """
    target = _validate_path(to)
    if exists not in (None, *get_args(Exists)):
        raise ConfigurationError(f"exists must be one of {', '.join(get_args(Exists))}, not {exists!r:.40}")
    is_job = not isinstance(source, str)
    stem = stem_from_url(source) if isinstance(source, str) else "task" if source is None else safe_stem(source.id)
    if name is not None:
        template, values = FilenameTemplate(name), _template_values(source, stem)
        if count > 1 and not template.has_index:
            raise ConfigurationError(f"this job has {count} files: put {{index}} into name, so that each has its own")
        for number in range(1, count + 1):
            template.format(values, index=number, ext=PLACEHOLDER_EXTENSION)
        return ResultNames(
            folder=target,
            exists=exists or ("keep" if is_job and template.has_task_id else "error"),
            filename=None,
            format_name=lambda number, ext: template.format(values, index=number, ext=ext),
        )
    with convert_os_errors(target):
        is_folder = os.fspath(to).endswith(("/", os.sep)) or target.is_dir() or not target.name
    return ResultNames(
        folder=target if is_folder else target.parent,
        exists=exists or ("keep" if is_job and is_folder else "error"),
        filename=None if is_folder else target.name,
        format_name=lambda number, ext: f"{stem}{_index_suffix(number)}{ext}",
    )


def _validate_path(to: str | os.PathLike[str]) -> Path:
    if not isinstance(to, str | os.PathLike) or not isinstance(os.fspath(to), str) or "\0" in os.fspath(to):
        raise ConfigurationError(f"to must be the path of a folder or of a file, not {to!r:.80}")
    try:
        return Path(to).expanduser()
    except RuntimeError:
        raise ConfigurationError(f"to begins with the home folder of an unknown user: {to!r:.80}") from None


def _template_values(source: Generation | str | None, stem: str) -> Mapping[str, str]:
    if isinstance(source, Generation):
        return {"task_id": source.id, "model": source.model}
    return {"task_id": stem, "model": "file"}


def _index_suffix(number: int) -> str:
    return "" if number == 1 else f"-{number}"
