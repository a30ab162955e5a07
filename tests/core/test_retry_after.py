"""`Retry-After` in all valid and invalid forms."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rivya_async._core.http.messages import parse_http_date, parse_retry_after

NOW = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT: the date that RFC 9110 shows in its three forms."""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("", None, id="empty"),
        pytest.param(" \t ", None, id="blanks-only"),
        ("0", 0.0),
        ("00", 0.0),
        ("7", 7.0),
        ("120", 120.0),
        ("1.5", 1.5),
        ("1.", 1.0),
        pytest.param(" 3", 3.0, id="blank-before"),
        pytest.param("3 ", 3.0, id="blank-after"),
        pytest.param("\t3\t ", 3.0, id="tabs"),
        ("-1", None),
        ("-0", None),
        ("+1", None),
        ("1e3", None),
        ("1_000", None),
        ("1,5", None),
        ("0x10", None),
        ("1 2", None),
        ("3 s", None),
        (".5", None),
        pytest.param("3\n", None, id="line-feed"),
        pytest.param("\x0b3", None, id="vertical-tab"),
        pytest.param("\u00a03", None, id="no-break-space"),
        pytest.param("٣", None, id="arabic-three"),
        pytest.param("²", None, id="superscript-two"),
        pytest.param("\uff13", None, id="fullwidth-three"),
        pytest.param("Ⅷ", None, id="roman-eight"),
        ("inf", None),
        ("Infinity", None),
        ("-inf", None),
        ("nan", None),
        ("NaN", None),
        pytest.param("9" * 300, float("9" * 300), id="huge-but-finite"),
        pytest.param("9" * 400, None, id="overflow"),
        pytest.param("9" * 400 + ".5", None, id="overflow-with-fraction"),
        pytest.param("0" * 100_000 + "5", 5.0, id="very-long-zeros"),
        pytest.param("1." + "0" * 100_000, 1.0, id="very-long-fraction"),
        pytest.param("9" * 100_000, None, id="very-long-digits"),
        pytest.param("soon " * 20_000, None, id="very-long-words"),
        pytest.param("Sun, 06 Nov 1994 08:50:07 GMT", 30.0, id="imf-fixdate"),
        pytest.param("Sunday, 06-Nov-94 08:50:07 GMT", 30.0, id="rfc-850"),
        pytest.param("Sun Nov  6 08:50:07 1994", 30.0, id="asctime"),
        pytest.param("  Sun, 06 Nov 1994 08:50:07 GMT\t", 30.0, id="date-in-blanks"),
        pytest.param("Sun, 06 Nov 1994 08:50:07 -0000", 30.0, id="date-without-zone"),
        pytest.param("Sun, 06 Nov 1994 09:50:07 +0100", 30.0, id="date-in-another-zone"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", 0.0, id="date-is-now"),
        pytest.param("Sun, 06 Nov 1994 08:49:07 GMT", 0.0, id="date-is-past"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0.0, id="epoch"),
        pytest.param(
            "Fri, 31 Dec 9999 23:59:59 GMT",
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() - NOW,
            id="far",
        ),
        pytest.param("Fri, 31 Dec 100000 23:59:59 GMT", None, id="year-100000"),
        pytest.param("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None, id="year-overflow"),
        pytest.param("Sun, 31 Feb 1994 08:49:37 GMT", None, id="no-such-day"),
        pytest.param("Sun, 06 Nov 1994 25:61:61 GMT", None, id="no-such-hour"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 +9999", None, id="no-such-zone"),
        pytest.param("Sun, 06 Nov", None, id="half-a-date"),
        pytest.param("1994-11-06T08:50:07Z", None, id="iso-is-no-http-date"),
        pytest.param("tomorrow", None, id="word"),
        pytest.param("é" * 10, None, id="non-ascii-letters"),
    ],
)
def test_all_forms(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text() | st.from_regex(r"[0-9.eE+\-]{0,400}") | st.binary().map(lambda raw: raw.decode("latin-1")))
@example("Sun, ")
@example("a" * 10_000)
def test_invalid_values_never_raise(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0.0)


@given(
    st.lists(
        st.sampled_from(
            ["Sun,", "Sunday,", "06", "Nov", "06-Nov-94", "1994", "08:49:37", "GMT", "-0000", "+2359", "99"]
        )
    ).map(" ".join)
)
def test_invalid_dates_never_raise(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0.0)


@given(st.floats(min_value=0.0, max_value=1e9, allow_nan=False).map(lambda seconds: round(seconds, 3)))
def test_accepts_any_decimal_number(seconds: float) -> None:
    assert parse_retry_after(f"{seconds:.3f}", NOW) == pytest.approx(seconds)


@given(
    st.integers(0, 3_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.integers(-14, 14),
)
def test_three_date_forms_are_equal(date: datetime, hours: int) -> None:
    there = date.astimezone(timezone(timedelta(hours=hours)))
    forms = [
        date.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        date.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        date.strftime("%a %b %e %H:%M:%S %Y"),
        there.strftime("%a, %d %b %Y %H:%M:%S %z"),
    ]
    assert {parse_http_date(form) for form in forms} == {date.timestamp()}


@pytest.mark.parametrize("value", [None, "", "7", "-1", "junk", "Fri, 31 Dec 100000 23:59:59 GMT"])
def test_invalid_date_is_none(value: str | None) -> None:
    assert parse_http_date(value) is None
