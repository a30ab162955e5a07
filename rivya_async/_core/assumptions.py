"""Assumptions about the service that no public page confirms.

`python -m tests.contract.assumptions` writes them into the table of the manual. Numbers in brackets are the points of
section 14 of the API contract.
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
"""[21] Billing types of models whose default settings cost `base_credits`."""

CHAT_BILLING_TYPE: Final = "TOKEN_BASED"
"""[21] Billing type of models that reserve credits, and then charge for the tokens that were used."""

ONE_PRICE_MODELS: Final = frozenset({"seedream-4-0"})
"""[21] Models with one price for all params, by their page. Any other `FIXED` price may depend on params."""

PRICE_PARAM_PATTERN: Final = re.compile(
    r"size|(?:\w+_)?"
    r"(?:acceleration|attachments|audio|duration|effort|fps|frames|history|images|mode|pro|quality|resolution|search"
    r"|seconds|shots|sound|speed|thoughts|tier)"
    r"(?:_\w+)?"
)
"""[21] Names of params that change the price, in snake case. Observed prices add further params of a model."""

ASCENDING_VALUES: Final = (
    *("draft", "turbo", "fast", "low", "basic", "std", "standard", "balanced"),
    *("medium", "pro", "high", "quality", "ultra", "max"),
)
"""[21] Values of such params in the order of their price, the cheapest first. Numbers and booleans ascend, too."""

FREE_PARAMS: Final = frozenset({"seed", "seeds"})
"""[21] Params that change no price, although they differ from job to job."""

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

OTHER_ASSUMPTIONS: Final = (
    "[2] Webhook deliveries may have further headers. The client needs none of them.",
    "[3] A webhook event is `{id, type, api_version, created_at, data}`. Its generation is in `data`, `data.object` or "
    "`data.generation`, or in a top-level `generation` or `object`.",
    "[4] Any 2xx within 10 seconds ends the tries of a delivery. Deliveries come at least once, in any order.",
    "[5] Lists of webhooks are the newest first and take `limit`. The shapes of deliveries, and the responses of "
    "`update`, `delete`, `rotate_secret` and `test`, are assumed.",
    "[6] Text of a stream event is in `delta`, `content` or `text`. A stream ends with `object: chat.completion`, a "
    "`message` or the end marker. An event `error` is an error.",
    "[7] Thoughts are requested by `include_thoughts`. The pages state web search and thoughts for some models only.",
    "[8] Chat sessions have the members `id`, `model`, `title`, `created_at`, `updated_at` and `messages`.",
    "[9] The id of a file is called `id` or `file_id`.",
    "[10] A wrong type, kind or size of a file is a 400 `validation_failed`. The named media types are common ones. "
    "Some models may accept files above the default size.",
    "[11] `insufficient_credits` is a 402, and no job is created.",
    "[12] `internal_error` is a 500 with the usual envelope.",
    "[13] Success is any 2xx.",
    "[14] The number of requests that the service permits is not known. `Retry-After` may be seconds or a date.",
    "[15] A key belongs to an account and an endpoint. The pages say that a repeated key and body may return the first "
    "response; assumed: always. A first request that is still running is a 409.",
    "[16] `client_request_id` is not echoed.",
    "[17] Unknown params are ignored. A value outside of its options or range is a 400.",
    "[18] Every member of a model but its id may be null. A job needs a prompt where `text` is an input, and no array "
    "is required.",
    "[19] `reference_media` has `max_files`, `file_kinds` and `limits` (`kind`, `max_size_mb`, `mime_types`).",
    "[20] A failed job costs nothing: its reserved credits return at its end. The pages say that they may return.",
    "[21] A succeeded job costs its reserved credits. A chat turn costs from 1 credit to its reserved credits.",
    "[21] Params change the price by factors that are not known. The factors of the sandbox are invented.",
    "[22] Result links need no API key, and may expire. Those of the sandbox do not expire by default.",
    "[23] The sandbox accepts webhook URLs on loopback only if that is switched on.",
    "[25] The OpenAPI document of the sandbox is a reconstruction.",
    "[27] An unknown path is a 404 `not_found`, a wrong method a 405 `method_not_allowed`.",
)
"""Assumptions without a value: one sentence or more, with the point of section 14."""
