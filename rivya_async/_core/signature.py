"""Signatures of webhooks: to sign, and to verify. The time is an argument.

A scheme is a value: `RIVYA` (what we assume of the service), `STANDARD_WEBHOOKS`, or any object with the methods of
`Scheme`. Whatever is wrong with a delivery is a `WebhookError`; a wrong secret or tolerance is a `ConfigurationError`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, Protocol

import attrs

from . import assumed, wire
from .errors import ConfigurationError, DecodeError, OutsideTolerance, SignatureMismatch, WebhookError
from .webhook_records import WebhookEvent

SECONDS: Final = re.compile(r"[0-9]{1,12}")
DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
VISIBLE: Final = re.compile(r"[!-~]{1,256}")


@attrs.frozen
class Claim:
    """What the headers of a delivery say: when it was sent, what was signed before the body, and the signatures."""

    timestamp: int
    """Epoch seconds."""
    prefix: bytes
    signatures: tuple[bytes, ...]


class Scheme(Protocol):
    """How deliveries are signed."""

    def claim(self, headers: Mapping[str, str]) -> Claim:
        """What the headers, named in lower case, say. Raises `WebhookError` where they do not fit the scheme."""
        ...

    def key(self, secret: str) -> bytes:
        """The key that a secret stands for. Raises `ConfigurationError` for what can be no secret."""
        ...

    def digest(self, key: bytes, signed: bytes) -> bytes:
        """The signature of the signed bytes: the claim's prefix and the body."""
        ...

    def sign(self, body: bytes, secret: str, *, message_id: str, timestamp: int) -> dict[str, str]:
        """The headers that sign a body."""
        ...


@attrs.frozen
class HmacSha256:
    """What the schemes here have in common."""

    def digest(self, key: bytes, signed: bytes) -> bytes:
        """HMAC-SHA256."""
        return hmac.digest(key, signed, hashlib.sha256)


@attrs.frozen
class RivyaScheme(HmacSha256):
    """`Rivya-Signature: t=<seconds>,v1=<hex>` over `<t>.<body>`; the key is the whole secret. All of it is assumed.

    Several `v1` may stand side by side; members of other names are left alone.
    """

    header: str = assumed.SIGNATURE_HEADER

    def claim(self, headers: Mapping[str, str]) -> Claim:
        """See `Scheme`."""
        parts = [part.strip().partition("=") for part in _header(headers, self.header).split(",")]
        times = [value for name, _, value in parts if name == "t"]
        if len(times) != 1:
            raise WebhookError(f"{self.header} must hold one t=, not {len(times)}")
        timestamp = _timestamp(times[0], self.header)
        signatures = [value for name, _, value in parts if name == "v1" and DIGEST.fullmatch(value)]
        return Claim(timestamp, f"{times[0]}.".encode(), tuple(map(bytes.fromhex, signatures)))

    def key(self, secret: str) -> bytes:
        """See `Scheme`."""
        return secret.encode()

    def sign(self, body: bytes, secret: str, *, message_id: str, timestamp: int) -> dict[str, str]:  # noqa: ARG002
        """See `Scheme`; the id of the message is not signed."""
        digest = self.digest(self.key(secret), f"{timestamp}.".encode() + body)
        return {self.header: f"t={timestamp},v1={digest.hex()}"}


@attrs.frozen
class StandardWebhooks(HmacSha256):
    """The symmetric scheme `v1` of standardwebhooks.com: the key is what follows `whsec_`, in base64."""

    prefix: str = "webhook-"
    """Of the three headers."""

    def claim(self, headers: Mapping[str, str]) -> Claim:
        """See `Scheme`."""
        message_id = _header(headers, f"{self.prefix}id")
        if not VISIBLE.fullmatch(message_id):
            raise WebhookError(f"{self.prefix}id holds no message id")
        text = _header(headers, f"{self.prefix}timestamp")
        timestamp = _timestamp(text, f"{self.prefix}timestamp")
        given = [each.partition(",") for each in _header(headers, f"{self.prefix}signature").split(" ")]
        signatures = [_unbased(value) for version, _, value in given if version == "v1"]
        return Claim(timestamp, f"{message_id}.{text}.".encode(), tuple(filter(None, signatures)))

    def key(self, secret: str) -> bytes:
        """See `Scheme`."""
        key = _unbased(secret.removeprefix("whsec_"))
        if not key:
            raise ConfigurationError("a secret of Standard Webhooks is base64 after whsec_: copy it again")
        return key

    def sign(self, body: bytes, secret: str, *, message_id: str, timestamp: int) -> dict[str, str]:
        """See `Scheme`."""
        digest = self.digest(self.key(secret), f"{message_id}.{timestamp}.".encode() + body)
        return {
            f"{self.prefix}id": message_id,
            f"{self.prefix}timestamp": str(timestamp),
            f"{self.prefix}signature": f"v1,{base64.b64encode(digest).decode()}",
        }


RIVYA: Final = RivyaScheme()
STANDARD_WEBHOOKS: Final = StandardWebhooks()


def _secrets(given: str | Sequence[str]) -> tuple[str, ...]:
    """The secrets; no message shows one."""
    secrets = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Sequence) else ()
    if not secrets or not all(isinstance(each, str) and each.strip() for each in secrets):
        raise ConfigurationError("the signing secret is missing or blank: pass what webhooks.create told, or several")
    if not all(each.isascii() and each.isprintable() and " " not in each for each in secrets):
        raise ConfigurationError("a signing secret holds a blank, a control or a non-ASCII character: copy it again")
    return secrets


def _tolerance(given: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
        raise ConfigurationError(f"tolerance must be a number of seconds from 0 on, not {given!r:.40}")
    return given


@attrs.frozen
class Verifier:
    """Who may have sent a delivery: the secrets in use (several while they are rotated), the scheme, the patience.

    `tolerance` is the most seconds between the signature's time and now, either way. Printing it shows no secret.

    >>> headers = RIVYA.sign(b'{"id": "evt_1"}', "whsec_1", message_id="evt_1", timestamp=1_000)
    >>> Verifier("whsec_1").verify(b'{"id": "evt_1"}', headers, now=1_060.0).id
    'evt_1'
    """

    secrets: tuple[str, ...] = attrs.field(converter=_secrets, repr=False)
    scheme: Scheme = attrs.field(default=RIVYA, kw_only=True)
    tolerance: float = attrs.field(default=assumed.SIGNATURE_TOLERANCE, kw_only=True, converter=_tolerance)
    _keys: tuple[bytes, ...] = attrs.field(
        init=False,
        repr=False,
        eq=False,
        default=attrs.Factory(lambda one: tuple(map(one.scheme.key, one.secrets)), takes_self=True),
    )

    def verify(self, body: bytes, headers: Mapping[str, str], *, now: float) -> WebhookEvent:
        """The event, once it is known who sent it and when; `body` is the raw body, `now` is in epoch seconds.

        Raises `SignatureMismatch`, `OutsideTolerance`, and `WebhookError` for whatever else is wrong with it.
        """
        if not isinstance(body, bytes):
            raise ConfigurationError(f"body must be the raw bytes of the request, not {type(body).__name__}")
        claim = self.scheme.claim(_lowered(headers))
        if not self._is_ours(claim, body):
            raise SignatureMismatch(
                "the delivery is not signed with this secret: check that it is the endpoint's, and that the body is raw"
            )
        if not abs(now - claim.timestamp) <= self.tolerance:
            raise OutsideTolerance(
                f"the delivery was signed {now - claim.timestamp:+.0f} s ago, the tolerance is {self.tolerance:g} s: "
                "check the clock, or it is a replay"
            )
        return read_event(body)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a verifier is not pickled: it holds the signing secrets")

    def _is_ours(self, claim: Claim, body: bytes) -> bool:
        digests = [self.scheme.digest(key, claim.prefix + body) for key in self._keys]
        return any(hmac.compare_digest(ours, theirs) for ours in digests for theirs in claim.signatures)


def read_event(body: bytes) -> WebhookEvent:
    """The event of a body whose sender is known. Raises `WebhookError` for what is none."""
    try:
        event = wire.decode(body, WebhookEvent)
    except DecodeError as error:
        raise WebhookError(f"the delivery is signed, but its body is no event: {error.reason}") from None
    if not event.id.strip():
        raise WebhookError("the delivery is signed, but its event has no id: it cannot be told from others")
    return event


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers under their names in lower case. A name that came twice counts as a header that is not to be read."""
    lowered: dict[str, str] = {}
    if not hasattr(headers, "items"):
        raise ConfigurationError(f"headers must be a mapping of names to values, not {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError("headers must be text, names and values: decode them as latin-1")
        key = name.lower()
        lowered[key] = "" if key in lowered else value
    return lowered


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower())
    if not value:
        raise WebhookError(f"the delivery has no {name}, or more than one: it is not from the service")
    return value


def _timestamp(text: str, name: str) -> int:
    if not SECONDS.fullmatch(text):
        raise WebhookError(f"{name} holds no time in seconds")
    return int(text)


def _unbased(text: str) -> bytes | None:
    """What base64 stands for; None if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # the latter for what is not ASCII
        return None
