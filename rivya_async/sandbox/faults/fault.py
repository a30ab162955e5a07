"""A fault as data: the requests that it selects and its effect on them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import attrs

from ..responses import NO_HEADERS
from ..sse import SHAPES

DELIVERY: Final = "webhook delivery"
"""Route name of the webhook deliveries that the sandbox sends."""

API_PREFIX: Final = "/api/v1/"

STREAM_FAULTS: Final = {"cut", "error", "stall", "end"}

HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

MAX_REPR_BYTES: Final = 80
"""Bytes of a body in the repr of a fault."""


def _freeze_nth(nth: int | Collection[int] | None) -> frozenset[int] | None:
    return None if nth is None else frozenset({nth}) if isinstance(nth, int) else frozenset(nth)


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
        for is_violated, message in _RULES:
            if is_violated(self):
                raise ValueError(f"{message}: {self!r}")

    @property
    def replaces_response(self) -> bool:
        """True if the client does not get the true response."""
        return self.drop or self.body is not None or (self.status is not None and self.status >= 300)  # noqa: PLR2004

    @property
    def needs_processing(self) -> bool:
        """True if the server processes the request."""
        return self.act or not self.replaces_response

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


_RULES: tuple[tuple[Callable[[Fault], bool], str], ...] = (
    (lambda f: f.nth is not None and (not f.nth or min(f.nth) < 1), "nth counts from 1"),
    (lambda f: f.rate is not None and not 0 <= f.rate <= 1, "rate is a probability from 0 to 1"),
    (lambda f: f.times is not None and f.times < 1, "times is at least 1"),
    (lambda f: f.status is not None and not 200 <= f.status <= 599, "status is from 200 to 599"),  # noqa: PLR2004
    (
        lambda f: f.code is not None and (f.status or 0) < 400 and f.stream != "error",  # noqa: PLR2004
        'a code needs a status of 400 or more, or stream="error"',
    ),
    (
        lambda f: f.stream is not None and f.stream not in STREAM_FAULTS,
        f"stream is one of {', '.join(sorted(STREAM_FAULTS))}",
    ),
    (lambda f: f.shape is not None and f.shape not in SHAPES, f"shape is one of {', '.join(SHAPES)}"),
    (lambda f: f.after_events is not None and f.stream is None, "after_events belongs to stream"),
    (lambda f: f.after_events is not None and f.after_events < 0, "after_events counts from 0"),
    (lambda f: bool(f.stream or f.shape) and f.replaces_response, "a replaced response is not streamed"),
    (lambda f: f.code is not None and f.body is not None, "code and body exclude each other"),
    (lambda f: not 0 <= f.delay < math.inf, "delay is a number of seconds"),
    (lambda f: f.truncate is not None and f.truncate < 0, "truncate is a number of bytes"),
    (lambda f: f.stall and f.truncate is None, "stall belongs to truncate"),
    (lambda f: f.padding < 0, "padding is a number of bytes"),
    (lambda f: f.drop and (_sets_response(f) or _alters(f)), "a dropped connection has no response"),
    (lambda f: f.age is not None and f.route != DELIVERY, f'age belongs to the route "{DELIVERY}"'),
    (lambda f: f.age is not None and not math.isfinite(f.age), "age is a number of seconds"),
    (
        lambda f: f.receive is not None and (f.receive < 0 or not f.drop or f.act),
        "receive is a number of bytes after which a request is dropped unprocessed",
    ),
    (
        lambda f: f.route == DELIVERY and (f.receive is not None or _sets_response(f)),
        "a delivery is not a response: give drop, act, delay, headers, body, members, without, padding or age",
    ),
    (_has_invalid_header, "a header has a name without spaces, and no control characters"),
    (_has_invalid_members, "members must be JSON values: put a date in quotes"),
    (
        lambda f: not (f.drop or f.delay or _sets_response(f) or _alters(f) or f.age is not None),
        "this fault does nothing: give status, body, headers, retry_after, members, without, padding, delay, "
        "drop, truncate, stream or shape",
    ),
)
