"""The contract checks pass with `FakeService` and detect single differences in fake services."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from rivya_async import RequestNotSentError
from rivya_async.testing import FakeRequest, FakeResponse, FakeService, FakeTransport
from rivya_async.testing.fake_transport import FakeHandler
from tests.contract import account_checks, file_checks, generation_checks, model_checks, sdk_checks
from tests.contract.checks import Check
from tests.contract.runner import run_checks
from tests.contract.service import Inconclusive
from tests.contract.transports import in_memory_service_factory

FAKE_SERVICE_CHECKS = (
    *account_checks.error_checks,
    *model_checks.checks,
    *account_checks.credit_checks,
    *generation_checks.checks,
)
SDK_CHECKS = (sdk_checks.model_list, sdk_checks.credit_balance, sdk_checks.generation)


@pytest.mark.parametrize("check", [*FAKE_SERVICE_CHECKS, *SDK_CHECKS], ids=lambda check: check.name)
async def test_fake_service_fulfils_contract(check: Check) -> None:
    service = FakeService(credits=100)
    await check(in_memory_service_factory(FakeTransport(service)))
    assert check.may_spend or service.credits == 100


async def test_checks_of_one_run_share_their_generations() -> None:
    fake = FakeTransport(FakeService())
    async with in_memory_service_factory(fake)() as service:
        results = [result async for result in run_checks(service, FAKE_SERVICE_CHECKS)]
    assert [result.line for result in results if result.outcome != "holds"] == []
    purchases = [request for request in fake.requests if request.method == "POST" and request.idempotency_key]
    assert len({request.idempotency_key for request in purchases}) == 3


ResponseChange = Callable[[FakeRequest, FakeResponse], FakeResponse]


def fake_service_with(change: ResponseChange) -> FakeHandler:
    unchanged = FakeService()

    async def service(request: FakeRequest) -> FakeResponse:
        return change(request, await unchanged(request))

    return service


def change_fields(**changes: Any) -> ResponseChange:
    def change(_: FakeRequest, response: FakeResponse) -> FakeResponse:
        body = json.loads(response.body) if response.json is None and response.body[:1] == b"{" else {}
        return attrs.evolve(response, body=json.dumps({**body, **changes}).encode()) if "id" in body else response

    return change


def fake_service_without_idempotency() -> FakeHandler:
    unchanged = FakeService()
    return lambda request: unchanged(attrs.evolve(request, idempotency_key=None))


def keep_balance(request: FakeRequest, response: FakeResponse) -> FakeResponse:
    return FakeResponse(json={"current_credits": 100}) if request.path.endswith("/credits") else response


def replace_error_body(_: FakeRequest, response: FakeResponse) -> FakeResponse:
    return response if response.status == 200 else FakeResponse(response.status, body=b"No.")


@pytest.mark.parametrize(
    ("service", "differing"),
    [
        (fake_service_without_idempotency(), {"repeated_idempotency_key", "idempotency_conflict"}),
        (
            fake_service_with(change_fields(reserved_credits=7)),
            {"reserved_credits", "final_credits", "unknown_param", "price_of_default_settings"},
        ),
        (
            fake_service_with(change_fields(updated_at=None)),
            {
                *("created_generation_fields", "reserved_credits", "succeeded_result", "final_credits"),
                "result_url_without_key",
            },
        ),
        (fake_service_with(keep_balance), {"unknown_param"}),
        (
            fake_service_with(replace_error_body),
            {
                *("unknown_generation", "unknown_model", "chat_model", "idempotency_conflict", "top_level_files"),
                *("missing_prompt", "long_prompt", "unknown_select_option", "long_client_request_id"),
            },
        ),
    ],
    ids=["no idempotency", "wrong price", "missing field", "unchanged balance", "no envelope"],
)
async def test_detects_exactly_the_differences(service: FakeHandler, differing: set[str]) -> None:
    failed = set()
    for check in generation_checks.checks:
        try:
            await check(in_memory_service_factory(FakeTransport(service)))
        except AssertionError:
            failed.add(check.name.removeprefix("generations."))
    assert failed == differing


async def test_api_key_checks_are_inconclusive_in_memory() -> None:
    for check in account_checks.api_key_checks:
        with pytest.raises(Inconclusive, match="no API keys"):
            await check(in_memory_service_factory(FakeTransport(FakeService())))


async def test_network_failure_is_inconclusive() -> None:
    with pytest.raises(Inconclusive, match="GET /api/v1/credits: RequestNotSentError"):
        await account_checks.balance_fields(
            in_memory_service_factory(FakeTransport(lambda _: RequestNotSentError("refused")))
        )


async def test_wrong_type_differs() -> None:
    factory = in_memory_service_factory(FakeTransport(lambda _: {"current_credits": 7.5}))
    await account_checks.balance_fields(factory)
    with pytest.raises(AssertionError, match=r"^contract section 9 \(inferred\): .*: current_credits is 7\.5"):
        await account_checks.integer_balance(factory)


async def test_exception_of_the_fake_is_the_cause() -> None:
    def broken(_: FakeRequest) -> FakeResponse:
        raise LookupError("no such resource")

    with pytest.raises(AssertionError, match=r"the function raised LookupError\('no such resource'\)") as raised:
        await account_checks.balance_fields(in_memory_service_factory(FakeTransport(broken)))
    assert isinstance(raised.value.__cause__, LookupError)


async def test_upload_equals_upload_of_the_sdk() -> None:
    requests: list[FakeRequest] = []

    def service(request: FakeRequest) -> FakeResponse:
        requests.append(request)
        return FakeResponse(json={"id": "file_1", "url": "https://files.example/1"})

    fake = FakeTransport(service)
    await file_checks.upload_png(in_memory_service_factory(fake))
    async with fake.session() as session:
        await session.files.upload(file_checks.png(), filename="pixel.png")
    from_check, from_session = requests
    assert from_check.fields.items() <= from_session.fields.items()
    assert (from_check.method, from_check.path) == (from_session.method, from_session.path)
    assert from_check.body == from_session.body == file_checks.png()


def test_groups_contain_their_checks() -> None:
    assert generation_checks.succeeded_result in generation_checks.checks
    assert len(generation_checks.checks) == 19
    assert generation_checks.succeeded_result.name == "generations.succeeded_result"
