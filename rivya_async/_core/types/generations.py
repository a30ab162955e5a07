"""Frozen records of the API. They have no reference to a session: all can be compared, pickled and printed.

Unknown members are kept in `extra`. Times are aware UTC datetimes. Numbers in brackets are sections of the API
contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import attrs

from ..public_module import set_public_module
from .record import Record

Amount = int | float
"""A number of credits. The service documents whole numbers; fractions are kept."""


class Status(StrEnum):
    """Documented statuses [7]. A record may have another status, which counts as open."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


TERMINAL_STATUSES: Final = frozenset({"succeeded", "failed"})


def extra_fields() -> Any:
    """Returns the attrs field for unknown members: part of equality, not of the hash."""
    return attrs.field(factory=dict, hash=False, kw_only=True)


@attrs.frozen
class GenerationResult(Record):
    """Links to the files of a succeeded job [7]. They may expire: download soon.

    A paid result is accepted even if one of the two members is missing; use `Generation.urls`.
    """

    primary_url: str = ""
    urls: tuple[str, ...] = ()
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class ErrorDetail(Record):
    """Reason for a failed job [7]. `code` is an open string."""

    code: str = ""
    message: str = ""
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class Generation(Record):
    """Snapshot of a job [6, 7].

    `status` is an open string. `reserved_credits` are reserved at the submit, `final_credits` are the charge of an
    ended job. `request_id` identifies the request that returned this snapshot, if the service sends one. `replayed` is
    true in the response to a purchase that bought nothing, since an earlier one under the same key had bought the job.

    >>> Generation(id="task_1", status="some_new_status", model="z-image").is_terminal
    False
    """

    id: str
    status: Status | str
    model: str = ""
    reserved_credits: Amount = 0
    final_credits: Amount = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    result: GenerationResult | None = None
    error: ErrorDetail | None = None
    request_id: str | None = attrs.field(default=None, eq=False, repr=False)
    replayed: bool = attrs.field(default=False, eq=False, repr=False)
    extra: Mapping[str, Any] = extra_fields()

    @property
    def is_terminal(self) -> bool:
        """True if the job has ended."""
        return self.status in TERMINAL_STATUSES

    @property
    def succeeded(self) -> bool:
        """True if the job has succeeded."""
        return self.status == Status.SUCCEEDED

    @property
    def failed(self) -> bool:
        """True if the service ended the job as failed."""
        return self.status == Status.FAILED

    @property
    def duration(self) -> timedelta | None:
        """Time from the submit to the last update by the server's clock; None if a timestamp is missing."""
        if self.created_at is None or self.updated_at is None:
            return None
        return self.updated_at - self.created_at

    def is_newer_than(self, other: Generation) -> bool:
        """Returns True if it was updated later, by the server's clock; False without both times."""
        if self.updated_at is None or other.updated_at is None:
            return False
        return self.updated_at > other.updated_at

    @property
    def urls(self) -> tuple[str, ...]:
        """The links of the result, the primary one first; empty unless the job succeeded."""
        if self.result is None:
            return ()
        return self.result.urls or tuple(filter(None, [self.result.primary_url]))


@attrs.frozen
class ReferenceMedia(Record):
    """Image, video or audio that a job refers to [6]: the URL that the Files API returned, and its kind.

    >>> ReferenceMedia("https://rivya.ai/f/1.png", kind="image").to_wire()
    {'url': 'https://rivya.ai/f/1.png', 'kind': 'image'}
    """

    url: str
    kind: str
    name: str | None = None
    mime_type: str | None = None
    duration_seconds: float | None = None
    duration_token: str | None = attrs.field(default=None, repr=False)

    def to_wire(self) -> dict[str, Any]:
        """Returns an item of `params.referenceMediaItems`; its members are camelCase, unlike all others."""
        item = {
            "url": self.url,
            "kind": self.kind,
            "name": self.name,
            "mimeType": self.mime_type,
            "durationSeconds": self.duration_seconds,
            "durationToken": self.duration_token,
        }
        return {name: value for name, value in item.items() if value is not None}


@attrs.frozen
class File(Record):
    """Uploaded file [8]. Only its id, its URL and the `duration_token` of audio and video are documented by name.

    The repr omits the token, which represents the duration measured by the service.

    >>> File(id="file_1", url="https://rivya.ai/f/1.png", kind="image").as_reference().to_wire()
    {'url': 'https://rivya.ai/f/1.png', 'kind': 'image'}
    """

    id: str
    url: str
    kind: str = ""
    name: str | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    duration_seconds: Amount | None = None
    duration_token: str | None = attrs.field(default=None, repr=False)
    model: str | None = None
    client_request_id: str | None = None
    created_at: datetime | None = None
    extra: Mapping[str, Any] = extra_fields()

    def as_reference(self) -> ReferenceMedia:
        """Returns the reference for a job, including the duration token."""
        return ReferenceMedia(
            self.url,
            self.kind,
            name=self.name,
            mime_type=self.mime_type,
            duration_seconds=self.duration_seconds,
            duration_token=self.duration_token,
        )


@attrs.frozen
class Credits(Record):
    """Balance of the account [9], shared with the web studio."""

    current_credits: Amount
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class SavedFile(Record):
    """Result file on this machine: its path as written, its size in bytes and the hash of its content."""

    path: str
    size: int
    sha256: str


@attrs.frozen
class ValidationProblem(Record):
    """One problem of a job: for programs, and as `message` for people.

    `where` is `model`, `prompt`, `params`, `params.KEY`, `references[N]` or an argument of a chat. `reason` is
    `unknown`, `missing`, `type`, `option`, `range`, `step`, `length`, `kind`, `format`, `size`, `count` or
    `unavailable`. `nearest` contains similar names or values.

    >>> ValidationProblem("params.seed", "range", "seed must be 0 or more, not -1").where
    'params.seed'
    """

    where: str
    reason: str
    message: str
    nearest: tuple[str | float, ...] = ()


set_public_module(
    "rivya_async", Credits, File, Generation, ErrorDetail, GenerationResult, ReferenceMedia, Status, ValidationProblem
)
set_public_module("rivya_async.batch", SavedFile)
