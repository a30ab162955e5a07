"""The checks hold a service that is one function: the kit's own fake, and fakes that are wrong in one thing each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from rivya_async import RequestNotSentError
from rivya_async.testing import FakeRequest, FakeResponse, FakeService, FakeTransport, contract
from rivya_async.testing.fake_transport import Answering

KEPT = (*contract.errors.checks, *contract.models.checks, *contract.balance.checks, *contract.generations.checks)
OF_THE_SDK = (contract.sdk.catalogue, contract.sdk.balance, contract.sdk.job)


@pytest.mark.parametrize("check", [*KEPT, *OF_THE_SDK])
async def test_the_fake_keeps_what_it_promises(check: contract.Check) -> None:
    service = FakeService(credits=100)
    await check(contract.in_memory(FakeTransport(service)))
    assert check.spends or service.credits == 100


async def test_in_one_run_the_checks_share_a_job() -> None:
    fake = FakeTransport(FakeService())
    async with contract.in_memory(fake)() as service:
        found = [finding async for finding in contract.examine(service, KEPT)]
    assert [finding.line for finding in found if finding.verdict != "holds"] == []
    bought = [each for each in fake.requests if each.method == "POST" and each.idempotency_key]
    assert len({each.idempotency_key for each in bought}) == 1


Change = Callable[[FakeRequest, FakeResponse], FakeResponse]


def but(change: Change) -> Answering:
    usual = FakeService()

    async def service(request: FakeRequest) -> FakeResponse:
        return change(request, await usual(request))

    return service


def members(**changes: Any) -> Change:
    def change(_: FakeRequest, response: FakeResponse) -> FakeResponse:
        told = json.loads(response.body) if response.json is None and response.body[:1] == b"{" else {}
        return attrs.evolve(response, body=json.dumps({**told, **changes}).encode()) if "id" in told else response

    return change


def forgetful() -> Answering:
    usual = FakeService()
    return lambda request: usual(attrs.evolve(request, idempotency_key=None))


def lavish(request: FakeRequest, response: FakeResponse) -> FakeResponse:
    return FakeResponse(json={"current_credits": 100}) if request.path.endswith("/credits") else response


def bare(_: FakeRequest, response: FakeResponse) -> FakeResponse:
    return response if response.status == 200 else FakeResponse(response.status, body=b"No.")


@pytest.mark.parametrize(
    ("service", "differing"),
    [
        (forgetful(), {"the_same_key_again", "the_same_key_with_another_body"}),
        (but(members(reserved_credits=7)), {"the_price", "the_final_price", "an_unknown_param"}),
        (but(members(updated_at=None)), {"the_order", "the_price", "the_end", "the_final_price", "the_link"}),
        (but(lavish), {"an_unknown_param"}),
        (
            but(bare),
            {
                *("an_unknown_job", "an_unknown_model", "a_chat_model", "the_same_key_with_another_body"),
                *("files_at_the_top", "no_prompt", "a_long_prompt", "an_unknown_option", "a_long_trace_id"),
            },
        ),
    ],
    ids=["no keys", "another price", "a member is missing", "nothing costs", "no envelope"],
)
async def test_what_is_wrong_is_found_and_nothing_else(service: Answering, differing: set[str]) -> None:
    found = set()
    for check in contract.generations.checks:
        try:
            await check(contract.in_memory(FakeTransport(service)))
        except AssertionError:
            found.add(check.name.removeprefix("generations."))
    assert found == differing


async def test_a_function_sees_no_keys() -> None:
    for check in contract.keys.checks:
        with pytest.raises(contract.CannotTell, match="no keys"):
            await check(contract.in_memory(FakeTransport(FakeService())))


async def test_what_the_network_does_could_not_be_told() -> None:
    with pytest.raises(contract.CannotTell, match="GET /api/v1/credits: RequestNotSentError"):
        await contract.balance.shape(contract.in_memory(FakeTransport(lambda _: RequestNotSentError("refused"))))


async def test_what_the_function_raises_is_a_difference_with_its_traceback() -> None:
    def broken(_: FakeRequest) -> FakeResponse:
        raise LookupError("no such noun")

    with pytest.raises(AssertionError, match=r"the function raised LookupError\('no such noun'\)") as raised:
        await contract.balance.shape(contract.in_memory(FakeTransport(broken)))
    assert isinstance(raised.value.__cause__, LookupError)


async def test_uploads_come_as_from_a_session() -> None:
    seen: list[FakeRequest] = []

    def service(request: FakeRequest) -> FakeResponse:
        seen.append(request)
        return FakeResponse(json={"id": "file_1", "url": "https://files.example/1"})

    fake = FakeTransport(service)
    await contract.files.taken(contract.in_memory(fake))
    async with fake.session() as session:
        await session.files.upload(contract.files.png(), filename="pixel.png")
    of_the_check, of_the_session = seen
    assert of_the_check.fields.items() <= of_the_session.fields.items()
    assert (of_the_check.method, of_the_check.path) == (of_the_session.method, of_the_session.path)
    assert of_the_check.body == of_the_session.body == contract.files.png()


def test_pytest_names_them() -> None:
    assert contract.generations.the_end in contract.generations.checks
    assert len(contract.generations.checks) == 17
    assert contract.generations.the_end.__name__ == "generations.the_end"
    assert contract.Check.__name__ == "Check"
