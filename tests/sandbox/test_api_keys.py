"""API keys, idempotency keys, rate limits and error codes, without a socket."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rivya_async.sandbox import catalogue
from rivya_async.sandbox.api_keys import (
    ALL_SCOPES,
    ApiKey,
    RateLimiter,
    authorize,
    generate_api_key,
    parse_bearer_token,
)
from rivya_async.sandbox.idempotency import RETENTION, IdempotencyStore
from rivya_async.sandbox.responses import ApiError, ApiResponse, code_for_status
from rivya_async.sandbox.service_state import ServiceState
from tests.sandbox.sandbox_client import START_TIME

MODELS = catalogue.load_catalogue().models
IMAGE = MODELS["z-image"]
BY_CATEGORY = {"image": IMAGE, "video": MODELS["sora-2"], "audio": MODELS["elevenlabs-sound-effect-v2"]}
SCOPE = ("acct_1", "POST /api/v1/generations", "order-42")


def state_with_account(opening: int = 100, **options: Any) -> tuple[ServiceState, str]:
    state = ServiceState(**options)
    return state, state.create_account("acct_1", opening).id


def error_code_of(action: Any, *arguments: Any) -> str:
    with pytest.raises(ApiError) as caught:
        action(*arguments)
    return caught.value.code


# --- keys -------------------------------------------------------------------------------------------------------------


def test_generated_key_has_service_format_and_is_hidden_in_repr() -> None:
    secret = generate_api_key(0, "a")
    assert secret.startswith("rvya_sk_")
    assert len(secret) == len("rvya_sk_") + 32
    assert secret == generate_api_key(0, "a") != generate_api_key(1, "a")
    assert secret not in repr(ApiKey(secret, "acct_1"))


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "rvya_sk_abc"])
def test_rejects_other_authorization_headers(header: str | None) -> None:
    assert error_code_of(parse_bearer_token, header) == "api_key_missing"


@pytest.mark.parametrize("header", ["Bearer rvya_sk_abc", "bearer rvya_sk_abc", "BEARER  rvya_sk_abc "])
def test_bearer_scheme_is_case_insensitive(header: str) -> None:
    assert parse_bearer_token(header) == "rvya_sk_abc"


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "api_key_invalid"),
        (ApiKey("k", "a", is_revoked=True), "api_key_revoked"),
        (ApiKey("k", "a", is_expired=True), "api_key_expired"),
        (ApiKey("k", "a", ALL_SCOPES - {"credits:read"}), "api_scope_denied"),
    ],
)
def test_rejects_unauthorized_keys(key: ApiKey | None, code: str) -> None:
    assert error_code_of(authorize, key, "credits:read") == code


# --- idempotency ------------------------------------------------------------------------------------------------------


def test_replays_stored_response_for_a_day() -> None:
    store, response = IdempotencyStore(), ApiResponse(b"first")
    assert store.claim(SCOPE, b"body", START_TIME) is None
    store.save(SCOPE, b"body", response, START_TIME)
    store.release(SCOPE)
    assert store.claim(SCOPE, b"body", START_TIME + RETENTION - 1) is response
    assert error_code_of(store.claim, SCOPE, b"other", START_TIME + 1) == "idempotency_conflict"
    assert store.claim(SCOPE, b"other", START_TIME + RETENTION) is None


def test_running_request_is_conflict() -> None:
    store = IdempotencyStore()
    store.claim(SCOPE, b"body", START_TIME)
    assert error_code_of(store.claim, SCOPE, b"body", START_TIME) == "idempotency_conflict"
    store.release(SCOPE)
    assert store.claim(SCOPE, b"body", START_TIME) is None


def test_keys_are_scoped_to_account_and_endpoint() -> None:
    store = IdempotencyStore()
    store.claim(SCOPE, b"body", START_TIME)
    store.save(SCOPE, b"body", ApiResponse(b"first"), START_TIME)
    for other in (("acct_2", *SCOPE[1:]), (SCOPE[0], "POST /else", SCOPE[2]), (*SCOPE[:2], "order-43")):
        assert store.claim(other, b"body", START_TIME) is None


# --- rate limits and codes --------------------------------------------------------------------------------------------


def test_limit_resets_with_window() -> None:
    limiter = RateLimiter(2)
    limiter.check("a", START_TIME + 50)
    limiter.check("a", START_TIME + 50)
    limiter.check("b", START_TIME + 50)
    with pytest.raises(ApiError) as caught:
        limiter.check("a", START_TIME + 50.5)
    assert (caught.value.code, caught.value.headers) == ("rate_limited", {"Retry-After": "10"})
    limiter.check("a", START_TIME + 60)


def test_none_is_no_limit_and_invalid_limits_are_rejected() -> None:
    limiter = RateLimiter(None)
    for _ in range(1000):
        limiter.check("a", START_TIME)
    with pytest.raises(ValueError, match="rate_limit"):
        RateLimiter(0)
    for window in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="rate_window"):
            RateLimiter(1, window)


def test_accepts_any_window_length() -> None:
    limiter = RateLimiter(1, 0.5)
    limiter.check("a", START_TIME + 0.1)
    with pytest.raises(ApiError) as caught:
        limiter.check("a", START_TIME + 0.4)
    assert caught.value.headers == {"Retry-After": "1"}
    limiter.check("a", START_TIME + 0.5)


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "rate_limited"), (503, "public_api_disabled"), (502, "internal_error"), (418, "validation_failed")],
)
def test_statuses_have_usual_codes(status: int, code: str) -> None:
    assert code_for_status(status) == code
