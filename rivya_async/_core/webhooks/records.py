"""Frozen records of the webhook API; see `types.generations` for their common rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Self

import attrs

from ..errors import ResponseDecodeError
from ..http import serialization
from ..public_module import set_public_module
from ..types.generations import Generation, extra_fields
from ..types.record import Record

JOB_MEMBERS: Final = ("object", "generation")
"""Members of an event that may contain its job [1]."""


@attrs.frozen
class WebhookEndpoint(Record):
    """URL that the service notifies of ended jobs.

    Only `create` and `rotate_secret` return `signing_secret`: keep it to verify deliveries. The repr and pickles omit
    it. `secret_preview` identifies the current secret.

    >>> WebhookEndpoint(id="whend_1", signing_secret="whsec_1").is_active
    False
    """

    id: str
    """Id of the endpoint."""
    name: str = ""
    """Your name of the endpoint."""
    url: str = ""
    """URL that receives the events."""
    event_types: tuple[str, ...] = ()
    """Types of the events that are delivered."""
    status: str = ""
    """An open string: `active` or `disabled`."""
    secret_preview: str | None = None
    """Part of the current secret, which identifies it."""
    signing_secret: str | None = attrs.field(default=None, repr=False)
    """Secret that signs deliveries; only `create` and `rotate_secret` return it."""
    last_success_at: datetime | None = None
    """Time of the last accepted delivery."""
    last_failure_at: datetime | None = None
    """Time of the last failed delivery."""
    failure_count: int = 0
    """Number of failed deliveries."""
    created_at: datetime | None = None
    """Time of the creation."""
    updated_at: datetime | None = None
    """Time of the last change."""
    disabled_at: datetime | None = None
    """Time at which it was disabled."""
    revoked_at: datetime | None = None
    """Time at which it was deleted."""
    object: str = "webhook_endpoint"
    """Type of the object, as the service names it."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""

    @property
    def is_active(self) -> bool:
        """True if the service delivers to it."""
        return self.status == "active"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        members = {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}
        return _restore_endpoint, ({**members, "signing_secret": None},)


def _restore_endpoint(members: Mapping[str, Any]) -> WebhookEndpoint:
    return WebhookEndpoint(**members)


@attrs.frozen
class WebhookEndpointList(Record):
    """Endpoints, newest first."""

    data: tuple[WebhookEndpoint, ...]
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class WebhookEvent(Record):
    """Notification of an ended job.

    An event may be delivered more than once, and in any order: `id` identifies it.

    >>> job = {"id": "task_1", "status": "succeeded", "model": "z-image"}
    >>> WebhookEvent(id="evt_1", type="generation.succeeded", data={"object": job}).generation.id
    'task_1'
    """

    id: str
    """Id of the event, the same in each of its deliveries."""
    type: str = ""
    """An open string: `generation.succeeded`, `generation.failed`, ..."""
    api_version: str | None = None
    """Version of the API that has written the event."""
    created_at: datetime | None = None
    """Time of the event by the server's clock."""
    data: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    """Content of the event, unchanged."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""

    @property
    def generation(self) -> Generation | None:
        """The job of the event, in `data` or beside it (by assumption); None if unreadable."""
        beside = self.extra
        for value in (self.data, *(source.get(name) for source in (self.data, beside) for name in JOB_MEMBERS)):
            if isinstance(value, Mapping) and "status" in value and ("model" in value or self._is_about_job):
                try:
                    return serialization.structure(dict(value), Generation)
                except ResponseDecodeError:
                    continue
        return None

    @property
    def _is_about_job(self) -> bool:
        return self.type.startswith("generation")


@attrs.frozen
class WebhookEventList(Record):
    """Events, newest first."""

    data: tuple[WebhookEvent, ...]
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class WebhookDelivery(Record):
    """Attempt to deliver an event to an endpoint; its shape is an assumption, so missing members are None."""

    id: str
    """Id of the delivery."""
    endpoint_id: str | None = None
    """Id of the endpoint."""
    event_id: str | None = None
    """Id of the event."""
    event_type: str | None = None
    """Type of the event."""
    status: str = ""
    """An open string: `pending`, `succeeded` or `failed`."""
    attempt: int | None = None
    """Number of the attempt, from 1."""
    response_status: int | None = None
    """HTTP status that the receiver answered with."""
    error: str | None = None
    """Reason for a failed delivery."""
    created_at: datetime | None = None
    """Time of the creation."""
    delivered_at: datetime | None = None
    """Time at which the receiver accepted it."""
    object: str = "webhook_delivery"
    """Type of the object, as the service names it."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""

    @property
    def succeeded(self) -> bool:
        """True if the receiver accepted it."""
        return self.status == "succeeded"


@attrs.frozen
class WebhookDeliveryList(Record):
    """Deliveries, newest first."""

    data: tuple[WebhookDelivery, ...]
    extra: Mapping[str, Any] = extra_fields()


set_public_module("rivya_async", WebhookDelivery, WebhookEndpoint, WebhookEvent)
