"""Frozen records of the API. They have no reference to a session: all can be compared, pickled and printed.

Unknown members are kept in `extra`. Times are aware UTC datetimes.
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
    """Documented statuses. A record may have another status, which counts as open."""

    QUEUED = "queued"
    """The service has accepted the job."""
    PROCESSING = "processing"
    """The job is running."""
    SUCCEEDED = "succeeded"
    """The job has ended with a result."""
    FAILED = "failed"
    """The job has ended without a result. Its reserved credits return to the balance."""


TERMINAL_STATUSES: Final = frozenset({"succeeded", "failed"})


def extra_fields() -> Any:
    """Returns the attrs field for unknown members: part of equality, not of the hash."""
    return attrs.field(factory=dict, hash=False, kw_only=True)


@attrs.frozen
class GenerationResult(Record):
    """Links to the files of a succeeded job. They may expire: download soon.

    A paid result is accepted even if one of the two members is missing; use `Generation.urls`.
    """

    primary_url: str = ""
    """Link to the main file."""
    urls: tuple[str, ...] = ()
    """Links to all files."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""


@attrs.frozen
class ErrorDetail(Record):
    """Reason for a failed job."""

    code: str = ""
    """Code for programs, an open string."""
    message: str = ""
    """Reason for people."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""


@attrs.frozen
class Generation(Record):
    """Snapshot of a job.

    >>> Generation(id="task_1", status="some_new_status", model="z-image").is_terminal
    False
    """

    id: str
    """Task id of the job, such as `task_1`."""
    status: Status | str
    """One of `Status`, or a status that is not documented."""
    model: str = ""
    """Id of the model."""
    reserved_credits: Amount = 0
    """Credits that were reserved at the submit."""
    final_credits: Amount = 0
    """Credits that the ended job has cost; 0 while it is open."""
    created_at: datetime | None = None
    """Time of the submit by the server's clock."""
    updated_at: datetime | None = None
    """Time of the last change by the server's clock."""
    result: GenerationResult | None = None
    """Links to the files of a succeeded job."""
    error: ErrorDetail | None = None
    """Reason for a failed job."""
    request_id: str | None = attrs.field(default=None, eq=False, repr=False)
    """Id of the request that returned this snapshot, for the support of the service, if it sends one."""
    replayed: bool = attrs.field(default=False, eq=False, repr=False)
    """True in the response to a purchase that bought nothing, since its key had bought the job before."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""

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
    """Image, video or audio that a job refers to: the URL that the Files API returned, and its kind.

    >>> ReferenceMedia("https://rivya.ai/f/1.png", kind="image").to_wire()
    {'url': 'https://rivya.ai/f/1.png', 'kind': 'image'}
    """

    url: str
    """URL that the Files API returned."""
    kind: str
    """`image`, `video` or `audio`."""
    name: str | None = None
    """File name."""
    mime_type: str | None = None
    """Media type, such as `image/png`."""
    duration_seconds: float | None = None
    """Duration of a video or sound in seconds."""
    duration_token: str | None = attrs.field(default=None, repr=False)
    """Token that proves the duration that the service has measured."""

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
    """Uploaded file. Only its id, its URL and the `duration_token` of audio and video are documented by name.

    The repr omits the token, which represents the duration measured by the service.

    >>> File(id="file_1", url="https://rivya.ai/f/1.png", kind="image").as_reference().to_wire()
    {'url': 'https://rivya.ai/f/1.png', 'kind': 'image'}
    """

    id: str
    """Id of the file."""
    url: str
    """URL of the file at the service."""
    kind: str = ""
    """`image`, `video` or `audio`."""
    name: str | None = None
    """File name."""
    mime_type: str | None = None
    """Media type, such as `image/png`."""
    size_bytes: int | None = None
    """Size in bytes."""
    duration_seconds: Amount | None = None
    """Duration of a video or sound in seconds."""
    duration_token: str | None = attrs.field(default=None, repr=False)
    """Token that proves the duration that the service has measured."""
    model: str | None = None
    """Id of the model that the file was uploaded for."""
    client_request_id: str | None = None
    """Your id of the upload."""
    created_at: datetime | None = None
    """Time of the upload by the server's clock."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""

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
    """Balance of the account, shared with the web studio."""

    current_credits: Amount
    """Credits that can be spent."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""


@attrs.frozen
class SavedFile(Record):
    """Result file on this machine."""

    path: str
    """Path of the file as written."""
    size: int
    """Size in bytes."""
    sha256: str
    """SHA-256 of the content in hexadecimal digits."""


@attrs.frozen
class ValidationProblem(Record):
    """One problem of a job: for programs, and as `message` for people.

    >>> ValidationProblem("params.seed", "range", "seed must be 0 or more, not -1").where
    'params.seed'
    """

    where: str
    """`model`, `prompt`, `params`, `params.KEY`, `references[N]` or an argument of a chat."""
    reason: str
    """One of `unknown`, `missing`, `type`, `option`, `range`, `step`, `length`, `kind`, `format`, `size`, `count` and
    `unavailable`."""
    message: str
    """Description for people."""
    nearest: tuple[str | float, ...] = ()
    """Similar valid names or values, the nearest first."""


set_public_module(
    "rivya_async", Credits, File, Generation, ErrorDetail, GenerationResult, ReferenceMedia, Status, ValidationProblem
)
set_public_module("rivya_async.batch", SavedFile)
