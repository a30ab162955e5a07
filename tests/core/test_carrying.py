"""A purchase that fails on its way out still tells its key."""

from __future__ import annotations

import pytest

from rivya_async._core.errors import ConfigurationError, ErrorContext


@pytest.mark.parametrize(("own", "carried"), [(None, "order-1"), ("order-2", "order-2")])
def test_an_error_without_a_key_gets_one(own: str | None, carried: str) -> None:
    with pytest.raises(ConfigurationError) as raised, ErrorContext("order-1"):
        raise ConfigurationError("no", idempotency_key=own)
    assert raised.value.idempotency_key == carried


def test_other_errors_and_good_ends_pass() -> None:
    with pytest.raises(ValueError, match="other"), ErrorContext("order-1"):
        raise ValueError("other")
    with ErrorContext("order-1"):
        pass
