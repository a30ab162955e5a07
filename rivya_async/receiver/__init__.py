"""Receiving webhooks: what came is checked, read, and handled once.

event = verify(body, headers, secret)
receiver = WebhookReceiver(secret)
"""

from .._core.webhooks.signatures import RIVYA, STANDARD_WEBHOOKS, ParsedSignature, RivyaScheme, Scheme, StandardWebhooks
from .answer import Answer
from .delivery import verify
from .receiver import ANY, WebhookReceiver

__all__ = [
    "ANY",
    "RIVYA",
    "STANDARD_WEBHOOKS",
    "Answer",
    "ParsedSignature",
    "RivyaScheme",
    "Scheme",
    "StandardWebhooks",
    "WebhookReceiver",
    "verify",
]
