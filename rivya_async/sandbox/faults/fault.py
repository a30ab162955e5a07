"""A fault as data, the requests that it selects, and its effect on responses and webhook deliveries."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import attrs
from multidict import CIMultiDict

from ..responses import HTML_TYPE, JSON_TYPE, NO_HEADERS, ApiResponse, code_for_status, error_body
from ..sse import SHAPES, STREAM_ENDS, SseEvent, encode_stream, truncate_stream

DELIVERY: Final = "webhook delivery"
"""Route name of the webhook deliveries that the sandbox sends."""

API_PREFIX: Final = "/api/v1/"

MESSAGE: Final = "The sandbox returned this error because of a fault."

HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

MAX_REPR_BYTES: Final = 80
"""Bytes of a body in the repr of a fault."""


def _freeze_nth(nth: int | Collection[int] | None) -> frozenset[int] | None:
    return None if nth is None else frozenset({nth} if isinstance(nth, int) else nth)


def _encode_body(body: bytes | str | None) -> bytes | None:
    return body.encode() if isinstance(body, str) else body


def _abbreviate(body: bytes | None) -> str:
    return repr(body if body is None or len(body) <= MAX_REPR_BYTES else body[:MAX_REPR_BYTES] + b"...")


def _freeze_names(names: Collection[str]) -> frozenset[str]:
    return frozenset(names)


def _format_retry_after(retry_after: str | float | None) -> str | None:
    return retry_after if retry_after is None or isinstance(retry_after, str) else f"{retry_after:g}"


@attrs.frozen(kw_only=True, eq=False)
class Fault:
    """One fault.

    Selected requests (all given conditions must hold):

    - `route`: "POST /api/v1/generations", "GET /api/v1/generations/{task_id}", "GET /results/{task_id}/{name}" and so
      on. None: every request under /api/v1, also for unknown paths.
    - `key`: requests with this Idempotency-Key.
    - `nth`: the n-th of these requests, counted from 1 since the fault was added; one number or several.
    - `rate`: each request with this probability, from 0 to 1; the random numbers are seeded.
    - `times`: at most this number of requests.

    Effect:

    - `status`, `code`, `body`, `headers`, `retry_after`: another response. Without a body, an error status has the
      error body with `code`, or with the usual code of the status; a `body` is sent unchanged, as HTML if it begins
      with "<", else as JSON. A 2xx status without a body changes the status of the true response only. `headers` and
      `retry_after` alone are added to the true response.
    - `members`: merged into the JSON object of the response. `without`: names of members and headers to remove.
      `padding`: spaces to append to the body.
    - `delay`: seconds, in real time, before the response or the drop.
    - `drop`: the connection is closed without a response; with `receive`, after so many bytes of the request body.
    - `truncate`: all headers, Content-Length included, then so many bytes of the body, then the connection is closed;
      or, with `stall`, stays open until the client closes it.
    - `stream`: the end of a streamed response after `after_events` events, or before the last event without it:
      "cut" drops the connection, "error" sends an error event with `code`, "stall" keeps the connection open, "end"
      ends the stream.
    - `shape`: a streamed response in another shape: one of "delta.content", "delta.text", "content", "text", "unnamed",
      "done" (`[DONE]` after the last event), "done only" (`[DONE]` in its place, no names).
    - `act`: True: the server processes the request (a purchase is made), then the fault is applied. False: a response
      or drop replaces the processing. With a delay alone: wait after, or before, the processing.

    With the route "webhook delivery" the fault applies to a delivery, and `key` is the id of its event: `drop` loses
    it, or, with `act`, loses the response, so that it is sent again; `delay` lets others overtake it; `headers`,
    `body`, `members`, `without` and `padding` change the signed delivery; with `age` it is signed when it is sent, by a
    clock that is so many seconds behind.

    Raises ValueError for an invalid combination. Two faults are never equal: a fault is removed by identity.
    """

    route: str | None = None
    nth: frozenset[int] | None = attrs.field(default=None, converter=_freeze_nth)
    rate: float | None = None
    times: int | None = None
    key: str | None = None
    status: int | None = None
    code: str | None = None
    body: bytes | None = attrs.field(default=None, converter=_encode_body, repr=_abbreviate)
    headers: Mapping[str, str] = NO_HEADERS
    retry_after: str | None = attrs.field(default=None, converter=_format_retry_after)
    delay: float = 0.0
    members: Mapping[str, Any] = NO_HEADERS
    without: frozenset[str] = attrs.field(default=frozenset(), converter=_freeze_names)
    padding: int = 0
    age: float | None = None
    drop: bool = False
    receive: int | None = None
    act: bool = False
    truncate: int | None = None
    stall: bool = False
    stream: str | None = None
    after_events: int | None = None
    shape: str | None = None

    def __attrs_post_init__(self) -> None:
        for message, is_violated in _RULES.items():
            if is_violated(self):
                raise ValueError(f"{message}: {self!r}")

    @property
    def replaces_response(self) -> bool:
        """True if the client does not get the true response."""
        return self.drop or self.body is not None or (self.status is not None and self.status >= 300)  # noqa: PLR2004

    def covers(self, route: str | None, path: str, key: str | None) -> bool:
        """Returns True if the fault counts this request."""
        if self.key is not None and self.key != key:
            return False
        return path.startswith(API_PREFIX) if self.route is None else self.route == route


def _sets_response(fault: Fault) -> bool:
    """Returns True for a fault with fields that only a response has."""
    fields = (fault.status, fault.code, fault.retry_after, fault.truncate, fault.stream, fault.shape)
    return any(value is not None for value in fields)


def _alters(fault: Fault) -> bool:
    """Returns True for a fault that changes a response or a delivery."""
    return fault.body is not None or bool(fault.headers or fault.members or fault.without or fault.padding)


def _has_invalid_header(fault: Fault) -> bool:
    values = [*fault.headers.values(), fault.retry_after or ""]
    return not all(map(HEADER_NAME.fullmatch, fault.headers)) or any(map(CONTROL_CHARACTER.search, values))


def _has_invalid_members(fault: Fault) -> bool:
    """Returns True for members that JSON cannot represent, such as the dates of TOML."""
    try:
        json.dumps(dict(fault.members))
    except (TypeError, ValueError, RecursionError):
        return True
    return False


_RULES: Final[Mapping[str, Callable[[Fault], bool]]] = {
    "nth counts from 1": lambda f: f.nth is not None and (not f.nth or min(f.nth) < 1),
    "rate is a probability from 0 to 1": lambda f: f.rate is not None and not 0 <= f.rate <= 1,
    "times is at least 1": lambda f: f.times is not None and f.times < 1,
    "status is from 200 to 599": lambda f: f.status is not None and not 200 <= f.status <= 599,  # noqa: PLR2004
    'a code needs a status of 400 or more, or stream="error"': (
        lambda f: f.code is not None and (f.status or 0) < 400 and f.stream != "error"  # noqa: PLR2004
    ),
    f"stream is one of {', '.join(STREAM_ENDS)}": lambda f: f.stream is not None and f.stream not in STREAM_ENDS,
    f"shape is one of {', '.join(SHAPES)}": lambda f: f.shape is not None and f.shape not in SHAPES,
    "after_events belongs to stream": lambda f: f.after_events is not None and f.stream is None,
    "after_events counts from 0": lambda f: f.after_events is not None and f.after_events < 0,
    "a replaced response is not streamed": lambda f: bool(f.stream or f.shape) and f.replaces_response,
    "code and body exclude each other": lambda f: f.code is not None and f.body is not None,
    "delay is a number of seconds": lambda f: not 0 <= f.delay < math.inf,
    "truncate is a number of bytes": lambda f: f.truncate is not None and f.truncate < 0,
    "stall belongs to truncate": lambda f: f.stall and f.truncate is None,
    "padding is a number of bytes": lambda f: f.padding < 0,
    "a dropped connection has no response": lambda f: f.drop and (_sets_response(f) or _alters(f)),
    f'age belongs to the route "{DELIVERY}"': lambda f: f.age is not None and f.route != DELIVERY,
    "age is a number of seconds": lambda f: f.age is not None and not math.isfinite(f.age),
    "receive is a number of bytes after which a request is dropped unprocessed": (
        lambda f: f.receive is not None and (f.receive < 0 or not f.drop or f.act)
    ),
    "a delivery is not a response: give drop, act, delay, headers, body, members, without, padding or age": (
        lambda f: f.route == DELIVERY and (f.receive is not None or _sets_response(f))
    ),
    "a header has a name without spaces, and no control characters": _has_invalid_header,
    "members must be JSON values: put a date in quotes": _has_invalid_members,
    "this fault does nothing: give status, body, headers, retry_after, members, without, padding, delay, drop, "
    "truncate, stream or shape": (
        lambda f: not (f.drop or f.delay or _sets_response(f) or _alters(f) or f.age is not None)
    ),
}
"""Rules that a fault must not violate, in the order of their checks, by the message of the error."""


def inject_fault(response: ApiResponse, fault: Fault, request_id: str) -> ApiResponse:
    """Returns the response as the fault changes it."""
    if fault.status is not None:
        response = attrs.evolve(response, status=fault.status)
    if fault.replaces_response:
        body = _replacement_body(response.status, fault, request_id)
        content_type = HTML_TYPE if body.lstrip()[:1] == b"<" else JSON_TYPE
        response = attrs.evolve(response, body=body, content_type=content_type, headers={}, events=())
    if response.events:
        response = _alter_stream(response, fault, request_id)
    else:
        response = attrs.evolve(response, body=alter_body(response.body, fault))
    headers = alter_headers(response.headers, fault)
    content_type = headers.pop("Content-Type", response.content_type)
    return attrs.evolve(response, headers=headers, content_type=content_type)


def alter_body(body: bytes, fault: Fault) -> bytes:
    """Returns the body with other members, if it is a JSON object, and with padding."""
    if fault.members or fault.without:
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        if isinstance(value, dict):
            merged = {**value, **fault.members}
            body = json.dumps({name: value for name, value in merged.items() if name not in fault.without}).encode()
    return body + b" " * fault.padding


def alter_headers(headers: Mapping[str, str], fault: Fault) -> CIMultiDict[str]:
    """Returns the headers without those that the fault removes, and with its own."""
    altered = CIMultiDict(headers)
    for name in fault.without:
        altered.pop(name, None)
    if fault.retry_after is not None:
        altered["Retry-After"] = fault.retry_after
    altered.update(fault.headers)
    return altered


def _alter_stream(response: ApiResponse, fault: Fault, request_id: str) -> ApiResponse:
    events = response.events if fault.shape is None else SHAPES[fault.shape](response.events)
    if fault.stream is not None:
        events = truncate_stream(events, fault.after_events)
    if fault.stream == "error":
        error = error_body(fault.code or "internal_error", MESSAGE, request_id)
        events += (SseEvent("error", json.loads(error)),)
    end = STREAM_ENDS[fault.stream or "end"]
    return attrs.evolve(response, events=events, body=encode_stream(events), stream_end=end)


def _replacement_body(status: int, fault: Fault, request_id: str) -> bytes:
    if fault.body is not None:
        return fault.body
    if status < 400:  # noqa: PLR2004  a redirect
        return b""
    return error_body(fault.code or code_for_status(status), MESSAGE, request_id)
