"""Assumptions about the service that no public page confirms.

The manual lists them for users. Numbers in brackets are the points of section 14 of the API contract.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

IDEMPOTENCY_KEY_MAX_LENGTH: Final = 255
"""[15] Maximum length of an `Idempotency-Key` in characters."""

IDEMPOTENCY_KEY_LIFETIME: Final = 24 * 3600.0
"""[15] Seconds for which the service remembers a key. A purchase repeated later may buy twice."""

IDEMPOTENCY_REPLAY_HEADER: Final = "Idempotent-Replayed"
"""[15] Response header that is `true` if the service repeats the stored response of a key."""

CLIENT_REQUEST_ID_MAX_LENGTH: Final = 128
"""[16] Maximum length of a `client_request_id` in characters: documented for uploads, assumed everywhere."""

API_KEY_PREFIX: Final = "rvya_sk_"
"""[24] Prefix of API keys. A key without it causes a warning, never an error."""

RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})
"""[14] Client error statuses that are retried, as every 5xx is."""

NOT_FOUND_GRACE: Final = 10.0
"""Seconds after a submit in which a 404 for its task id is attributed to replication lag."""

MAX_RESPONSE_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of a JSON response in bytes. The whole catalogue has a few hundred kilobytes."""

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
"""Params of the catalogue that affect the duration of a job: its length, its resolution, its quality."""

TYPICAL_DURATIONS: Final = MappingProxyType({"image": 15.0, "video": 90.0, "audio": 15.0})
"""Prior for the duration of a job in seconds, by category. Observed durations replace it."""

DEFAULT_TYPICAL_DURATION: Final = 30.0
"""Prior for the duration of a job of unknown category, in seconds."""

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""[6] Maximum size of one line, and of the data of one event, of an event stream in bytes."""

TEXT_EVENT_PATTERN: Final = re.compile(r"message|(?!.*(?:thought|thinking|reason)).*(?:delta|chunk|token|content|text)")
"""[6] Names of stream events that contain text of the answer; `message` is the name of an event without one."""

STREAM_END_MARKER: Final = "[DONE]"
"""[6] Data of the event by which some services end a stream."""

UPLOAD_LIFETIME: Final = 3600.0
"""[9] Seconds for which a session reuses an upload before it uploads the content again: links may expire."""

MEGABYTE: Final = 1024 * 1024
"""[10] Bytes per MB: the pages say MB without a definition."""

FIXED_PRICE_BILLING_TYPES: Final = frozenset({"FIXED"})
"""[21] Billing types with the price `base_credits`, independent of the params."""

REFERENCE_CAPS_FIELD: Final = "caps"
"""[19] Member of `reference_media` with the maximum count per kind, in `without_video` and `with_video`."""

CHAT_WEB_SEARCH_FIELD: Final = "web_search"
"""[19] Member of `chat_capabilities`: true if the model searches the web."""

CHAT_IMAGES_FIELD: Final = "image_attachments"
"""[19] Member of `chat_capabilities`: true if the model accepts images."""

CHAT_EFFORTS_FIELD: Final = "reasoning_efforts"
"""[19] Member of `chat_capabilities`: list of valid `reasoning_effort` values."""

CHAT_THOUGHTS_FIELD: Final = "thoughts"
"""[19] Member of `chat_capabilities`: true if the model returns its thoughts."""

SIGNATURE_HEADER: Final = "Rivya-Signature"
"""[1] Header `t=<seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<raw body>` with the whole secret as the key."""

SIGNATURE_TOLERANCE: Final = 300.0
"""[1] Maximum difference between the time of a signature and the current time, in seconds."""
