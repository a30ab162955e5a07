"""Which methods need a key, and what a key may look like."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core import assumptions
from rivya_async._core.errors import ConfigurationError
from rivya_async._core.http.idempotency import KEY_EXPIRY_MARGIN, key_time_left, needs_key, validate_key

VISIBLE = string.ascii_letters + string.digits + string.punctuation


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_only_reads_needs_no_key(method: str) -> None:
    assert not needs_key(method)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "SOME_NEW_METHOD"])
def test_what_may_act_needs_a_key(method: str) -> None:
    assert needs_key(method)


@given(st.text(alphabet=VISIBLE, min_size=1, max_size=255))
def test_any_visible_ascii_is_taken_unchanged(key: str) -> None:
    assert validate_key(key) == key


@pytest.mark.parametrize("length", [1, 255])
def test_the_longest_and_the_shortest(length: int) -> None:
    assert validate_key("k" * length) == "k" * length


@pytest.mark.parametrize("length", [0, 256, 10_000])
def test_too_short_or_too_long(length: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"^idempotency_key has {length} characters: use 1 to 255$"):
        validate_key("k" * length)


@pytest.mark.parametrize(
    "key", ["a b", " a", "a\t", "a\r\nX-Evil: 1", "\x00", "\x7f", "naïve", "٣", "\ud800", "\u2028", "\u00a0"], ids=ascii
)
def test_what_cannot_travel_in_a_header(key: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot travel in a header"):
        validate_key(key)


@pytest.mark.parametrize("key", [None, 42, b"order-42", ["a"], True])
def test_what_is_no_string(key: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"idempotency_key must be a string, not {type(key).__name__}"):
        validate_key(key)


@pytest.mark.parametrize(("age", "left"), [(0.0, 23 * 3600.0), (3600.0, 22 * 3600.0), (23 * 3600.0, 0.0), (1e6, 0.0)])
def test_a_purchase_is_repeated_as_long_as_its_key_is_surely_remembered(age: float, left: float) -> None:
    assert key_time_left(1e9, 1e9 + age) == left
    assert key_time_left(0.0, 0.0) + KEY_EXPIRY_MARGIN == assumptions.IDEMPOTENCY_KEY_LIFETIME


def test_of_a_purchase_that_nobody_knows_the_instant_of_the_key_is_forgotten() -> None:
    assert key_time_left(None, 1e9) == 0.0
