"""Valid keys, and their lifetime."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core import assumptions
from rivya_async._core.errors import ConfigurationError
from rivya_async._core.idempotency import (
    KEY_EXPIRY_MARGIN,
    attach_idempotency_key,
    key_time_left,
    validate_key,
)

VISIBLE = string.ascii_letters + string.digits + string.punctuation


@given(st.text(alphabet=VISIBLE, min_size=1, max_size=255))
def test_accepts_visible_ascii(key: str) -> None:
    assert validate_key(key) == key


@pytest.mark.parametrize("length", [1, 255])
def test_accepts_length_limits(length: int) -> None:
    assert validate_key("k" * length) == "k" * length


@pytest.mark.parametrize("length", [0, 256, 10_000])
def test_rejects_other_lengths(length: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"^idempotency_key has {length} characters: use 1 to 255$"):
        validate_key("k" * length)


@pytest.mark.parametrize(
    "key", ["a b", " a", "a\t", "a\r\nX-Evil: 1", "\x00", "\x7f", "naïve", "٣", "\ud800", "\u2028", "\u00a0"], ids=ascii
)
def test_rejects_keys_invalid_in_headers(key: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be sent in a header"):
        validate_key(key)


@pytest.mark.parametrize("key", [None, 42, b"order-42", ["a"], True])
def test_rejects_other_types(key: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"idempotency_key must be a string, not {type(key).__name__}"):
        validate_key(key)


@pytest.mark.parametrize(("age", "left"), [(0.0, 23 * 3600.0), (3600.0, 22 * 3600.0), (23 * 3600.0, 0.0), (1e6, 0.0)])
def test_key_time_left_ends_before_expiry(age: float, left: float) -> None:
    assert key_time_left(1e9, 1e9 + age) == left
    assert key_time_left(0.0, 0.0) + KEY_EXPIRY_MARGIN == assumptions.IDEMPOTENCY_KEY_LIFETIME


def test_unknown_intent_time_has_no_time_left() -> None:
    assert key_time_left(None, 1e9) == 0.0


@pytest.mark.parametrize(("own", "carried"), [(None, "order-1"), ("order-2", "order-2")])
def test_adds_key_to_errors_without_one(own: str | None, carried: str) -> None:
    with pytest.raises(ConfigurationError) as raised, attach_idempotency_key("order-1"):
        raise ConfigurationError("no", idempotency_key=own)
    assert raised.value.idempotency_key == carried


def test_ignores_other_errors_and_success() -> None:
    with pytest.raises(ValueError, match="other"), attach_idempotency_key("order-1"):
        raise ValueError("other")
    with attach_idempotency_key("order-1"):
        pass
