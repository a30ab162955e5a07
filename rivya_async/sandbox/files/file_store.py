"""Uploaded files: whose they are, where they lie, and the token that vouches for how long one plays."""

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

from ..api_error import ApiError
from ..catalogue import DEFAULT_LIMITS, MEGABYTE, Catalogue, UploadLimit
from ..store import StateStore
from ..task import timestamp
from ..validation import CLIENT_REQUEST_ID_MAX_LENGTH, REFERENCE_KEY
from . import sniffing as content
from .multipart_upload import PREFIX, UploadedForm

MAX_UPLOAD_BYTES: Final = 128 * MEGABYTE
"""Bytes after which the sandbox reads no further, whatever the model."""

PLAYING: Final = frozenset({"audio", "video"})


@attrs.frozen
class StoredFile:
    """A file that the service has taken. `created_at` is in epoch seconds."""

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
        """The `PublicApiFile` of the API; its member names are an assumption."""
        public = attrs.asdict(self, filter=attrs.filters.exclude("account_id", "path", "url_path"))
        url, created_at = f"{base_url}{self.url_path}", timestamp(self.created_at)
        return json.dumps({**public, "object": "file", "url": url, "created_at": created_at}).encode()


class FileStore:
    """Every file of the sandbox, on disk until the process ends or the sandbox is forgotten, or beside its state."""

    def __init__(self, catalogue: Catalogue, seed: int | str, store: StateStore) -> None:
        self._catalogue = catalogue
        self._store = store
        self._secret = hashlib.sha256(f"{seed}/duration".encode()).digest()
        self._dice = random.Random(f"{seed}/files")  # noqa: S311  repeatable ids, not a secret
        self._by_id: dict[str, StoredFile] = {}
        self._by_path: dict[str, StoredFile] = {}
        self._folder = None if store.path is None else _beside(store.path)
        for file in store.load(StoredFile):
            self._take_in(attrs.evolve(file, path=self.folder / file.path.name))
        if self._folder is not None:
            self._sweep(self._folder)

    @property
    def folder(self) -> Path:
        """Where the files lie; made when the first one comes."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="rivya-sandbox-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    async def take(self, parcel: UploadedForm, account_id: str, now: float) -> StoredFile:
        """Check a parcel and keep its file; raises `Refused`, and then nothing is kept."""
        try:
            return await self._checked(parcel, account_id, now)
        except BaseException:
            parcel.path.unlink()
            raise

    def file(self, account_id: str, file_id: str) -> StoredFile | None:
        """The file, if it exists and belongs to this account."""
        file = self._by_id.get(file_id)
        return file if file is not None and file.account_id == account_id else None

    def kind_of(self, account_id: str, file_id: str) -> str | None:
        """The kind of a file of this account; None where there is no such file."""
        file = self.file(account_id, file_id)
        return None if file is None else file.kind

    def at(self, url_path: str) -> StoredFile | None:
        """The file behind the path of a URL, whoever asks."""
        return self._by_path.get(url_path)

    def reference_problems(self, account_id: str, params: Mapping[str, Any], base_url: str) -> list[str]:
        """What is wrong with references that are well formed: each must be a file of this account."""
        items: Sequence[Mapping[str, Any]] = params.get(REFERENCE_KEY) or ()
        files = [self.at(item["url"].removeprefix(base_url)) for item in items]
        return [
            text
            for index, (item, file) in enumerate(zip(items, files, strict=True))
            for text in _item_problems(account_id, index, item, file)
        ]

    def _take_in(self, file: StoredFile) -> None:
        self._by_id[file.id] = self._by_path[file.url_path] = file

    def _sweep(self, folder: Path) -> None:
        """Remove what an earlier process had not taken yet when it died; what else lies there is not ours."""
        known = {file.path for file in self._by_id.values()}
        for path in folder.glob(f"{PREFIX}*"):
            if path not in known:
                path.unlink()

    async def _checked(self, parcel: UploadedForm, account_id: str, now: float) -> StoredFile:
        kind, model = parcel.fields.get("kind", ""), parcel.fields.get("model") or None
        trace_id = parcel.fields.get("client_request_id") or None
        limit = self._limit(kind, model)
        if trace_id is not None and len(trace_id) > CLIENT_REQUEST_ID_MAX_LENGTH:
            raise ApiError(
                "validation_failed", f"client_request_id has at most {CLIENT_REQUEST_ID_MAX_LENGTH} characters."
            )
        mime_type = content.signature(parcel.head, kind)
        if mime_type is None or not mime_type.startswith(f"{kind}/"):
            raise ApiError("validation_failed", f"The content of the file is no {kind}.")
        if mime_type not in limit.mime_types:
            raise ApiError("validation_failed", f"{mime_type} is not taken: {', '.join(sorted(limit.mime_types))} are.")
        if parcel.size > limit.max_bytes:
            raise ApiError(
                "validation_failed", f"The file is too large: {limit.max_bytes // MEGABYTE} MB are the most here."
            )
        seconds = await asyncio.to_thread(content.seconds, parcel.path, kind) if kind in PLAYING else None
        file_id = f"file_{self._dice.getrandbits(80):020x}"
        url_path = f"/files/{file_id}{content.EXTENSIONS[mime_type]}"
        file = StoredFile(
            id=file_id,
            account_id=account_id,
            kind=kind,
            url_path=url_path,
            name=parcel.name,
            mime_type=mime_type,
            size_bytes=parcel.size,
            duration_seconds=seconds,
            duration_token=None if seconds is None else self._token(account_id, url_path, seconds),
            model=model,
            client_request_id=trace_id,
            created_at=now,
            path=parcel.path,
        )
        self._take_in(file)
        self._store.put(file.id, file)
        return file

    def _limit(self, kind: str, model_id: str | None) -> UploadLimit:
        if kind not in DEFAULT_LIMITS:
            raise ApiError("validation_failed", f"kind must be one of {', '.join(DEFAULT_LIMITS)}.")
        if model_id is None:
            return DEFAULT_LIMITS[kind]
        model = self._catalogue.models.get(model_id)
        if model is None:
            raise ApiError("validation_failed", f"model {model_id[:80]!r} is not a model of this API.")
        if kind not in model.uploads:
            raise ApiError("validation_failed", f"{model_id} takes no file of kind {kind!r}.")
        return model.uploads[kind]

    def _token(self, account_id: str, url_path: str, seconds: float) -> str:
        """What nobody but this sandbox can have made for this account, file and length."""
        seal = hmac.digest(self._secret, f"{account_id}\n{url_path}\n{seconds}".encode(), "sha256")
        return "dur_" + base64.urlsafe_b64encode(seal).decode().rstrip("=")


def _beside(state: Path) -> Path:
    """Where the files of a state lie."""
    folder = state.with_name(f"{state.name}-files")
    folder.mkdir(exist_ok=True)
    return folder


def _item_problems(account_id: str, index: int, item: Mapping[str, Any], file: StoredFile | None) -> Iterator[str]:
    where = f"params.{REFERENCE_KEY}[{index}]"
    if file is None or file.account_id != account_id:
        yield f"{where}.url is not a file of this account: upload it through the Files API."
    elif file.kind != item["kind"]:
        yield f"{where}.kind is {item['kind']!r}, but the file is of kind {file.kind!r}."
    elif file.duration_token is not None and not hmac.compare_digest(
        file.duration_token.encode(), item["durationToken"].encode()
    ):
        yield f"{where}.durationToken is not the one of this file."
