"""Verification of one delivery, without a server and without state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._core import assumptions
from .._core.webhooks import signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .._core.webhooks.records import WebhookEvent
    from .._core.webhooks.signatures import Scheme


def verify(
    body: bytes | bytearray | memoryview,
    headers: Mapping[str, str],
    secret: str | Iterable[str],
    *,
    tolerance: float = assumptions.SIGNATURE_TOLERANCE,
    scheme: Scheme = signatures.RIVYA,
    clock: Callable[[], float] = time.time,  # noqa: TID251  the sender's time is wall time
) -> WebhookEvent:
    """Returns the event of a delivery after checking its signature (the scheme is an assumption).

    - `body`: the raw bytes of the request, before a framework parses them as JSON.
    - `headers`: a mapping of any framework; case does not matter, and values that are no text count as missing.
    - `secret`: the endpoint's `signing_secret`, or several during a rotation.
    - `tolerance`: maximum difference in seconds between the delivery's timestamp and `clock` (epoch seconds).
    - `scheme`: `RivyaScheme(header=...)`, `STANDARD_WEBHOOKS`, or a `Scheme` of your own.

    Raises `SignatureMismatchError`, `TimestampToleranceError`, or `WebhookVerificationError` for a missing or malformed
    part: answer these with 400. Raises `ConfigurationError` for a blank secret or a body that is not bytes-like. The
    same event may be delivered more than once, and in any order: handle each `event.id` once.

    >>> from rivya_async.receiver import RIVYA, verify
    >>> body = b'{"id": "evt_1", "type": "generation.failed"}'
    >>> headers = RIVYA.sign(body, "whsec_a1b2", message_id="evt_1", timestamp=1_778_486_400)
    >>> verify(body, headers, "whsec_a1b2", clock=lambda: 1_778_486_405).type
    'generation.failed'
    >>> verify(body, headers, "whsec_of_another", clock=lambda: 1_778_486_405)
    Traceback (most recent call last):
    ...
    rivya_async.SignatureMismatchError: the delivery is not signed with this secret: ...
    """
    try:
        verifier = signatures.Verifier(secret, scheme=scheme, tolerance=tolerance)
    finally:
        del secret  # keeps it out of tracebacks
    return verifier.verify(body, headers, now=clock())
