"""Signing and verification of webhook deliveries. Time is an argument.

A scheme is a value: `RIVYA` (our assumption of the service), `STANDARD_WEBHOOKS`, or any object with the methods of
`Scheme`. Invalid deliveries raise `WebhookVerificationError`; an invalid secret or tolerance raises
`ConfigurationError`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import re
from collections.abc import Iterable, Mapping
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
    """Signature headers of a delivery: the time in epoch seconds, the signed prefix of the body, and the signatures."""

    timestamp: int
    """Time of the signature in seconds since 1970."""
    prefix: bytes
    """Text that is signed before the body."""
    signatures: tuple[bytes, ...]
    """Signatures of the delivery, one of which must match."""


class Scheme(Protocol):
    """Signature scheme of deliveries."""

    def parse(self, headers: Mapping[str, str]) -> ParsedSignature:
        """Parses headers with lower-case names. Raises `WebhookVerificationError` for invalid ones."""
        ...

    def key(self, secret: str) -> bytes:
        """Returns the key of a secret. Raises `ConfigurationError` for an invalid secret."""
        ...

    def digest(self, key: bytes, signed: bytes) -> bytes:
        """Returns the signature of the prefix and the body."""
        ...

    def sign(self, body: bytes, secret: str, *, message_id: str, timestamp: int) -> dict[str, str]:
        """Returns the signature headers of a body."""
        ...


@attrs.frozen
class HmacSha256:
    """Base class of schemes that use HMAC-SHA256."""

    def digest(self, key: bytes, signed: bytes) -> bytes:
        """Returns the HMAC-SHA256."""
        return hmac.digest(key, signed, hashlib.sha256)


@attrs.frozen
class RivyaScheme(HmacSha256):
    """Scheme `Rivya-Signature: t=<seconds>,v1=<hex>` over `<t>.<body>` with the whole secret as the key: an assumption.

    The header may contain several `v1`; other members are ignored.
    """

    header: str = assumptions.SIGNATURE_HEADER
    """Name of the header with the signature."""

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
        """See `Scheme`; the message id is not signed."""
        digest = self.digest(self.key(secret), f"{timestamp}.".encode() + body)
        return {self.header: f"t={timestamp},v1={digest.hex()}"}


@attrs.frozen
class StandardWebhooks(HmacSha256):
    """Symmetric scheme `v1` of standardwebhooks.com: the secret is `whsec_` and the key in base64.

    `prefix` is the prefix of the three header names.
    """

    prefix: str = "webhook-"

    def parse(self, headers: Mapping[str, str]) -> ParsedSignature:
        """See `Scheme`."""
        message_id = _require_header(headers, f"{self.prefix}id")
        if not VISIBLE_ASCII_PATTERN.fullmatch(message_id):
            raise WebhookVerificationError(f"{self.prefix}id is not a message id")
        text = _require_header(headers, f"{self.prefix}timestamp")
        timestamp = _parse_timestamp(text, f"{self.prefix}timestamp")
        parts = [part.partition(",") for part in _require_header(headers, f"{self.prefix}signature").split(" ")]
        signatures = [_decode_base64(value) for version, _, value in parts if version == "v1"]
        return ParsedSignature(timestamp, f"{message_id}.{text}.".encode(), tuple(filter(None, signatures)))

    def key(self, secret: str) -> bytes:
        """See `Scheme`."""
        key = _decode_base64(secret.removeprefix("whsec_"))
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


def _validate_secrets(value: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the secrets. Messages omit them."""
    is_collection = isinstance(value, Iterable) and not isinstance(value, Mapping)
    secrets = (value,) if isinstance(value, str) else tuple(value) if is_collection else ()
    if not secrets or not all(isinstance(each, str) and each.strip() for each in secrets):
        raise ConfigurationError("the signing secret is missing or blank: pass one or more from webhooks.create")
    if not all(each.isascii() and each.isprintable() and " " not in each for each in secrets):
        raise ConfigurationError("a signing secret contains a blank, a control or a non-ASCII character: copy it again")
    return secrets


def _validate_tolerance(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"tolerance must be a number of seconds from 0 on, not {value!r:.40}")
    return value


@attrs.frozen
class Verifier:
    """Verifier of deliveries, with the secrets in use (several during a rotation) and the signature scheme.

    `tolerance` is the maximum difference between the time of a signature and now in seconds. The repr omits secrets.

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
        default=attrs.Factory(lambda self: tuple(map(self.scheme.key, self.secrets)), takes_self=True),
    )

    def verify(self, body: bytes | bytearray | memoryview, headers: Mapping[str, str], *, now: float) -> WebhookEvent:
        """Returns the event of a verified delivery; `body` is the raw body, `now` is in epoch seconds.

        Raises `SignatureMismatchError`, `TimestampToleranceError`, or `WebhookVerificationError` for any other problem.
        """
        if not isinstance(body, bytes | bytearray | memoryview):
            raise ConfigurationError(f"body must be the raw bytes of the request, not {type(body).__name__}")
        body = bytes(body)
        signature = self.scheme.parse(_lowercase_keys(headers))
        if not self._matches_any_secret(signature, body):
            raise SignatureMismatchError(
                "the delivery is not signed with this secret: check that it is the endpoint's, and that the body is raw"
            )
        age = now - signature.timestamp
        if not abs(age) <= self.tolerance:
            raise TimestampToleranceError(
                f"the delivery was signed {age:+.0f} s ago, the tolerance is {self.tolerance:g} s: "
                "check the clock, or it is a replay"
            )
        return read_event(body)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a verifier is not pickled: it contains the signing secrets")

    def _matches_any_secret(self, signature: ParsedSignature, body: bytes) -> bool:
        digests = [self.scheme.digest(key, signature.prefix + body) for key in self._keys]
        return any(hmac.compare_digest(digest, other) for digest in digests for other in signature.signatures)


def read_event(body: bytes) -> WebhookEvent:
    """Returns the event of a verified body. Raises `WebhookVerificationError` if it is not an event."""
    try:
        event = serialization.decode(body, WebhookEvent)
    except ResponseDecodeError as error:
        raise WebhookVerificationError(
            f"the delivery is signed, but its body is not an event: {error.reason}"
        ) from None
    if not event.id.strip():
        raise WebhookVerificationError("the delivery is signed, but its event has no id: it cannot be identified")
    return event


def _lowercase_keys(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers with lower-case names.

    A duplicate header is blank, and counts as missing; so does a value that is no text, such as None.
    """
    lowered: dict[str, str] = {}
    if not hasattr(headers, "items"):
        raise ConfigurationError(f"headers must be a mapping of names to values, not {type(headers).__name__}")
    for name, value in headers.items():
        if isinstance(name, bytes) or isinstance(value, bytes):
            raise ConfigurationError("headers must be text, names and values: decode them as latin-1")
        key = str(name).lower()
        lowered[key] = "" if key in lowered or not isinstance(value, str) else value
    return lowered


def _require_header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower())
    if not value:
        raise WebhookVerificationError(f"the delivery has no {name}, or more than one: it is not from the service")
    return value


def _parse_timestamp(text: str, name: str) -> int:
    if not TIMESTAMP_PATTERN.fullmatch(text):
        raise WebhookVerificationError(f"{name} is not a time in seconds")
    return int(text)


def _decode_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: the text is not ASCII
        return None
