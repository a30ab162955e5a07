"""Every guess about the service that no public page confirms, one name apiece.

A correction is a change of one line here. The manual lists them for users. Numbers in brackets are the points of the
contract's section 14.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

IDEMPOTENCY_KEY_MAX_LENGTH: Final = 255
"""[15] Longest `Idempotency-Key` that the service takes, in characters."""

IDEMPOTENCY_KEY_LIFETIME: Final = 24 * 3600.0
"""[15] Seconds for which the service remembers a key. Who repeats a purchase later than that may buy twice."""

CLIENT_REQUEST_ID_MAX_LENGTH: Final = 128
"""[16] Documented for uploads; assumed everywhere."""

API_KEY_PREFIX: Final = "rvya_sk_"
"""[24] Checked to warn, never to refuse."""

RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})
"""[14] Repeated like every 5xx."""

NOT_FOUND_GRACE: Final = 10.0
"""Seconds after our own submit in which a 404 for its task id is taken for a replica that lags behind."""

MAX_RESPONSE_BYTES: Final = 32 * 1024 * 1024
"""Longest JSON answer that we read, in bytes. The whole catalogue has a few hundred kilobytes."""

DURATION_PARAMS: Final = (
    "acceleration",
    "duration",
    "duration_seconds",
    "enable_pro",
    "image_resolution",
    "max_images",
    "mode",
    "n_frames",
    "quality",
    "rendering_speed",
    "resolution",
    "size",
)
"""The params of the catalogue that we take to change how long a job lasts: its length, its resolution, its quality."""

TYPICAL_DURATIONS: Final = MappingProxyType({"image": 15.0, "video": 90.0, "audio": 15.0})
"""How long a job of a category lasts, for want of better; it fades with the first jobs that are seen to end."""

DEFAULT_TYPICAL_DURATION: Final = 30.0
"""The same where the category is not known."""

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""[6] Longest line, and longest data of one event, that we read of an event stream, in bytes."""

TEXT_EVENT_PATTERN: Final = re.compile(r"message|(?!.*(?:thought|thinking|reason)).*(?:delta|chunk|token|content|text)")
"""[6] Names of the events of a stream that bring text of the answer; `message` is an event without a name."""

STREAM_END_MARKER: Final = "[DONE]"
"""[6] Data by which some services end a stream."""

UPLOAD_LIFETIME: Final = 3600.0
"""Seconds for which a session names an upload again before it uploads the content anew: links may expire [9]."""

MEGABYTE: Final = 1024 * 1024
"""[10] The pages say MB, not whether that is 1,000,000 bytes."""

FIXED_PRICE_BILLING_TYPES: Final = frozenset({"FIXED"})
"""[21] Billing types whose price is `base_credits`, whatever the params are."""

REFERENCE_CAPS_FIELD: Final = "caps"
"""[19] The member of `reference_media` that caps each kind, `without_video` and `with_video`."""

CHAT_WEB_SEARCH_FIELD: Final = "web_search"
CHAT_IMAGES_FIELD: Final = "image_attachments"
CHAT_EFFORTS_FIELD: Final = "reasoning_efforts"
CHAT_THOUGHTS_FIELD: Final = "thoughts"
"""[19] The members of `chat_capabilities`."""

SIGNATURE_HEADER: Final = "Rivya-Signature"
"""[1] `t=<seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<raw body>` under the whole secret."""

SIGNATURE_TOLERANCE: Final = 300.0
"""[1] Seconds between a signature's time and ours."""
