"""Receiving webhooks: what came is checked, then read.

event = verify(body, headers, secret)
"""

from .._core.signature import RIVYA, STANDARD_WEBHOOKS, Claim, RivyaScheme, Scheme, StandardWebhooks
from .delivery import verify

__all__ = ["RIVYA", "STANDARD_WEBHOOKS", "Claim", "RivyaScheme", "Scheme", "StandardWebhooks", "verify"]
