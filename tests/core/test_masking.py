"""Secrets in texts, and the wrapper of secret values."""

from __future__ import annotations

import pickle

import pytest

from rivya_async._core.masking import Secret


def test_secret_is_masked() -> None:
    secret = Secret("rvya_sk_1")
    assert secret.reveal() == "rvya_sk_1"
    assert "rvya" not in f"{secret} {secret!r} {[secret]}"


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret("a"))
