"""Uploaded files: their validation, their place on disk, and their duration tokens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from ..catalogue import DEFAULT_LIMITS, MEGABYTE, Catalogue, UploadLimit
from ..responses import validation_error
from ..store import StateStore
from ..task import encode_record
from ..validation import CLIENT_REQUEST_ID_MAX_LENGTH, REFERENCE_KEY
from .multipart_upload import FILE_PREFIX, UploadedForm
from .sniffing import EXTENSIONS, detect_mime_type, measure_duration

TIMED_KINDS: Final = frozenset({"audio", "video"})
"""Kinds of files with a duration."""

MAX_DECODERS: Final = 2
"""Uploads that are decoded at once."""

OWNER_ONLY: Final = 0o700
"""Permissions of the folder of uploads beside a state file."""


@attrs.frozen
class StoredFile:
    """An accepted file. `created_at` is in epoch seconds."""

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

    def encode(self, base_url: str) -> bytes:
        """Returns the API's `PublicApiFile`; its member names are assumed."""
        record = encode_record(self, "file", "account_id", "path", "url_path")
        return json.dumps({**record, "url": f"{base_url}{self.url_path}"}).encode()


class FileStore:
    """All uploaded files: in a temporary folder that is removed with this object, or in a folder beside the state."""

    def __init__(self, catalogue: Catalogue, seed: int | str, store: StateStore) -> None:
        self.catalogue = catalogue
        self._store = store
        self._token_secret = hashlib.sha256(f"{seed}/duration".encode()).digest()
        self._rng = random.Random(f"{seed}/files")  # noqa: S311  repeatable ids, not a secret
        self._decoders = asyncio.Semaphore(MAX_DECODERS)
        self._by_id: dict[str, StoredFile] = {}
        self._by_url_path: dict[str, StoredFile] = {}
        self._folder: Path | None = None
        if store.path is not None:
            self._folder = store.path.with_name(f"{store.path.name}-files")
            self._folder.mkdir(mode=OWNER_ONLY, exist_ok=True)
            self._folder.chmod(OWNER_ONLY)
        for file in store.load(StoredFile):
            self._register(attrs.evolve(file, path=self.folder / file.path.name))
        if self._folder is not None:
            self._remove_orphans(self._folder)

    @property
    def folder(self) -> Path:
        """The folder of the files; a temporary one is created on first use."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="rivya-sandbox-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    async def add(self, form: UploadedForm, account_id: str, now: float) -> StoredFile:
        """Validates and keeps the file of a form; raises `ApiError`, and removes the file, if it is invalid."""
        try:
            return await self._add_valid(form, account_id, now)
        except BaseException:
            form.path.unlink()
            raise

    def get(self, account_id: str, file_id: str) -> StoredFile | None:
        """Returns the file if it exists and belongs to this account."""
        file = self._by_id.get(file_id)
        return file if file is not None and file.account_id == account_id else None

    def get_kind(self, account_id: str, file_id: str) -> str | None:
        """Returns the kind of a file of this account; None without such a file."""
        file = self.get(account_id, file_id)
        return None if file is None else file.kind

    def get_by_url_path(self, url_path: str) -> StoredFile | None:
        """Returns the file of any account at the path of a URL."""
        return self._by_url_path.get(url_path)

    def validate_references(self, account_id: str, params: Mapping[str, Any], base_url: str) -> list[str]:
        """Returns the problems of well-formed references: each must be a file of this account."""
        items: Sequence[Mapping[str, Any]] = params.get(REFERENCE_KEY) or ()
        return [
            problem
            for index, item in enumerate(items)
            for problem in self._validate_reference(account_id, index, item, item["url"].removeprefix(base_url))
        ]

    def _register(self, file: StoredFile) -> None:
        self._by_id[file.id] = self._by_url_path[file.url_path] = file

    def _remove_orphans(self, folder: Path) -> None:
        """Removes partial uploads of an earlier process; keeps files of other names."""
        known = {file.path for file in self._by_id.values()}
        for path in folder.glob(f"{FILE_PREFIX}*"):
            if path not in known:
                path.unlink()

    async def _add_valid(self, form: UploadedForm, account_id: str, now: float) -> StoredFile:
        kind, model = form.fields.get("kind", ""), form.fields.get("model") or None
        client_request_id = form.fields.get("client_request_id") or None
        mime_type = self._validate(form, kind, self._upload_limit(kind, model), client_request_id)
        duration = None
        if kind in TIMED_KINDS:
            async with self._decoders:
                duration = await asyncio.to_thread(measure_duration, form.path, mime_type)
        file_id = f"file_{self._rng.getrandbits(80):020x}"
        url_path = f"/files/{file_id}{EXTENSIONS[mime_type]}"
        file = StoredFile(
            id=file_id,
            account_id=account_id,
            kind=kind,
            url_path=url_path,
            name=form.name,
            mime_type=mime_type,
            size_bytes=form.size,
            duration_seconds=duration,
            duration_token=None if duration is None else self._sign_duration(account_id, url_path, duration),
            model=model,
            client_request_id=client_request_id,
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
        model = self.catalogue.models.get(model_id)
        if model is None:
            raise validation_error(f"model {model_id[:80]!r} is not a model of this API.")
        if kind not in model.uploads:
            raise validation_error(f"{model_id} takes no file of kind {kind!r}.")
        return model.uploads[kind]

    @staticmethod
    def _validate(form: UploadedForm, kind: str, limit: UploadLimit, client_request_id: str | None) -> str:
        """Returns the media type of a valid file."""
        if client_request_id is not None and len(client_request_id) > CLIENT_REQUEST_ID_MAX_LENGTH:
            raise validation_error(f"client_request_id must have at most {CLIENT_REQUEST_ID_MAX_LENGTH} characters.")
        mime_type = detect_mime_type(form.head, kind)
        if mime_type is None or not mime_type.startswith(f"{kind}/"):
            raise validation_error(f"The content of the file is no {kind}.")
        if limit.mime_types and mime_type not in limit.mime_types:
            raise validation_error(f"{mime_type} is not accepted. Send one of {', '.join(sorted(limit.mime_types))}.")
        if form.size > limit.max_bytes:
            raise validation_error(f"The file is too large: the limit is {limit.max_bytes // MEGABYTE} MB.")
        return mime_type

    def _sign_duration(self, account_id: str, url_path: str, seconds: float) -> str:
        """Returns the token that proves the duration of this account's file."""
        signature = hmac.digest(self._token_secret, f"{account_id}\n{url_path}\n{seconds}".encode(), "sha256")
        return "dur_" + base64.urlsafe_b64encode(signature).decode().rstrip("=")

    def _validate_reference(self, account_id: str, index: int, item: Mapping[str, Any], url_path: str) -> Iterator[str]:
        where, file = f"params.{REFERENCE_KEY}[{index}]", self._by_url_path.get(url_path)
        if file is None or file.account_id != account_id:
            yield f"{where}.url is not a file of this account: upload it through the Files API."
        elif file.kind != item["kind"]:
            yield f"{where}.kind is {item['kind']!r}, but the file is of kind {file.kind!r}."
        elif file.duration_token is not None and not hmac.compare_digest(
            file.duration_token.encode(), item["durationToken"].encode()
        ):
            yield f"{where}.durationToken is not the one of this file."
