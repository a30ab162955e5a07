"""Receiving webhooks: deliveries are verified, parsed, and each event is handled once.

event = verify(body, headers, secret)
receiver = WebhookReceiver(secret)
"""

from .._core.signature import RIVYA, STANDARD_WEBHOOKS, Claim, RivyaScheme, Scheme, StandardWebhooks
from .protocol import WebhookResponse
from .receiver import ANY, WebhookReceiver
from .verification import verify

__all__ = [
    "ANY",
    "RIVYA",
    "STANDARD_WEBHOOKS",
    "Claim",
    "RivyaScheme",
    "Scheme",
    "StandardWebhooks",
    "WebhookReceiver",
    "WebhookResponse",
    "verify",
]
