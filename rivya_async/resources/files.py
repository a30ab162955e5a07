"""The resource `files`: uploads, and the references of jobs."""

from __future__ import annotations

import asyncio
import hashlib
import warnings
from typing import TYPE_CHECKING, TypeVar

import attrs

from .._core.catalogue.model import Model
from .._core.catalogue.reference_rules import describe_reference
from .._core.catalogue.validation import format_problems
from .._core.errors import (
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    RequestNotSentError,
    RivyaError,
    SubmitTimeoutError,
)
from .._core.files.filenames import EXTENSIONS, upload_filename
from .._core.files.media_type import check_upload, detect_media_type, limit_for, size_warning
from .._core.generation_request import FilePath, check_client_request_id
from .._core.http import operations
from .._core.http.messages import MultipartForm
from .._core.http.retry import outcome_is_ambiguous
from .._core.types.generations import ReferenceMedia
from .._engine.transfers.upload_source import open_path_source, open_source, run_in_thread
from .._engine.transfers.uploader import UploadRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
    from pathlib import Path
    from typing import Any

    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import File
    from .._engine.engine import Engine
    from .._engine.transfers.upload_source import Uploadable, UploadSource
    from .._engine.transfers.uploader import OnProgress

T = TypeVar("T")


class Files:
    """Images, videos and sounds that jobs refer to."""

    def __init__(self, engine: Callable[[], Engine], retrieve_model: Callable[[str], Awaitable[Model]]) -> None:
        self._engine = engine
        self._retrieve_model = retrieve_model

    async def upload(
        self,
        file: Uploadable,
        *,
        kind: str | None = None,
        model: str | None = None,
        filename: str | None = None,
        client_request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> File:
        """Uploads a path, bytes, a binary file (from its position), an async stream or an async iterator of bytes.

        The content is streamed, never whole in memory. `kind` (`image`, `video` or `audio`) and media type are detected
        from the content. Pass `kind` if the content does not show it, and for an MP4 that contains only sound. With
        `model`, the limits of that model apply as far as the catalogue states them. Where they are unknown, a file over
        the documented default causes a `UserWarning`: 10 MB for an image or a sound, 50 MB for a video.
        `on_progress(sent, total)` is called, or awaited, after each chunk, in bytes. `total` is None if the size is
        unknown. A retry counts from 0.

        An upload costs no credits. It is retried after every transient fault, also after a lost connection when the
        file may have arrived: then an unused file may remain at the service. A source that can be read only once (an
        async iterator, a stream, a pipe) is retried only while nothing was sent. Each call uploads the content again.

        Raises `InvalidRequestError` and `ConfigurationError` before the first byte is sent (for an unknown size:
        when the limit is passed), and what any call can raise. Cancelling closes the connection and the files that it
        opened.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         await session.download(await session.generate("z-image", "A red kite"), "kite.png")
        ...         photo = await session.files.upload("kite.png", model="qwen-image")
        ...         job = await session.submit("qwen-image", "The same at night", references=[photo])
        ...         return photo.kind, photo.mime_type, job.status
        >>> asyncio.run(main())
        ('image', 'image/png', 'queued')
        """
        engine = self._engine()
        check_client_request_id(client_request_id)
        if on_progress is not None and not callable(on_progress):
            raise ConfigurationError(f"on_progress must be a function of two byte counts, not {on_progress!r:.80}")
        source = await open_source(file, filename)
        upload = await self._build_upload(source, kind, model)
        form = upload.form
        if client_request_id is not None:
            form = attrs.evolve(form, fields={**form.fields, "client_request_id": client_request_id})
        return await engine.uploader.upload(attrs.evolve(upload, form=form, on_progress=on_progress))

    async def check(self, path: FilePath | str, *, kind: str | None = None, model: str | None = None) -> None:
        """Validates a path as `upload` does before it sends the first byte. Sends no file.

        `kind` and `model` are those of `upload`. Raises `InvalidRequestError`, and `ConfigurationError` if the file
        cannot be read. Safe to cancel.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         await session.download(await session.generate("z-image", "A red kite"), "kite.png")
        ...         await session.files.check("kite.png", kind="image", model="qwen-image")
        ...         try:
        ...             await session.files.check("kite.png", model="z-image")
        ...         except InvalidRequestError as error:
        ...             return error.message
        >>> asyncio.run(main())
        "z-image takes no file of kind 'image', and none of any other: nothing was sent"
        """
        await self._build_upload(await open_path_source(path), kind, model)

    async def retrieve(self, file_id: str) -> File:
        """Returns a file of the account. Raises `NotFoundError`, and what any read can raise. Safe to cancel.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         await session.download(await session.generate("z-image", "A red kite"), "kite.png")
        ...         photo = await session.files.upload("kite.png")
        ...         return (await session.files.retrieve(photo.id)) == photo
        >>> asyncio.run(main())
        True
        """
        return await self._engine().executor.execute(operations.retrieve_file(file_id))

    async def resolve_references(self, request: GenerationRequest, deadline: float | None) -> GenerationRequest:
        """Returns the request with its paths uploaded for its model. Each content is uploaded once per session.

        All paths are read and validated, and the references counted, before the first upload.

        Raises what `upload` raises; an ambiguous error is raised as `RequestNotSentError`, since the job was not sent.
        Raises `SubmitTimeoutError` at the deadline on the loop's clock.
        """
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                preparing = (self._prepare_reference(path, request.model) for path in request.paths)
                uploads = await _gather_or_cancel(preparing)
                await self._check_counts(request, [upload.form.fields["kind"] for _, upload in uploads])
                uploaded = iter(await _gather_or_cancel(self._upload_reference(*each) for each in uploads))
        except TimeoutError:
            if not limit.expired():
                raise
            raise SubmitTimeoutError("the deadline passed while references were uploaded: nothing was bought") from None
        except RivyaError as error:
            if not outcome_is_ambiguous(error):
                raise
            raise RequestNotSentError(
                f"a reference could not be uploaded, so nothing was bought: {error}", request_id=error.request_id
            ) from error
        references = [next(uploaded) if isinstance(each, FilePath | str) else each for each in request.references]
        return attrs.evolve(request, references=references)

    async def _prepare_reference(self, path: FilePath | str, model: str) -> tuple[bytes, UploadRequest]:
        """Returns the digest and the upload of a path. Raises if the file cannot be read or would be rejected."""
        source = await open_path_source(path)
        upload, stamp = await self._build_upload(source, None, model), source.stamp
        return await self._engine().digests.get(stamp, lambda: run_in_thread(_file_digest, stamp.path)), upload

    async def _check_counts(self, request: GenerationRequest, kinds: Sequence[str]) -> None:
        """Raises `InvalidRequestError` if the model takes fewer references than the request has, as far as known."""
        model = await self._get_model(request.model)
        if (rules := model.reference_rules) is not None:
            uploaded = iter(kinds)
            items = [
                {"url": "/", "kind": next(uploaded), "durationToken": "of the upload"}
                if isinstance(each, FilePath | str)
                else describe_reference(each)
                for each in request.references
            ]
            problems = tuple(each for each in rules.problems(model.id, items) if each.reason == "count")
            if problems:
                raise InvalidRequestError(format_problems(model.id, problems), problems=problems)

    async def _upload_reference(self, digest: bytes, upload: UploadRequest) -> ReferenceMedia:
        engine, fields = self._engine(), upload.form.fields
        key = (digest, fields["kind"], fields["model"])
        file = await engine.uploads.get(key, lambda: engine.uploader.upload(upload))
        return file.as_reference()

    async def _build_upload(self, source: UploadSource, kind: str | None, model: str | None) -> UploadRequest:
        """Returns the upload of a source. Raises `InvalidRequestError` if the service would reject it."""
        media = detect_media_type(source.head, name=source.name, kind=kind)
        limit = limit_for(media.kind, None if model is None else await self._get_model(model))
        check_upload(limit, media, name=source.name, size=source.size)
        warning = size_warning(limit, media, name=source.name, size=source.size)
        if warning is not None:
            warnings.warn(warning, UserWarning, stacklevel=2)
        fields = {"kind": media.kind} if model is None else {"kind": media.kind, "model": model}
        name = upload_filename(source.name or f"file{EXTENSIONS.get(media.mime_type, '')}")
        form = MultipartForm(fields, name, media.mime_type, source.size)
        request = operations.create_file(media.kind).request
        return UploadRequest(request.method, request.path, form=form, source=source, max_bytes=limit.max_bytes)

    async def _get_model(self, model_id: str) -> Model:
        """Returns the model of the catalogue, or a model without limits if the catalogue cannot be read."""
        try:
            return await self._retrieve_model(model_id)
        except ConfigurationError:
            raise
        except RivyaError as error:
            if isinstance(error, NotFoundError) and error.status is None:  # the model is not in the catalogue
                raise
            return Model(model_id)


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


async def _gather_or_cancel(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs coroutines concurrently. The first failure, or a cancellation, cancels the others before it is raised."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
