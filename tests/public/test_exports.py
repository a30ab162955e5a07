"""The public names are complete, sorted, documented, quick to import, and the same for type checkers."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

import rivya_async
from rivya_async.otel import telemetry
from rivya_async.testing import FakeTransport

PROJECT: Final = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
SOURCE: Final = Path(rivya_async.__file__).read_text()

PUBLIC_NAMES: Final = frozenset(
    [
        "RivyaSession",
        "Hooks",
        "AttemptDetails",
        "RetryDetails",
        "PollDetails",
        "WaitDetails",
        "DownloadDetails",
        "File",
        "Generation",
        "GenerationResult",
        "ErrorDetail",
        "GenerationRequest",
        "ReferenceMedia",
        "Status",
        "Model",
        "ModelParam",
        "ReferenceRules",
        "FileLimit",
        "ChatCapabilities",
        "ValidationProblem",
        "Progress",
        "PurchaseCost",
        "SpendSummary",
        "SpendLimitError",
        "Credits",
        "Outcome",
        "RetryPolicy",
        "PollPolicy",
        "Timeouts",
        "RivyaError",
        "ConfigurationError",
        "RequestNotSentError",
        "SubmitTimeoutError",
        "OutcomeUnknownError",
        "APIStatusError",
        "BadRequestError",
        "InvalidRequestError",
        "APIConnectionError",
        "ConflictError",
        "AuthenticationError",
        "PermissionDeniedError",
        "InsufficientCreditsError",
        "NotFoundError",
        "ChatSessionConflictError",
        "IdempotencyConflictError",
        "RateLimitError",
        "InternalServerError",
        "APIDisabledError",
        "ResponseDecodeError",
        "WaitError",
        "WaitTimeoutError",
        "GenerationFailedError",
        "SessionClosedError",
        "StreamInterruptedError",
        "ChatCompletion",
        "ChatCredits",
        "ChatEvent",
        "ChatMessage",
        "ChatSession",
        "ChatStream",
        "Usage",
        "WebhookDelivery",
        "WebhookEndpoint",
        "WebhookEvent",
        "WebhookVerificationError",
        "SignatureMismatchError",
        "TimestampToleranceError",
    ]
)

METHODS: Final = {
    "submit": "generation check",
    "wait_for": "generation_or_task_id timeout poll on_update raise_on_failure",
    "generate": "timeout poll on_update params references client_request_id idempotency_key",
    "watch": "generation_or_task_id",
    "as_completed": "generations_or_task_ids timeout",
    "map": "requests max_in_flight ordered check",
    "download": "generation_or_url to exists",
    "aclose": "",
}


def type_checking_imports() -> dict[str, str]:
    """Returns name and module of each import in `if TYPE_CHECKING:`."""
    for node in ast.parse(SOURCE).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            imports = [each for each in node.body if isinstance(each, ast.ImportFrom)]
            return {alias.name: f".{each.module}" for each in imports for alias in each.names}
    raise AssertionError("the package has no block for type checkers")


def test_all_is_sorted_and_unique() -> None:
    assert rivya_async.__all__ == sorted(set(rivya_async.__all__))


def test_all_contains_public_names() -> None:
    assert set(rivya_async.__all__) >= PUBLIC_NAMES


def test_runtime_and_type_checkers_agree() -> None:
    at_runtime = rivya_async._MODULE_BY_NAME
    assert at_runtime == type_checking_imports()
    assert {*at_runtime, "__version__"} == set(rivya_async.__all__)


@pytest.mark.parametrize("name", rivya_async.__all__)
def test_every_name_is_documented(name: str) -> None:
    value = getattr(rivya_async, name)
    if name == "__version__":
        assert value == PROJECT["version"]
        return
    assert inspect.getdoc(value)
    assert value.__doc__, f"{name} inherits its docstring"
    home = importlib.import_module(value.__module__)
    assert getattr(home, name) is value
    assert name in dir(rivya_async)


@pytest.mark.parametrize("name", [name for name in rivya_async.__all__ if name != "__version__"])
def test_every_public_member_is_documented(name: str) -> None:
    value = getattr(rivya_async, name)
    undocumented = [
        member
        for member, thing in vars(value).items()
        if not member.startswith("_")
        and (inspect.isfunction(thing) or isinstance(thing, property | classmethod | staticmethod))
        and not inspect.getdoc(thing)
    ]
    assert undocumented == []


async def test_version_has_one_source() -> None:
    transport = FakeTransport(lambda _: {"current_credits": 1})
    async with transport.session() as session:
        await session.credits.retrieve()
    version = PROJECT["version"]
    assert rivya_async.__version__ == telemetry.VERSION == version
    assert transport.requests[0].headers["User-Agent"] == f"rivya-async/{version}"
    package = Path(rivya_async.__file__).parent
    assert [str(path) for path in package.rglob("*.py") if f'"{version}"' in path.read_text()] == []


def test_methods_have_documented_arguments() -> None:
    for method, names in METHODS.items():
        arguments = inspect.signature(getattr(rivya_async.RivyaSession, method)).parameters
        assert set(names.split()) - {"generation"} <= set(arguments), method


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(rivya_async, "no_such_name")  # noqa: B009 - type checkers reject the plain form


def test_modules_are_attributes_and_completed() -> None:
    code = """
import sys
import rivya_async
modules = "batch blocking catalogue otel progress receiver sandbox testing workers".split()
print(set(dir(rivya_async)) == {*rivya_async.__all__, *modules})
print(rivya_async.catalogue.kling_3_0.__name__, rivya_async.blocking.BlockingSession.__name__)
sys.modules["opentelemetry"] = None
print(hasattr(rivya_async, "otel"))
"""
    assert run(code).split() == ["True", "kling_3_0", "BlockingSession", "False"]


def test_star_import() -> None:
    namespace: dict[str, object] = {}
    exec("from rivya_async import *", namespace)
    assert set(rivya_async.__all__) <= set(namespace)


def run(code: str) -> str:
    process = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return process.stdout


def test_import_loads_no_heavy_modules() -> None:
    code = """
import sys
before = set(sys.modules)
import rivya_async
heavy = {"aiohttp", "cattrs", "attrs", "attr", "asyncio", "backoff", "yarl", "orjson", "ssl", "PIL", "av", "rich"}
print(sorted(heavy & (set(sys.modules) - before)))
"""
    assert run(code).strip() == "[]"


def test_records_and_errors_do_not_import_aiohttp() -> None:
    code = """
import sys
from rivya_async import GenerationRequest, PollPolicy, RateLimitError
print("aiohttp" in sys.modules, "asyncio" in sys.modules)
"""
    assert run(code).split()[0] == "False"


def test_client_needs_no_extra() -> None:
    code = """
import sys
for missing in ("PIL", "av", "rich", "orjson", "uvloop"):
    sys.modules[missing] = None
import asyncio
from rivya_async import PollPolicy
from rivya_async.testing import FakeService, FakeTransport

async def main():
    poll = PollPolicy(first=0.02, base=0.02, cap=0.1, floor=0.01)
    async with FakeTransport(FakeService()).session(poll=poll) as session:
        print((await session.generate("z-image", "A red kite")).status)

asyncio.run(main())
"""
    assert run(code).strip() == "succeeded"


def test_package_is_typed() -> None:
    assert Path(rivya_async.__file__).with_name("py.typed").exists()


def test_error_hierarchy() -> None:
    values = [getattr(rivya_async, name) for name in rivya_async.__all__]
    errors = [value for value in values if inspect.isclass(value) and issubclass(value, Exception)]
    assert len(errors) == 31
    assert all(issubclass(error, rivya_async.RivyaError) for error in errors)
    assert issubclass(rivya_async.WaitTimeoutError, TimeoutError)
    assert rivya_async.SubmitTimeoutError.__bases__ == (rivya_async.RequestNotSentError, TimeoutError)
    assert issubclass(rivya_async.APIDisabledError, rivya_async.InternalServerError)
    assert rivya_async.SessionClosedError.__bases__ == (rivya_async.RivyaError,)
