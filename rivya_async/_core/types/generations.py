"""What the API speaks of, as frozen values. No record knows a session: all can be compared, pickled and printed.

Members that the service adds later are kept in `extra`. Instants are aware UTC datetimes. The docstrings name the
section of the public contract in brackets.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import attrs

Amount = int | float
"""A number of credits. The service documents whole numbers; a fraction is kept as it is."""


class Status(StrEnum):
    """The statuses that are documented [7]. A record may carry another string: it counts as open."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


TERMINAL_STATUSES: Final = frozenset({"succeeded", "failed"})


def extra_fields() -> Any:
    """Members that we do not know: part of what a record equals, not of its hash."""
    return attrs.field(factory=dict, hash=False, kw_only=True)


@attrs.frozen
class GenerationResult:
    """Where the files of a succeeded job are [7]. The links may expire: download soon.

    A paid result is read even if one of the two members is missing; `Generation.urls` has what there is.
    """

    primary_url: str = ""
    urls: tuple[str, ...] = ()
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class ErrorDetail:
    """Why the service ended a job as failed [7]. `code` is an open string."""

    code: str
    message: str = ""
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class Generation:
    """One job, as the service described it at one moment [6, 7].

    `status` is an open string. `reserved_credits` are held from the start, `final_credits` are an ended job's charge.

    >>> Generation(id="task_1", status="some_new_status", model="z-image").is_terminal
    False
    """

    id: str
    status: str
    model: str
    reserved_credits: Amount = 0
    final_credits: Amount = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    result: GenerationResult | None = None
    error: ErrorDetail | None = None
    extra: Mapping[str, Any] = extra_fields()

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self.status in TERMINAL_STATUSES

    @property
    def succeeded(self) -> bool:
        """Whether the job has ended well."""
        return self.status == Status.SUCCEEDED

    @property
    def failed(self) -> bool:
        """Whether the service ended the job as failed."""
        return self.status == Status.FAILED

    @property
    def duration(self) -> timedelta | None:
        """From submit to the last change, by the server's clock; None where the service gave no times."""
        if self.created_at is None or self.updated_at is None:
            return None
        return self.updated_at - self.created_at

    @property
    def urls(self) -> tuple[str, ...]:
        """The result's links, the primary one first; empty unless the job succeeded."""
        if self.result is None:
            return ()
        return self.result.urls or tuple(filter(None, [self.result.primary_url]))


@attrs.frozen
class ReferenceMedia:
    """A picture, video or sound that a job refers to [6]: the URL that the Files API returned, and its kind.

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
        """An item of `params.referenceMediaItems`, whose members alone are camelCase."""
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
class File:
    """An uploaded file [8]. Only its id, its URL and the `duration_token` of audio and video are documented by name.

    Printing it does not show the token, which stands for what the service has measured.

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
        """What a job needs to refer to it, the duration token included."""
        return ReferenceMedia(
            self.url,
            self.kind,
            name=self.name,
            mime_type=self.mime_type,
            duration_seconds=self.duration_seconds,
            duration_token=self.duration_token,
        )


@attrs.frozen
class Credits:
    """The balance of the account [9]; the same wallet as the web studio."""

    current_credits: Amount
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class SavedFile:
    """A result on this machine: its path as it was written, its size in bytes and the hash of its content."""

    path: str
    size: int
    sha256: str


@attrs.frozen
class ValidationProblem:
    """One thing that is wrong with a job, for programs and, as `message`, for people.

    `where` is `model`, `prompt`, `params`, `params.KEY`, `references[N]` or an argument of a chat. `reason` is one
    word: `unknown`, `missing`, `type`, `option`, `range`, `step`, `length`, `kind`, `format`, `size`, `count`,
    `unavailable`. `nearest` holds the names or values that were probably meant.

    >>> ValidationProblem("params.seed", "range", "seed must be 0 or more, not -1").where
    'params.seed'
    """

    where: str
    reason: str
    message: str
    nearest: tuple[str | float, ...] = ()
