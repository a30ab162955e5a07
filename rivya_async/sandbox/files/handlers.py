"""The Files API: uploaded files, their validation, their place on disk, and their duration tokens."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from ..catalogue import DEFAULT_LIMITS, MEGABYTE, Catalogue, UploadLimit
from ..media import Artifact
from ..request_context import RequestContext
from ..request_log import LoggedUpload, RequestLog
from ..responses import ApiError, ApiResponse, encode_record, validation_error
from ..results import file_response
from ..service_state import ServiceState
from ..validation import REFERENCE_KEY, validate_client_request_id
from .uploads import FILE_PREFIX, FILE_TYPES, UploadedForm, detect_mime_type, measure_duration, receive_form

TIMED_KINDS: Final = frozenset({"audio", "video"})
"""Kinds of files with a duration."""

MAX_DECODERS: Final = 2
"""Uploads that are decoded at once."""

OWNER_ONLY: Final = 0o700
"""Permissions of the folder of uploads beside a state file."""


@attrs.frozen
class StoredFile:
    """An accepted file. `created_at` is in epoch seconds; `duration_token` proves the duration of the file."""

    id: str
    account_id: str
    kind: str
    url_path: str
    name: str
    mime_type: str
    size_bytes: int
    duration_seconds: float | None
    duration_token: str | None = attrs.field(repr=False)
    model: str | None
    client_request_id: str | None
    created_at: float
    path: Path


class FileHandlers:
    """Handlers of uploads and of uploaded files.

    The files are in a temporary folder that is removed with this object, or in a folder beside the state.
    """

    def __init__(self, catalogue: Catalogue, service_state: ServiceState, request_log: RequestLog) -> None:
        self._catalogue = catalogue
        self._service_state = service_state
        self._request_log = request_log
        self._store = service_state.store
        self._rng = random.Random(f"{service_state.seed}/files")  # noqa: S311  repeatable ids, not a secret
        self._decoders = asyncio.Semaphore(MAX_DECODERS)
        self._by_id: dict[str, StoredFile] = {}
        self._by_url_path: dict[str, StoredFile] = {}
        self._folder: Path | None = None
        if self._store.path is not None:
            self._folder = self._store.path.with_name(f"{self._store.path.name}-files")
            self._folder.mkdir(mode=OWNER_ONLY, exist_ok=True)
            self._folder.chmod(OWNER_ONLY)
        for file in self._store.load(StoredFile):
            self._register(attrs.evolve(file, path=self.folder / file.path.name))
        if self._folder is not None:  # remove partial uploads of an earlier process; keep files of other names
            known = {file.path for file in self._by_id.values()}
            for path in set(self._folder.glob(f"{FILE_PREFIX}*")) - known:
                path.unlink()

    @property
    def folder(self) -> Path:
        """The folder of the files; a temporary one is created on first use."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="rivya-sandbox-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    async def upload(self, context: RequestContext) -> ApiResponse:
        """Handles POST /files; an invalid file is removed."""
        context.send_continue()
        form = await receive_form(context.request, self.folder)
        fields = (form.fields.get(name) for name in ("kind", "model", "client_request_id"))
        context.upload = LoggedUpload(form.name, form.size, *fields)
        try:
            file = await self._add(form, context.account_id, context.now)
        except BaseException:
            form.path.unlink()
            raise
        context.upload = attrs.evolve(context.upload, file_id=file.id)
        self._request_log.uploads += 1
        return self._encode(file)

    async def get(self, context: RequestContext) -> ApiResponse:
        """Handles GET /files/{file_id} of the API."""
        return self._encode(context.get_record(self._by_id, "file"))

    async def download(self, context: RequestContext) -> ApiResponse:
        """Handles GET /files/{name}: the content of a file, without an API key."""
        file = self._by_url_path.get(context.request.path)
        if file is None:
            raise ApiError("not_found", "There is no such file.")
        data = await asyncio.to_thread(file.path.read_bytes)
        return file_response(Artifact(data, file.mime_type), context.request)

    def get_kind(self, account_id: str, file_id: str) -> str | None:
        """Returns the kind of a file of this account; None without such a file."""
        file = self._by_id.get(file_id)
        return file.kind if file is not None and file.account_id == account_id else None

    def validate_references(self, context: RequestContext, params: Mapping[str, Any]) -> list[str]:
        """Returns the problems of well-formed references: each must be a file of the account."""
        items: Sequence[Mapping[str, Any]] = params.get(REFERENCE_KEY) or ()
        return [
            f"params.{REFERENCE_KEY}[{index}]{problem}"
            for index, item in enumerate(items)
            for problem in self._validate_reference(context.account_id, item)
        ]

    def _validate_reference(self, account_id: str, item: Mapping[str, Any]) -> Iterator[str]:
        file = self._by_url_path.get(item["url"].removeprefix(self._service_state.base_url))
        if file is None or file.account_id != account_id:
            yield ".url is not a file of this account: upload it through the Files API."
        elif file.kind != item["kind"]:
            yield f".kind is {item['kind']!r}, but the file is of kind {file.kind!r}."
        elif file.duration_token is not None and file.duration_token != item["durationToken"]:
            yield ".durationToken is not the one of this file."

    def _encode(self, file: StoredFile) -> ApiResponse:
        """Returns the API's `PublicApiFile`; its member names are assumed."""
        record = encode_record(file, "file", "account_id", "path", "url_path")
        return ApiResponse.from_json({**record, "url": f"{self._service_state.base_url}{file.url_path}"})

    def _register(self, file: StoredFile) -> None:
        self._by_id[file.id] = self._by_url_path[file.url_path] = file

    async def _add(self, form: UploadedForm, account_id: str, now: float) -> StoredFile:
        """Validates and keeps the file of a form; raises `ApiError` if it is invalid."""
        kind, model = form.fields.get("kind", ""), form.fields.get("model") or None
        limit = self._upload_limit(kind, model)
        for problem in validate_client_request_id(form.fields):
            raise validation_error(problem)
        mime_type = _validate_content(form, kind, limit)
        duration = None
        if kind in TIMED_KINDS:
            async with self._decoders:
                duration = await asyncio.to_thread(measure_duration, form.path, mime_type)
        file_id = f"file_{self._rng.getrandbits(80):020x}"
        file = StoredFile(
            id=file_id,
            account_id=account_id,
            kind=kind,
            url_path=f"/files/{file_id}{FILE_TYPES[mime_type].extension}",
            name=form.name,
            mime_type=mime_type,
            size_bytes=form.size,
            duration_seconds=duration,
            duration_token=None if duration is None else f"dur_{self._rng.getrandbits(160):040x}",
            model=model,
            client_request_id=form.fields.get("client_request_id") or None,
            created_at=now,
            path=form.path,
        )
        self._register(file)
        self._store.put(file.id, file)
        return file

    def _upload_limit(self, kind: str, model_id: str | None) -> UploadLimit:
        if kind not in DEFAULT_LIMITS:
            raise validation_error(f"kind must be one of {', '.join(DEFAULT_LIMITS)}.")
        if model_id is None:
            return DEFAULT_LIMITS[kind]
        model = self._catalogue.models.get(model_id)
        if model is None:
            raise validation_error(f"model {model_id[:80]!r} is not a model of this API.")
        if kind not in model.uploads:
            raise validation_error(f"{model_id} takes no file of kind {kind!r}.")
        return model.uploads[kind]


def _validate_content(form: UploadedForm, kind: str, limit: UploadLimit) -> str:
    """Returns the media type of a valid file."""
    mime_type = detect_mime_type(form.head, kind)
    if mime_type is None or not mime_type.startswith(f"{kind}/"):
        raise validation_error(f"The content of the file is no {kind}.")
    if limit.mime_types and mime_type not in limit.mime_types:
        raise validation_error(f"{mime_type} is not accepted. Send one of {', '.join(sorted(limit.mime_types))}.")
    if form.size > limit.max_bytes:
        raise validation_error(f"The file is too large: the limit is {limit.max_bytes // MEGABYTE} MB.")
    return mime_type
