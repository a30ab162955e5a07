"""The webhook column of the fault matrix: the cases, and the tests that cover them."""

from __future__ import annotations

from typing import Final

import pytest

from tests.fault_matrix import is_defined_test

MATRIX: Final = "receiver/test_fault_matrix_webhooks.py"
CORE: Final = "core/test_webhook_signatures.py"
RECEIVER: Final = "receiver/test_receiver.py"
LIFECYCLE: Final = "receiver/test_receiver_lifecycle.py"
SERVERS: Final = "receiver/test_servers.py"
VERIFY: Final = "receiver/test_verify.py"
CLI: Final = "cli/test_cli_listen.py"

COVERAGE: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "Connect": {
        "the receiver is down, then recovers": (f"{MATRIX}::test_receiver_is_down_then_recovers",),
        "behind a forwarding receiver": (f"{CLI}::test_forward_target_is_unreachable",),
    },
    "After send": {
        "dropped before and after it took effect": (f"{MATRIX}::test_delivery",),
        "cut in the body, bad chunk": (f"{SERVERS}::test_client_disconnects",),
        "body timeout": (f"{SERVERS}::test_body_timeout",),
    },
    "Body": {
        "empty, HTML, truncated, wrong type, unknown": (f"{MATRIX}::test_signed_body",),
        "any bytes": (
            f"{CORE}::test_signed_body_is_event_or_webhook_error",
            f"{CORE}::test_any_headers_raise_webhook_errors_only",
        ),
        "decompression bomb": (f"{SERVERS}::test_decompression_bomb",),
    },
    "Time": {
        "wall clock stepping back and forward": (f"{MATRIX}::test_replay",),
        "negative and NaN durations": (f"{LIFECYCLE}::test_rejects_invalid_options",),
    },
    "Concurrency": {
        "concurrent duplicates": (
            f"{RECEIVER}::test_concurrent_duplicates_share_one_handler",
            f"{RECEIVER}::test_concurrent_duplicates_share_the_failure",
        ),
        "close while handling": (
            f"{LIFECYCLE}::test_close_waits_for_handlers",
            f"{LIFECYCLE}::test_close_cancels_handlers_after_timeout",
            f"{SERVERS}::test_graceful_shutdown",
            f"{SERVERS}::test_parent_app_cleans_up_after_handlers",
        ),
    },
    "Cancellation": {
        "of the request": (f"{RECEIVER}::test_cancelled_request_keeps_handler_running",),
        "of the handler": (f"{RECEIVER}::test_any_error_is_a_failure",),
        "of the close": (f"{LIFECYCLE}::test_cancelled_close_cancels_handlers",),
    },
    "Overload": {
        "more events than slots": (
            f"{MATRIX}::test_overload_is_redelivered",
            f"{LIFECYCLE}::test_limits_running_and_waiting_handlers",
        ),
    },
    "Webhook": {
        "wrong": (f"{MATRIX}::test_delivery", f"{CORE}::test_rejects_changed_time"),
        "missing": (f"{MATRIX}::test_delivery", f"{CORE}::test_rejects_missing_and_duplicate_headers"),
        "malformed": (
            f"{MATRIX}::test_delivery",
            f"{CORE}::test_rejects_malformed_signature",
            f"{CORE}::test_rejects_malformed_standard_webhooks_header",
            f"{SERVERS}::test_malformed_signature_header",
        ),
        "rotated secret": (
            f"{MATRIX}::test_secret_rotation_during_deliveries",
            f"{CORE}::test_accepts_either_secret_during_rotation",
        ),
        "body changed by one byte": (f"{CORE}::test_rejects_changed_body",),
        "outside tolerance": (f"{MATRIX}::test_delivery", f"{CORE}::test_rejects_time_outside_tolerance"),
        "replay": (f"{MATRIX}::test_replay",),
        "duplicate": (f"{MATRIX}::test_delivery", f"{RECEIVER}::test_handles_an_event_once"),
        "out of order": (f"{MATRIX}::test_events_out_of_order",),
        "huge body": (f"{MATRIX}::test_signed_body", f"{SERVERS}::test_stops_reading_a_large_body"),
        "invalid UTF-8": (f"{MATRIX}::test_signed_body",),
        "unknown type": (f"{MATRIX}::test_signed_body", f"{RECEIVER}::test_dispatches_by_event_type"),
        "failing handler": (
            f"{MATRIX}::test_delivery",
            f"{RECEIVER}::test_failed_event_is_handled_again",
            f"{RECEIVER}::test_failure_after_response_is_logged_and_redeliverable",
        ),
    },
    "Secrets": {
        "repr, pickle": (
            f"{CORE}::test_verifier_shows_no_secret_and_is_not_pickled",
            f"{LIFECYCLE}::test_repr_has_no_secret_and_pickling_fails",
        ),
        "log, exception, response": (f"{LIFECYCLE}::test_unsigned_delivery_is_not_handled",),
        "traceback": (f"{VERIFY}::test_tracebacks_have_no_secret",),
        "CLI output": (f"{CLI}::test_shows_signed_deliveries_and_rejects_others",),
    },
}
"""The cases of the webhook column, each with its tests."""


@pytest.mark.parametrize(
    "test",
    [
        pytest.param(test, id=f"{row}: {case}: {number}")
        for row, cases in COVERAGE.items()
        for case, tests in cases.items()
        for number, test in enumerate(tests, 1)
    ],
)
def test_every_case_has_a_test(test: str) -> None:
    assert is_defined_test(test)
