"""A purchase that fails on its way out still tells its key."""

from __future__ import annotations

import pytest

from rivya_async._core.errors import ConfigurationError, attach_idempotency_key


@pytest.mark.parametrize(("own", "carried"), [(None, "order-1"), ("order-2", "order-2")])
def test_an_error_without_a_key_gets_one(own: str | None, carried: str) -> None:
    with pytest.raises(ConfigurationError) as raised, attach_idempotency_key("order-1"):
        raise ConfigurationError("no", idempotency_key=own)
    assert raised.value.idempotency_key == carried


def test_other_errors_and_good_ends_pass() -> None:
    with pytest.raises(ValueError, match="other"), attach_idempotency_key("order-1"):
        raise ValueError("other")
    with attach_idempotency_key("order-1"):
        pass
