"""The error tree: completeness, documentation, classes by code and status, pickling."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rivya_async._core import errors
from rivya_async._core.errors import (
    APIDisabledError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ChatSessionConflictError,
    GenerationFailedError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    RivyaError,
    SessionClosedError,
    WaitError,
    WaitTimeoutError,
    copy_error,
)
from rivya_async._core.http.error_responses import status_error_class
from rivya_async._core.types.generations import Generation, ValidationProblem

RECORD = Generation(id="task_1", status="failed", model="z-image")

DETAILS: dict[str, Any] = {
    "message": "what happened, and what to do next",
    "idempotency_key": "order-42",
    "request_id": "req_7f31c0",
    "attempts": 3,
    "status": 429,
    "code": "rate_limited",
    "retry_after": 1.5,
    "body": '{"error": {}}',
    "headers": {"x-request-id": "req_7f31c0"},
    "limit": 100,
    "counted": 90,
    "price": 12,
    "problems": (ValidationProblem("params.seed", "range", "seed must be 0 or more, not -1", (0,)),),
    "path": "$.created_at",
    "reason": "it is missing",
    "is_json": False,
    "task_id": "task_1",
    "last": RECORD,
    "text": "so far",
    "session_id": "ses_1",
}
"""Value for each argument of all errors. A missing one fails the tests."""


def error_classes(root: type[RivyaError] = RivyaError) -> Iterator[type[RivyaError]]:
    if root.__module__.partition(".")[0] == "rivya_async":
        yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


def arguments(kind: type[RivyaError]) -> list[str]:
    """Returns the arguments of an error, including those that it passes to its base classes as `**details`."""
    names: list[str] = []
    for base in kind.__mro__:
        parameters = inspect.signature(base).parameters.values() if "__init__" in vars(base) else ()
        names += [each.name for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
        if base is RivyaError or (parameters and all(each.kind is not each.VAR_KEYWORD for each in parameters)):
            break
    return names


def build_error(kind: type[RivyaError]) -> RivyaError:
    return kind(**{name: DETAILS[name] for name in arguments(kind)})


MANUAL = (Path(errors.__file__).parents[1] / "README.md").read_text()

every_error = pytest.mark.parametrize("kind", list(dict.fromkeys(error_classes())), ids=lambda kind: kind.__name__)


@every_error
def test_error_has_docstring(kind: type[RivyaError]) -> None:
    assert kind.__dict__["__doc__"].strip()


@every_error
def test_error_is_rivya_error_with_message(kind: type[RivyaError]) -> None:
    with pytest.raises(RivyaError) as caught:
        raise build_error(kind)
    assert str(caught.value) == DETAILS["message"]
    assert caught.value.args == (DETAILS["message"],)


@every_error
def test_error_keeps_arguments(kind: type[RivyaError]) -> None:
    error = build_error(kind)
    for name in arguments(kind):
        assert getattr(error, name) == DETAILS[name]


@every_error
@pytest.mark.parametrize(
    "transfer",
    [
        *[
            pytest.param(lambda error, n=n: pickle.loads(pickle.dumps(error, n)), id=f"pickle-{n}")
            for n in range(2, pickle.HIGHEST_PROTOCOL + 1)
        ],
        copy.copy,
        copy.deepcopy,
    ],
)
@pytest.mark.parametrize("build", [build_error, lambda kind: kind()], ids=["full", "bare"])
def test_error_survives_pickle_and_copy(
    kind: type[RivyaError],
    build: Callable[[type[RivyaError]], RivyaError],
    transfer: Callable[[RivyaError], RivyaError],
) -> None:
    error = build(kind)
    error.add_note("while waiting for task_1")
    copied_error = transfer(error)
    assert type(copied_error) is kind
    assert copied_error is not error
    assert vars(copied_error) == vars(error)
    assert str(copied_error) == str(error)
    assert copied_error.args == error.args


@every_error
def test_tree_in_docs_names_every_error(kind: type[RivyaError]) -> None:
    if kind.__module__ == "rivya_async":
        assert re.search(rf"\b{kind.__name__}\b", MANUAL)


@every_error
def test_defaults_are_empty(kind: type[RivyaError]) -> None:
    bare: dict[str, Any] = {"message": "", "attempts": 0, "problems": (), "reason": "", "is_json": True}
    bare |= {"text": "", "body": "", "headers": {}}
    if issubclass(kind, WaitError):
        bare["task_id"] = ""
    if kind is errors.ResponseDecodeError:
        bare["path"] = "$"
    assert {name: value for name, value in vars(kind()).items() if value is not None and name in DETAILS} == {
        name: bare[name] for name in arguments(kind) if name in bare
    }


def test_details_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        RivyaError("message", "key")  # type: ignore[call-arg]


def test_wait_timeout_is_timeout_error() -> None:
    with pytest.raises(TimeoutError) as caught:
        raise WaitTimeoutError("still open", task_id="task_1", last=RECORD)
    assert isinstance(caught.value, WaitError)
    assert caught.value.task_id == "task_1"
    assert caught.value.last is RECORD


@pytest.mark.parametrize("kind", [WaitTimeoutError, GenerationFailedError, SessionClosedError])
def test_wait_timeout_says_how_to_continue(kind: type[WaitError | SessionClosedError]) -> None:
    error = kind("it ended", task_id="task_1", last=RECORD)
    assert (error.task_id, error.last) == ("task_1", RECORD)


def test_generation_failed_error_has_record() -> None:
    assert GenerationFailedError("failed", task_id="task_1", last=RECORD).generation is RECORD


def test_generation_failed_error_without_record_raises() -> None:
    assert not hasattr(GenerationFailedError("failed"), "generation")


def test_error_classes_do_not_overlap() -> None:
    """Retry safety depends on it: no error is both a response, an unknown outcome, or a wait."""
    for one in (
        APIStatusError,
        OutcomeUnknownError,
        errors.RequestNotSentError,
        ResponseDecodeError,
        errors.ConfigurationError,
        WaitError,
    ):
        for other in (
            APIStatusError,
            OutcomeUnknownError,
            errors.RequestNotSentError,
            ResponseDecodeError,
            errors.ConfigurationError,
            WaitError,
        ):
            assert one is other or not issubclass(one, other)


@pytest.mark.parametrize(
    ("code", "kind", "documented_status"),
    [
        ("public_api_disabled", APIDisabledError, 503),
        ("api_key_missing", AuthenticationError, 401),
        ("api_key_invalid", AuthenticationError, 401),
        ("api_key_revoked", AuthenticationError, 401),
        ("api_key_expired", AuthenticationError, 401),
        ("api_scope_denied", PermissionDeniedError, 403),
        ("rate_limited", RateLimitError, 429),
        ("validation_failed", BadRequestError, 400),
        ("not_found", NotFoundError, 404),
        ("webhook_url_rejected", BadRequestError, 400),
        ("chat_model_not_supported", BadRequestError, 400),
        ("chat_session_conflict", ChatSessionConflictError, 409),
        ("chat_attachment_not_supported", BadRequestError, 400),
        ("idempotency_conflict", IdempotencyConflictError, 409),
        ("insufficient_credits", InsufficientCreditsError, 402),
        ("internal_error", InternalServerError, 500),
    ],
)
@pytest.mark.parametrize("status", ["documented", 400, 500])
def test_known_code_selects_class(
    code: str, kind: type[APIStatusError], documented_status: int, status: int | str
) -> None:
    assert status_error_class(documented_status if status == "documented" else int(status), code) is kind


@pytest.mark.parametrize("code", [None, "some_new_code", "RATE_LIMITED", ""])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, InsufficientCreditsError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (410, NotFoundError),
        (413, BadRequestError),
        (415, BadRequestError),
        (422, BadRequestError),
        (429, RateLimitError),
        (500, InternalServerError),
        (502, InternalServerError),
        (503, InternalServerError),
        (504, InternalServerError),
        (599, InternalServerError),
        (302, APIStatusError),
        (405, APIStatusError),
        (408, APIStatusError),
        (409, errors.ConflictError),
        (418, APIStatusError),
        (425, APIStatusError),
    ],
)
def test_status_selects_class_without_known_code(code: str | None, status: int, kind: type[APIStatusError]) -> None:
    assert status_error_class(status, code) is kind


def test_copy_has_own_notes() -> None:
    error = RateLimitError("slow down", status=429, retry_after=1.5, request_id="req_1")
    plain = copy_error(error)
    assert not hasattr(plain, "__notes__")
    error.add_note("while waiting for task_1")
    own = copy_error(error)
    own.add_note("and more")
    assert (type(own), own.args, vars(own) | {"__notes__": None}) == (
        type(error), error.args, vars(error) | {"__notes__": None},
    )  # fmt: skip
    assert error.__notes__ == ["while waiting for task_1"]
    assert own.__notes__ == ["while waiting for task_1", "and more"]
