from __future__ import annotations

import json

import pytest

from rivya_async._core import errors
from rivya_async._core.errors import RivyaError
from rivya_async.cli.errors import error_message, error_to_json, exit_code_for, suggested_command
from rivya_async.cli.exit_codes import ExitCode
from rivya_async.cli.output import MASK, Output

EXPECTED = {
    "GenerationFailedError": ExitCode.JOB_FAILED,
    "ConfigurationError": ExitCode.USAGE,
    "BadRequestError": ExitCode.USAGE,
    "InvalidRequestError": ExitCode.USAGE,
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


def error_classes(root: type[RivyaError] = RivyaError) -> list[type[RivyaError]]:
    return [root, *(error for child in root.__subclasses__() for error in error_classes(child))]


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_has_the_documented_exit_code(kind: type[RivyaError]) -> None:
    assert exit_code_for(kind("x")) == EXPECTED.get(kind.__name__, ExitCode.SERVICE)


def test_unwritable_file_is_usage_error() -> None:
    error = PermissionError(13, "Permission denied", "/root/out")
    assert exit_code_for(error) == ExitCode.USAGE
    assert error_message(error) == "[Errno 13] Permission denied: '/root/out'"


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (errors.WaitTimeoutError("x", task_id="task_1"), "rivya wait task_1"),
        (errors.SessionClosedError("x", task_id="task_1"), "rivya wait task_1"),
        (errors.GenerationFailedError("x", task_id="task_1"), None),
        (errors.OutcomeUnknownError("x"), "AGAIN"),
        (errors.RequestNotSentError("x"), "AGAIN"),
        (errors.InsufficientCreditsError("x"), "rivya credits"),
        (errors.BadRequestError("x"), None),
        (errors.InvalidRequestError("x"), None),
    ],
)
def test_suggested_command(error: RivyaError, step: str | None) -> None:
    assert suggested_command(error, "AGAIN") == step


def test_json_of_error_has_known_fields_only() -> None:
    error = errors.InsufficientCreditsError("Too few.", status=402, code="insufficient_credits", idempotency_key="k")
    assert error_to_json(error, "rivya credits") == {
        "type": "InsufficientCreditsError",
        "message": "Too few.",
        "exit_code": 4,
        "status": 402,
        "code": "insufficient_credits",
        "idempotency_key": "k",
        "next": "rivya credits",
    }


@pytest.mark.parametrize("is_json", [False, True])
def test_message_is_one_line_without_key(
    is_json: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_verysecret")
    output = Output(is_json=is_json)
    output.write_error(RivyaError("two\nlines, \x1b[31mred, key rvya_sk_verysecret."))
    output.write_result({"key": "rvya_sk_verysecret"}, text="rvya_sk_verysecret")
    written = capsys.readouterr()
    assert written.err.count("\n") == 1
    assert "\x1b" not in written.err
    assert "verysecret" not in written.out + written.err
    assert written.out.count(MASK) == 1
    if is_json:
        assert json.loads(written.err)["error"]["message"].startswith("two\nlines")
