"""Signatures of webhooks: to sign, and to verify. The time is an argument.

A scheme is a value: `RIVYA` (what we assume of the service), `STANDARD_WEBHOOKS`, or any object with the methods of
`Scheme`. Whatever is wrong with a delivery is a `WebhookVerificationError`; a wrong secret or tolerance is a
`ConfigurationError`.
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

from .. import assumptions
from ..errors import (
    ConfigurationError,
    ResponseDecodeError,
    SignatureMismatchError,
    TimestampToleranceError,
    WebhookVerificationError,
)
from ..http import serialization
from .records import WebhookEvent

TIMESTAMP_PATTERN: Final = re.compile(r"[0-9]{1,12}")
DIGEST_PATTERN: Final = re.compile(r"[0-9a-fA-F]{64}")
VISIBLE_ASCII_PATTERN: Final = re.compile(r"[!-~]{1,256}")


@attrs.frozen
class ParsedSignature:
    """What the headers of a delivery say: when it was sent, what was signed before the body, and the signatures."""

    timestamp: int
    """Epoch seconds."""
    prefix: bytes
    signatures: tuple[bytes, ...]


class Scheme(Protocol):
    """How deliveries are signed."""

    def parse(self, headers: Mapping[str, str]) -> ParsedSignature:
        """What the headers, named in lower case, say.

        Raises `WebhookVerificationError` where they do not fit the scheme.
        """
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
    """`Rivya-Signature: t=<seconds>,v1=<hex>` over `<t>.<body>`; the key is the whole secret. All of it is assumptions.

    Several `v1` may stand side by side; members of other names are left alone.
    """

    header: str = assumptions.SIGNATURE_HEADER

    def parse(self, headers: Mapping[str, str]) -> ParsedSignature:
        """See `Scheme`."""
        parts = [part.strip().partition("=") for part in _require_header(headers, self.header).split(",")]
        times = [value for name, _, value in parts if name == "t"]
        if len(times) != 1:
            raise WebhookVerificationError(f"{self.header} must hold one t=, not {len(times)}")
        timestamp = _parse_timestamp(times[0], self.header)
        signatures = [value for name, _, value in parts if name == "v1" and DIGEST_PATTERN.fullmatch(value)]
        return ParsedSignature(timestamp, f"{times[0]}.".encode(), tuple(map(bytes.fromhex, signatures)))

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

    def parse(self, headers: Mapping[str, str]) -> ParsedSignature:
        """See `Scheme`."""
        message_id = _require_header(headers, f"{self.prefix}id")
        if not VISIBLE_ASCII_PATTERN.fullmatch(message_id):
            raise WebhookVerificationError(f"{self.prefix}id holds no message id")
        text = _require_header(headers, f"{self.prefix}timestamp")
        timestamp = _parse_timestamp(text, f"{self.prefix}timestamp")
        given = [each.partition(",") for each in _require_header(headers, f"{self.prefix}signature").split(" ")]
        signatures = [_decode_secret(value) for version, _, value in given if version == "v1"]
        return ParsedSignature(timestamp, f"{message_id}.{text}.".encode(), tuple(filter(None, signatures)))

    def key(self, secret: str) -> bytes:
        """See `Scheme`."""
        key = _decode_secret(secret.removeprefix("whsec_"))
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


def _validate_secrets(given: str | Sequence[str]) -> tuple[str, ...]:
    """The secrets; no message shows one."""
    secrets = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Sequence) else ()
    if not secrets or not all(isinstance(each, str) and each.strip() for each in secrets):
        raise ConfigurationError("the signing secret is missing or blank: pass what webhooks.create told, or several")
    if not all(each.isascii() and each.isprintable() and " " not in each for each in secrets):
        raise ConfigurationError("a signing secret holds a blank, a control or a non-ASCII character: copy it again")
    return secrets


def _validate_tolerance(given: float) -> float:
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

    secrets: tuple[str, ...] = attrs.field(converter=_validate_secrets, repr=False)
    scheme: Scheme = attrs.field(default=RIVYA, kw_only=True)
    tolerance: float = attrs.field(default=assumptions.SIGNATURE_TOLERANCE, kw_only=True, converter=_validate_tolerance)
    _keys: tuple[bytes, ...] = attrs.field(
        init=False,
        repr=False,
        eq=False,
        default=attrs.Factory(lambda one: tuple(map(one.scheme.key, one.secrets)), takes_self=True),
    )

    def verify(self, body: bytes, headers: Mapping[str, str], *, now: float) -> WebhookEvent:
        """The event, once it is known who sent it and when; `body` is the raw body, `now` is in epoch seconds.

        Raises `SignatureMismatchError`, `TimestampToleranceError`, and `WebhookVerificationError` for whatever else is
        wrong with it.
        """
        if not isinstance(body, bytes):
            raise ConfigurationError(f"body must be the raw bytes of the request, not {type(body).__name__}")
        claim = self.scheme.parse(_lowercase_keys(headers))
        if not self._matches_any_secret(claim, body):
            raise SignatureMismatchError(
                "the delivery is not signed with this secret: check that it is the endpoint's, and that the body is raw"
            )
        if not abs(now - claim.timestamp) <= self.tolerance:
            raise TimestampToleranceError(
                f"the delivery was signed {now - claim.timestamp:+.0f} s ago, the tolerance is {self.tolerance:g} s: "
                "check the clock, or it is a replay"
            )
        return read_event(body)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a verifier is not pickled: it holds the signing secrets")

    def _matches_any_secret(self, claim: ParsedSignature, body: bytes) -> bool:
        digests = [self.scheme.digest(key, claim.prefix + body) for key in self._keys]
        return any(hmac.compare_digest(ours, theirs) for ours in digests for theirs in claim.signatures)


def read_event(body: bytes) -> WebhookEvent:
    """The event of a body whose sender is known. Raises `WebhookVerificationError` for what is none."""
    try:
        event = serialization.decode(body, WebhookEvent)
    except ResponseDecodeError as error:
        raise WebhookVerificationError(f"the delivery is signed, but its body is no event: {error.reason}") from None
    if not event.id.strip():
        raise WebhookVerificationError("the delivery is signed, but its event has no id: it cannot be told from others")
    return event


def _lowercase_keys(headers: Mapping[str, str]) -> dict[str, str]:
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


def _require_header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower())
    if not value:
        raise WebhookVerificationError(f"the delivery has no {name}, or more than one: it is not from the service")
    return value


def _parse_timestamp(text: str, name: str) -> int:
    if not TIMESTAMP_PATTERN.fullmatch(text):
        raise WebhookVerificationError(f"{name} holds no time in seconds")
    return int(text)


def _decode_secret(text: str) -> bytes | None:
    """What base64 stands for; None if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # the latter for what is not ASCII
        return None
