"""The header Retry-After in every form: obeyed up to the cap, ignored if malformed."""

from __future__ import annotations

import itertools
from typing import Any, Final

import pytest

from rivya_async import RateLimitError, RetryPolicy, RivyaSession
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import POLL, QUICK_POLL, SUBMIT, RecordingHooks, open_session

CAP: Final = 0.05
BASE: Final = 0.004
POLICY: Final = RetryPolicy(base=BASE, cap=CAP)
JITTER: Final = (0.0, BASE)

HEADERS: Final[dict[str, tuple[dict[str, Any], tuple[float, float]]]] = {
    "absent": ({}, JITTER),
    "0": ({"retry_after": "0"}, (0.0, 0.0)),
    "a float": ({"retry_after": "0.02"}, (0.02, 0.02)),
    "over the cap": ({"retry_after": "3600"}, (CAP, CAP)),
    "negative": ({"retry_after": "-1"}, JITTER),
    "+1": ({"retry_after": "+1"}, JITTER),
    "blanks and tabs": ({"retry_after": " \t0.02\t "}, (0.02, 0.02)),
    "a non-ASCII digit": ({"retry_after": "٣"}, JITTER),
    "an exponent": ({"retry_after": "1e3"}, JITTER),
    "inf": ({"retry_after": "inf"}, JITTER),
    "nan": ({"retry_after": "nan"}, JITTER),
    "an overflow": ({"retry_after": "9" * 400}, JITTER),
    "words": ({"retry_after": "soon"}, JITTER),
    "empty": ({"retry_after": ""}, JITTER),
    "a far date": ({"retry_after": "Fri, 01 Jan 2094 00:00:00 GMT"}, (CAP, CAP)),
    "a past date": ({"retry_after": "Sun, 06 Nov 1994 08:49:37 GMT"}, (0.0, 0.0)),
    "a past date of RFC 850": ({"retry_after": "Sunday, 06-Nov-94 08:49:37 GMT"}, (0.0, 0.0)),
    "a past date of asctime": ({"retry_after": "Sun Nov  6 08:49:37 1994"}, (0.0, 0.0)),
    "the year 100000": ({"retry_after": "Fri, 01 Jan 100000 00:00:00 GMT"}, JITTER),
    "no such day": ({"retry_after": "Fri, 31 Feb 2094 00:00:00 GMT"}, JITTER),
    "a date against the server's own clock": (
        {"retry_after": "Fri, 01 Jan 2094 00:00:00 GMT", "headers": {"Date": "Fri, 01 Jan 2094 00:00:00 GMT"}},
        (0.0, 0.0),
    ),
}


@pytest.mark.parametrize(("status", "name"), list(itertools.product((429, 503), HEADERS)))
async def test_submit_waits_for_retry_after(sandbox: Sandbox, hooks: RecordingHooks, status: int, name: str) -> None:
    options, (least, most) = HEADERS[name]
    sandbox.faults.add(route=SUBMIT, status=status, times=1, **options)
    async with open_session(sandbox, retry=POLICY, hooks=[hooks]) as session:
        await session.submit("z-image", "A red kite")
    (retry,) = hooks.retries
    assert least <= retry.delay <= most
    assert sandbox.request_log.purchases == 1
    first, second = sandbox.request_log
    assert second.at - first.at >= least


@pytest.mark.parametrize("name", HEADERS)
async def test_poll_waits_for_retry_after(sandbox: Sandbox, hooks: RecordingHooks, name: str) -> None:
    options, (least, most) = HEADERS[name]
    sandbox.faults.add(route=POLL, status=429, times=1, **options)
    async with open_session(sandbox, retry=POLICY, hooks=[hooks]) as session:
        assert (await session.generate("z-image", "A red kite")).succeeded
    first, _ = hooks.polls
    assert first.delay is not None
    assert least <= first.delay <= max(most, QUICK_POLL.floor)


async def test_error_has_uncapped_retry_after(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=SUBMIT, status=429, retry_after=7)
    with pytest.raises(RateLimitError) as raised:
        await session.submit("z-image", "A red kite")
    assert raised.value.retry_after == 7.0
