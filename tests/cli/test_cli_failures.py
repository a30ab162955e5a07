from __future__ import annotations

import json

import pytest

from rivya_async._core import errors
from rivya_async._core.errors import RivyaError
from rivya_async.cli.exit_codes import ExitCode
from rivya_async.cli.failures import as_json, exit_code_of, message_of, next_step
from rivya_async.cli.output import MASK, Output

EXPECTED = {
    "GenerationFailedError": ExitCode.JOB_FAILED,
    "ConfigurationError": ExitCode.USAGE,
    "ValidationFailed": ExitCode.USAGE,
    "NotFoundError": ExitCode.USAGE,
    "DownloadError": ExitCode.USAGE,
    "JournalError": ExitCode.USAGE,
    "InvalidRowsError": ExitCode.USAGE,
    "IdempotencyConflictError": ExitCode.USAGE,
    "ChatSessionConflictError": ExitCode.USAGE,
    "AuthenticationError": ExitCode.AUTH,
    "PermissionDeniedError": ExitCode.AUTH,
    "InsufficientCreditsError": ExitCode.CREDITS,
    "SpendLimitError": ExitCode.CREDITS,
    "WaitTimeoutError": ExitCode.DEADLINE,
    "SubmitTimeoutError": ExitCode.DEADLINE,
}


def every_error(root: type[RivyaError] = RivyaError) -> list[type[RivyaError]]:
    return [root, *(error for child in root.__subclasses__() for error in every_error(child))]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_the_documented_exit_code(kind: type[RivyaError]) -> None:
    assert exit_code_of(kind("x")) == EXPECTED.get(kind.__name__, ExitCode.SERVICE)


def test_a_file_that_cannot_be_written_is_wrong_usage() -> None:
    error = PermissionError(13, "Permission denied", "/root/out")
    assert exit_code_of(error) == ExitCode.USAGE
    assert message_of(error) == "[Errno 13] Permission denied: '/root/out'"


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (errors.WaitTimeoutError("x", task_id="task_1"), "rivya wait task_1"),
        (errors.SessionClosedError("x", task_id="task_1"), "rivya wait task_1"),
        (errors.GenerationFailedError("x", task_id="task_1"), None),
        (errors.OutcomeUnknownError("x"), "AGAIN"),
        (errors.RequestNotSentError("x"), "AGAIN"),
        (errors.InsufficientCreditsError("x"), "rivya credits"),
        (errors.ValidationFailed("x"), None),
    ],
)
def test_what_to_type_next(error: RivyaError, step: str | None) -> None:
    assert next_step(error, "AGAIN") == step


def test_the_json_of_an_error_holds_what_is_known_and_no_more() -> None:
    error = errors.InsufficientCreditsError("Too few.", status=402, code="insufficient_credits", idempotency_key="k")
    assert as_json(error, "rivya credits") == {
        "type": "InsufficientCreditsError",
        "message": "Too few.",
        "exit_code": 4,
        "status": 402,
        "code": "insufficient_credits",
        "idempotency_key": "k",
        "next": "rivya credits",
    }


@pytest.mark.parametrize("is_json", [False, True])
def test_a_message_is_one_line_without_the_key(
    is_json: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_verysecret")
    output = Output(is_json=is_json)
    output.failed(RivyaError("two\nlines, \x1b[31mred, key rvya_sk_verysecret."))
    output.result({"key": "rvya_sk_verysecret"}, text="rvya_sk_verysecret")
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "\x1b" not in told.err
    assert "verysecret" not in told.out + told.err
    assert told.out.count(MASK) == 1
    if is_json:
        assert json.loads(told.err)["error"]["message"].startswith("two\nlines")
