"""Webhook endpoints: their validation, their secrets and their failure counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from ..responses import ApiError, validation_error
from ..store import StateStore
from ..task import encode_record
from .url_validation import check_webhook_url

EVENT_TYPES: Final = ("generation.succeeded", "generation.failed")

NAME_MAX_LENGTH: Final = 128
"""Characters of an endpoint's name. Invented."""

FAILURES_TO_DISABLE: Final = 20
"""Consecutive failed deliveries that disable an endpoint. Assumed."""

FIELDS: Final = ("name", "url", "event_types", "status")
"""Members that PATCH accepts. Assumed."""


@attrs.define
class WebhookEndpoint:
    """A receiver of an account's events. Times are epoch seconds."""

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
        """True if events are delivered to it."""
        return self.status == "active"

    def to_json(self, *, with_secret: bool = False) -> dict[str, Any]:
        """Returns the API's endpoint object."""
        preview = f"{self.secret[:8]}...{self.secret[-6:]}"
        secret = {"signing_secret": self.secret} if with_secret else {}
        return {**encode_record(self, "webhook_endpoint", "account_id", "secret"), "secret_preview": preview, **secret}

    def update(self, fields: Mapping[str, Any], now: float) -> None:
        """Applies valid fields of PATCH; activation resets the failure count."""
        self.name = fields.get("name", self.name)
        self.url = fields.get("url", self.url)
        self.event_types = fields.get("event_types", self.event_types)
        self.updated_at = now
        if fields.get("status") == "active":
            self.status, self.disabled_at, self.failure_count = "active", None, 0
        elif fields.get("status") == "disabled" and self.is_active:
            self.disable(now)

    def disable(self, now: float) -> None:
        """Stops deliveries until the next activation."""
        self.status, self.disabled_at, self.updated_at = "disabled", now, now

    def record_result(self, now: float, *, succeeded: bool) -> None:
        """Counts the result of a delivery; too many consecutive failures disable the endpoint."""
        if succeeded:
            self.last_success_at, self.failure_count = now, 0
            return
        self.last_failure_at = now
        self.failure_count += 1
        if self.is_active and self.failure_count >= FAILURES_TO_DISABLE:
            self.disable(now)


class WebhookEndpointStore:
    """All endpoints, in the order of their creation. `allow_local`: see `check_webhook_url`."""

    def __init__(self, seed: int | str, *, allow_local: bool, store: StateStore | None = None) -> None:
        self._seed = seed
        self._allow_local = allow_local
        self._secret_count = 0
        self._store = store or StateStore()
        self._endpoints = {endpoint.id: endpoint for endpoint in self._store.load(WebhookEndpoint)}

    def create(self, account_id: str, body: Mapping[str, Any], now: float) -> WebhookEndpoint:
        """Creates an endpoint; raises `ApiError` (validation_failed, webhook_url_rejected)."""
        for name in ("name", "url", "event_types"):
            if body.get(name) is None:
                raise validation_error(f"{name} is required.")
        fields = self._validate({name: body[name] for name in ("name", "url", "event_types")})
        digest = hashlib.sha256(f"{self._seed}/webhook/{len(self._endpoints)}".encode()).hexdigest()
        endpoint = WebhookEndpoint(
            f"whend_{digest[:20]}", account_id, **fields, secret=self._new_secret(), created_at=now, updated_at=now
        )
        self._endpoints[endpoint.id] = endpoint
        self._save(endpoint)
        return endpoint

    def update(self, endpoint: WebhookEndpoint, body: Mapping[str, Any], now: float) -> None:
        """Updates an endpoint; raises `ApiError` (validation_failed, webhook_url_rejected)."""
        self.check_not_revoked(endpoint)
        fields = {name: body[name] for name in FIELDS if name in body}
        if not fields:
            raise validation_error(f"One of {', '.join(FIELDS)} is required.")
        endpoint.update(self._validate(fields), now)
        self._save(endpoint)

    def revoke(self, endpoint: WebhookEndpoint, now: float) -> None:
        """Revokes an endpoint for ever; idempotent."""
        if endpoint.revoked_at is None:
            endpoint.status, endpoint.revoked_at, endpoint.updated_at = "revoked", now, now
            self._save(endpoint)

    def rotate_secret(self, endpoint: WebhookEndpoint, now: float) -> None:
        """Replaces the secret at once."""
        self.check_not_revoked(endpoint)
        endpoint.secret, endpoint.updated_at = self._new_secret(), now
        self._save(endpoint)

    def record_result(self, endpoint: WebhookEndpoint, now: float, *, succeeded: bool) -> None:
        """Counts the result of a delivery to an endpoint."""
        endpoint.record_result(now, succeeded=succeeded)
        self._save(endpoint)

    def get_by_id(self, endpoint_id: str) -> WebhookEndpoint:
        """Returns an endpoint of any account."""
        return self._endpoints[endpoint_id]

    def list_endpoints(self, account_id: str) -> Sequence[WebhookEndpoint]:
        """Returns the endpoints of an account, the newest first."""
        return [endpoint for endpoint in reversed(self._endpoints.values()) if endpoint.account_id == account_id]

    def get(self, account_id: str, endpoint_id: str) -> WebhookEndpoint:
        """Returns an endpoint of an account; raises `ApiError` (not_found) without it."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None or endpoint.account_id != account_id:
            raise ApiError("not_found", "There is no such webhook endpoint.")
        return endpoint

    def check_not_revoked(self, endpoint: WebhookEndpoint) -> None:
        """Raises `ApiError` (validation_failed) for a revoked endpoint."""
        if endpoint.revoked_at is not None:
            raise validation_error("This webhook endpoint is revoked: create a new one.")

    @property
    def has_active(self) -> bool:
        """True if some endpoint receives events."""
        return any(endpoint.is_active for endpoint in self._endpoints.values())

    def _save(self, endpoint: WebhookEndpoint) -> None:
        self._store.put(endpoint.id, endpoint)

    def _new_secret(self) -> str:
        self._secret_count += 1
        return f"whsec_{hashlib.sha256(f'{self._seed}/webhook-secret/{self._secret_count}'.encode()).hexdigest()}"

    def _validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Returns the fields with unique event types; checks those that are present."""
        if "name" in fields:
            name = fields["name"]
            if not (isinstance(name, str) and 1 <= len(name.strip()) <= NAME_MAX_LENGTH):
                raise validation_error(f"name must be a string of 1 to {NAME_MAX_LENGTH} characters.")
        if "event_types" in fields:
            types = fields["event_types"]
            if not isinstance(types, list) or not types or not all(each in EVENT_TYPES for each in types):
                raise validation_error(f"event_types must be a list of {' or '.join(EVENT_TYPES)}.")
            fields["event_types"] = list(dict.fromkeys(types))
        if "status" in fields and fields["status"] not in ("active", "disabled"):
            raise validation_error("status must be active or disabled.")
        if "url" in fields:
            if not isinstance(fields["url"], str):
                raise validation_error("url must be a string.")
            check_webhook_url(fields["url"], allow_local=self._allow_local)
        return fields
