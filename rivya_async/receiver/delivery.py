"""From what came over the wire to an event, or to a reason to refuse it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._core import assumptions
from .._core.webhooks import signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .._core.webhooks.records import WebhookEvent
    from .._core.webhooks.signatures import Scheme


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    tolerance: float = assumptions.SIGNATURE_TOLERANCE,
    scheme: Scheme = signatures.RIVYA,
    clock: Callable[[], float] = time.time,  # noqa: TID251  the sender's time is wall time
) -> WebhookEvent:
    """The event in a delivery, once its signature was checked (contract section 11; the scheme is an assumption).

    `body` is the very bytes that came, before any framework has read them as JSON. `headers` is a mapping of any
    framework, in any case. `secret` is the `signing_secret` of the endpoint, or several while one takes the place of
    another. `tolerance` is how many seconds the delivery may be old, or ahead of `clock`, which gives epoch seconds.
    `scheme` says how it is signed: `RivyaScheme(header=...)`, `STANDARD_WEBHOOKS`, or a `Scheme` of your own.

    Raises `SignatureMismatchError`, `TimestampToleranceError`, and `WebhookVerificationError` for whatever is missing
    or malformed: answer these with 400. Raises `ConfigurationError` for a blank secret or a body that is no bytes: that
    is a mistake of the receiver, not of the sender. It waits for nothing. An event may come more than once, and in any
    order: handle each `event.id` once.

    >>> from rivya_async.receiver import RIVYA, verify
    >>> body = b'{"id": "evt_1", "type": "generation.failed"}'
    >>> headers = RIVYA.sign(body, "whsec_a1b2", message_id="evt_1", timestamp=1_778_486_400)
    >>> verify(body, headers, "whsec_a1b2", clock=lambda: 1_778_486_405).type
    'generation.failed'
    >>> verify(body, headers, "whsec_of_another", clock=lambda: 1_778_486_405)
    Traceback (most recent call last):
    ...
    rivya_async._core.errors.SignatureMismatchError: the delivery is not signed with this secret: ...
    """
    try:
        verifier = signatures.Verifier(secret, scheme=scheme, tolerance=tolerance)
    finally:
        del secret  # no traceback shows it
    return verifier.verify(body, headers, now=clock())
