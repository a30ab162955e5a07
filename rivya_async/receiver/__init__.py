"""Receiving webhooks: deliveries are verified, parsed, and each event is handled once.

event = verify(body, headers, secret)
receiver = WebhookReceiver(secret)
"""

from .._core.public_module import set_public_module
from .._core.webhooks.signatures import RIVYA, STANDARD_WEBHOOKS, ParsedSignature, RivyaScheme, Scheme, StandardWebhooks
from .protocol import WebhookResponse
from .receiver import ANY, WebhookReceiver
from .verification import verify

__all__ = [
    "ANY",
    "RIVYA",
    "STANDARD_WEBHOOKS",
    "ParsedSignature",
    "RivyaScheme",
    "Scheme",
    "StandardWebhooks",
    "WebhookReceiver",
    "WebhookResponse",
    "verify",
]

set_public_module(__name__, ParsedSignature, RivyaScheme, Scheme, StandardWebhooks, WebhookReceiver, WebhookResponse)
