"""The webhook endpoints that the sandbox remembers. It is told the time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from ..api_error import ApiError
from ..store import StateStore
from ..task import timestamp
from . import url_validation as webhook_url

EVENT_TYPES: Final = ("generation.succeeded", "generation.failed")

NAME_MAX_LENGTH: Final = 128
"""Characters. Invented."""

FAILURES_TO_DISABLE: Final = 20
"""Failed deliveries in a row after which an endpoint is disabled. Assumed."""

FIELDS: Final = ("name", "url", "event_types", "status")
"""What PATCH takes. Assumed."""


@attrs.define
class WebhookEndpoint:
    """Where the events of an account are told. Instants are epoch seconds."""

    id: str
    account_id: str
    name: str
    url: str
    event_types: Sequence[str]
    secret: str = attrs.field(repr=False)
    created_at: float
    updated_at: float
    status: str = "active"
    last_success_at: float | None = None
    last_failure_at: float | None = None
    failure_count: int = 0
    disabled_at: float | None = None
    revoked_at: float | None = None

    @property
    def is_active(self) -> bool:
        """Whether events are delivered to it."""
        return self.status == "active"

    def to_wire(self, *, shows_secret: bool = False) -> dict[str, Any]:
        """As the API tells of it."""
        instants = ("last_success_at", "last_failure_at", "created_at", "updated_at", "disabled_at", "revoked_at")
        return {
            "id": self.id,
            "object": "webhook_endpoint",
            "name": self.name,
            "url": self.url,
            "event_types": list(self.event_types),
            "status": self.status,
            "secret_preview": f"{self.secret[:8]}...{self.secret[-6:]}",
            **({"signing_secret": self.secret} if shows_secret else {}),
            "failure_count": self.failure_count,
            **{name: None if getattr(self, name) is None else timestamp(getattr(self, name)) for name in instants},
        }

    def change(self, fields: Mapping[str, Any], now: float) -> None:
        """Take over what PATCH says; activating forgets the failures."""
        self.name = fields.get("name", self.name)
        self.url = fields.get("url", self.url)
        self.event_types = fields.get("event_types", self.event_types)
        self.updated_at = now
        if fields.get("status") == "active":
            self.status, self.disabled_at, self.failure_count = "active", None, 0
        elif fields.get("status") == "disabled" and self.is_active:
            self.disable(now)

    def disable(self, now: float) -> None:
        """Deliver nothing until it is activated again."""
        self.status, self.disabled_at, self.updated_at = "disabled", now, now

    def heard(self, now: float, *, taken: bool) -> None:
        """Note what came of a delivery; too many failures in a row disable it."""
        if taken:
            self.last_success_at, self.failure_count = now, 0
            return
        self.last_failure_at = now
        self.failure_count += 1
        if self.is_active and self.failure_count >= FAILURES_TO_DISABLE:
            self.disable(now)


class WebhookEndpointStore:
    """All endpoints, in the order in which they were made. `allow_local`: see `webhook_url.check`."""

    def __init__(self, seed: int | str, *, allow_local: bool, store: StateStore | None = None) -> None:
        self._seed = seed
        self._allow_local = allow_local
        self._secrets = 0
        self._store = store or StateStore()
        self._all = {each.id: each for each in self._store.load(WebhookEndpoint)}

    def create(self, account_id: str, body: Mapping[str, Any], now: float) -> WebhookEndpoint:
        """A new endpoint; raises `Refused` (validation_failed, webhook_url_rejected)."""
        for name in ("name", "url", "event_types"):
            if body.get(name) is None:
                raise ApiError("validation_failed", f"{name} is required.")
        fields = self._checked({name: body[name] for name in ("name", "url", "event_types")})
        endpoint_id = f"whend_{hashlib.sha256(f'{self._seed}/webhook/{len(self._all)}'.encode()).hexdigest()[:20]}"
        endpoint = WebhookEndpoint(
            endpoint_id, account_id, **fields, secret=self._new_secret(), created_at=now, updated_at=now
        )
        self._all[endpoint.id] = endpoint
        self._note(endpoint)
        return endpoint

    def update(self, endpoint: WebhookEndpoint, body: Mapping[str, Any], now: float) -> None:
        """Change an endpoint; raises `Refused` (validation_failed, webhook_url_rejected)."""
        self.check_living(endpoint)
        fields = {name: body[name] for name in FIELDS if name in body}
        if not fields:
            raise ApiError("validation_failed", f"One of {', '.join(FIELDS)} is required.")
        endpoint.change(self._checked(fields), now)
        self._note(endpoint)

    def revoke(self, endpoint: WebhookEndpoint, now: float) -> None:
        """End it for good; the second time changes nothing."""
        if endpoint.revoked_at is None:
            endpoint.status, endpoint.revoked_at, endpoint.updated_at = "revoked", now, now
            self._note(endpoint)

    def rotate(self, endpoint: WebhookEndpoint, now: float) -> None:
        """A new secret; the old one is dead at once."""
        self.check_living(endpoint)
        endpoint.secret, endpoint.updated_at = self._new_secret(), now
        self._note(endpoint)

    def heard(self, endpoint: WebhookEndpoint, now: float, *, taken: bool) -> None:
        """Note what came of a delivery to it."""
        endpoint.heard(now, taken=taken)
        self._note(endpoint)

    def by_id(self, endpoint_id: str) -> WebhookEndpoint:
        """The one of this id, whose ever it is."""
        return self._all[endpoint_id]

    def of(self, account_id: str) -> Sequence[WebhookEndpoint]:
        """The endpoints of an account, the newest first."""
        return [each for each in reversed(self._all.values()) if each.account_id == account_id]

    def one(self, account_id: str, endpoint_id: str) -> WebhookEndpoint:
        """One of them; raises `Refused` (not_found) without it."""
        known = self._all.get(endpoint_id)
        if known is None or known.account_id != account_id:
            raise ApiError("not_found", "There is no such webhook endpoint.")
        return known

    def check_living(self, endpoint: WebhookEndpoint) -> None:
        """Raises `Refused` (validation_failed) for one that is revoked."""
        if endpoint.revoked_at is not None:
            raise ApiError("validation_failed", "This webhook endpoint is revoked: make a new one.")

    @property
    def has_active(self) -> bool:
        """Whether there is anybody to tell."""
        return any(each.is_active for each in self._all.values())

    def _note(self, endpoint: WebhookEndpoint) -> None:
        self._store.put(endpoint.id, endpoint)

    def _new_secret(self) -> str:
        self._secrets += 1
        return f"whsec_{hashlib.sha256(f'{self._seed}/webhook-secret/{self._secrets}'.encode()).hexdigest()}"

    def _checked(self, fields: dict[str, Any]) -> dict[str, Any]:
        name, url, types, status = (fields.get(each, _UNSET) for each in FIELDS)
        if name is not _UNSET and not (isinstance(name, str) and 1 <= len(name.strip()) <= NAME_MAX_LENGTH):
            raise ApiError("validation_failed", f"name must be a string of 1 to {NAME_MAX_LENGTH} characters.")
        if types is not _UNSET:
            if not isinstance(types, list) or not types or not all(each in EVENT_TYPES for each in types):
                raise ApiError("validation_failed", f"event_types must be a list of {' or '.join(EVENT_TYPES)}.")
            fields["event_types"] = list(dict.fromkeys(types))
        if status is not _UNSET and status not in ("active", "disabled"):
            raise ApiError("validation_failed", "status must be active or disabled.")
        if url is not _UNSET:
            if not isinstance(url, str):
                raise ApiError("validation_failed", "url must be a string.")
            webhook_url.check(url, allow_local=self._allow_local)
        return fields


_UNSET: Final = object()
