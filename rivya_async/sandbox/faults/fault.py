"""One fault as data: which requests go wrong, and how. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import attrs

from ..api_error import NO_HEADERS
from ..sse import SHAPES

DELIVERY: Final = "webhook delivery"
"""In the place of a route: what the sandbox itself sends."""

API_PREFIX: Final = "/api/v1/"

STREAMS: Final = {"cut", "error", "stall", "end"}

TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

SHOWN_BYTES: Final = 80
"""Bytes of a body that the repr of a fault shows."""


def _bytes_or_none(body: bytes | str | None) -> bytes | None:
    return body.encode() if isinstance(body, str) else body


def _short(body: bytes | None) -> str:
    return repr(body if body is None or len(body) <= SHOWN_BYTES else body[:SHOWN_BYTES] + b"...")


def _frozen_nth(nth: int | Collection[int] | None) -> frozenset[int] | None:
    return None if nth is None else frozenset({nth}) if isinstance(nth, int) else frozenset(nth)


def _frozen_names(names: Collection[str]) -> frozenset[str]:
    return frozenset(names)


def _text_or_none(retry_after: str | float | None) -> str | None:
    return retry_after if retry_after is None or isinstance(retry_after, str) else f"{retry_after:g}"


@attrs.frozen(kw_only=True, eq=False)
class Fault:
    """One scripted misbehaviour.

    Which requests (all that is given must hold):

    - `route`: "POST /api/v1/generations", "GET /api/v1/generations/{task_id}", "GET /results/{task_id}/{name}" and so
      on. None: every request under /api/v1, also for unknown paths.
    - `key`: those with this Idempotency-Key.
    - `nth`: the n-th of these requests, counted from 1 since the fault was added; one number or several.
    - `rate`: each with this probability, from 0 to 1; the dice are seeded.
    - `times`: at most so many requests are hit.

    What happens:

    - `status`, `code`, `body`, `headers`, `retry_after`: another answer. Without a body, a failure has the error
      envelope with `code`, or the usual one of the status; a `body` goes out as it is, as HTML if it looks so, else as
      JSON. A 2xx status without a body changes only the status of the true answer. `headers` and `retry_after` alone
      are added to the true answer.
    - `members`: laid over the members of the answer's JSON object. `without`: names of members, and of headers, that
      are left out. `padding`: so many blanks after the body.
    - `delay`: seconds, real ones, before the answer or the drop.
    - `drop`: the connection is cut with no answer; with `receive`, once so many bytes of the request's body have come.
    - `truncate`: all headers, Content-Length included, then so many bytes of the body, then the connection is closed;
      or, with `stall`, stays open and silent until the client goes away.
    - `stream`: what becomes of a streamed answer `after_events` events, or of all but its last if that is left out:
      "cut" drops the connection, "error" sends an error event with `code`, "stall" says nothing more, "end" ends it.
    - `shape`: a streamed answer in another shape: one of "delta.content", "delta.text", "content", "text", "unnamed",
      "done" (`[DONE]` after the last event), "done only" (`[DONE]` in its place, no names).
    - `act`: True: the server acts first (a purchase is really made), then the fault hits. False: an answer or drop
      replaces the action. With a mere delay: wait after, or before, acting.

    With the route "webhook delivery" it is a delivery that goes wrong, and `key` is the id of its event: `drop` loses
    it on its way, or, with `act`, loses the answer to it, so that it comes again; `delay` holds it up, so that others
    overtake it; `headers`, `body`, `members`, `without` and `padding` change what was signed; with `age` it is signed
    as it is sent, by a clock that is so many seconds behind.

    ValueError on what makes no sense. Two faults are never equal: a fault is removed by identity.
    """

    route: str | None = None
    nth: frozenset[int] | None = attrs.field(default=None, converter=_frozen_nth)
    rate: float | None = None
    times: int | None = None
    key: str | None = None
    status: int | None = None
    code: str | None = None
    body: bytes | None = attrs.field(default=None, converter=_bytes_or_none, repr=_short)
    headers: Mapping[str, str] = NO_HEADERS
    retry_after: str | None = attrs.field(default=None, converter=_text_or_none)
    delay: float = 0.0
    members: Mapping[str, Any] = NO_HEADERS
    without: frozenset[str] = attrs.field(default=frozenset(), converter=_frozen_names)
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
        for is_nonsense, complaint in _RULES:
            if is_nonsense(self):
                raise ValueError(f"{complaint}: {self!r}")

    @property
    def replaces_answer(self) -> bool:
        """Whether the true answer is not what the client gets."""
        return self.drop or self.body is not None or (self.status is not None and self.status >= 300)  # noqa: PLR2004

    @property
    def needs_action(self) -> bool:
        """Whether the server acts on the request at all."""
        return self.act or not self.replaces_answer

    def covers(self, route: str | None, path: str, key: str | None) -> bool:
        """Whether this is one of the requests that the fault looks at, and counts."""
        if self.key is not None and self.key != key:
            return False
        return path.startswith(API_PREFIX) if self.route is None else self.route == route


def _is_answer(fault: Fault) -> bool:
    """Whether it says what only an answer can have."""
    members = (fault.status, fault.code, fault.retry_after, fault.truncate, fault.stream, fault.shape)
    return any(value is not None for value in members)


def _alters(fault: Fault) -> bool:
    """Whether it says what becomes of an answer, or of a delivery."""
    return fault.body is not None or bool(fault.headers or fault.members or fault.without or fault.padding)


def _is_no_header(fault: Fault) -> bool:
    """Whether it has a header that no server could send."""
    values = [*fault.headers.values(), fault.retry_after or ""]
    return not all(map(TOKEN.fullmatch, fault.headers)) or any(map(CONTROL.search, values))


def _is_no_json(fault: Fault) -> bool:
    """Whether it has members that JSON cannot hold, such as the dates of TOML."""
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
    (lambda f: f.stream is not None and f.stream not in STREAMS, f"stream is one of {', '.join(sorted(STREAMS))}"),
    (lambda f: f.shape is not None and f.shape not in SHAPES, f"shape is one of {', '.join(SHAPES)}"),
    (lambda f: f.after_events is not None and f.stream is None, "after_events belongs to stream"),
    (lambda f: f.after_events is not None and f.after_events < 0, "after_events counts from 0"),
    (lambda f: bool(f.stream or f.shape) and f.replaces_answer, "an answer that is replaced is not streamed"),
    (lambda f: f.code is not None and f.body is not None, "code and body exclude each other"),
    (lambda f: not 0 <= f.delay < math.inf, "delay is a number of seconds"),
    (lambda f: f.truncate is not None and f.truncate < 0, "truncate is a number of bytes"),
    (lambda f: f.stall and f.truncate is None, "stall belongs to truncate"),
    (lambda f: f.padding < 0, "padding is a number of bytes"),
    (lambda f: f.drop and (_is_answer(f) or _alters(f)), "a dropped connection has no answer"),
    (lambda f: f.age is not None and f.route != DELIVERY, f'age belongs to the route "{DELIVERY}"'),
    (lambda f: f.age is not None and not math.isfinite(f.age), "age is a number of seconds"),
    (
        lambda f: f.receive is not None and (f.receive < 0 or not f.drop or f.act),
        "receive is a number of bytes after which a request is dropped, with no action",
    ),
    (
        lambda f: f.route == DELIVERY and (f.receive is not None or _is_answer(f)),
        "a delivery is no answer: give drop, act, delay, headers, body, members, without, padding or age",
    ),
    (_is_no_header, "a header has a name without blanks, and no control characters"),
    (_is_no_json, "members are values of JSON: put a date in quotes"),
    (
        lambda f: not (f.drop or f.delay or _is_answer(f) or _alters(f) or f.age is not None),
        "this fault does nothing: give status, body, headers, retry_after, members, without, padding, delay, "
        "drop, truncate, stream or shape",
    ),
)
