"""The sandbox's webhooks: the API over real sockets, the schedule by told time, deliveries to a receiver of our own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import attrs
import pytest
from aiohttp import web

from rivya_async._core.errors import SignatureMismatch
from rivya_async._core.signature import Verifier
from rivya_async._core.webhook_records import WebhookEvent
from rivya_async.sandbox import FAIL_MARKER, Fault, Sandbox
from rivya_async.sandbox.openapi import SCHEMAS
from rivya_async.sandbox.task import Task
from rivya_async.sandbox.webhooks import sender as courier
from rivya_async.sandbox.webhooks.delivery_queue import (
    MOST_DELIVERIES,
    MOST_EVENTS,
    RETRY_DELAYS,
    DeliveryQueue,
    WebhookDelivery,
)
from rivya_async.sandbox.webhooks.endpoints import FAILURES_TO_DISABLE, WebhookEndpoint, WebhookEndpointStore
from tests.sandbox.sandbox_kit import START, Clock, SandboxClient, running_sandbox, until

PATH: Final = "/api/v1/webhooks"
URL: Final = "https://hooks.example.org/rivya"
BOTH: Final = ["generation.succeeded", "generation.failed"]
QUICK: Final = 100_000.0


async def created(on: SandboxClient, **body: Any) -> dict[str, Any]:
    reply = await on.ask("POST", PATH, json={"name": "Prod", "url": URL, "event_types": BOTH, **body})
    assert reply.status == 200, reply.raw
    told: dict[str, Any] = reply.json
    return told


async def listed(on: SandboxClient, path: str, **query: Any) -> list[dict[str, Any]]:
    reply = await on.ask("GET", path, params=query)
    assert reply.json["object"] == "list"
    data: list[dict[str, Any]] = reply.json["data"]
    return data


# --- managing endpoints -----------------------------------------------------------------------------------------------


async def test_a_new_endpoint_has_the_documented_members() -> None:
    async with running_sandbox() as on:
        told = await created(on)
        secret = told["signing_secret"]
        assert told["id"].startswith("whend_")
        assert secret.startswith("whsec_")
        assert told["secret_preview"] == f"{secret[:8]}...{secret[-6:]}"
        assert {**told, "id": "", "signing_secret": "", "secret_preview": ""} == {
            "id": "",
            "object": "webhook_endpoint",
            "name": "Prod",
            "url": URL,
            "event_types": BOTH,
            "status": "active",
            "secret_preview": "",
            "signing_secret": "",
            "last_success_at": None,
            "last_failure_at": None,
            "failure_count": 0,
            "created_at": "2026-05-11T08:00:00.000Z",
            "updated_at": "2026-05-11T08:00:00.000Z",
            "disabled_at": None,
            "revoked_at": None,
        }
        assert set(told) == set(SCHEMAS["WebhookEndpointWithSecret"]["required"])


async def test_a_secret_is_told_once() -> None:
    async with running_sandbox() as on:
        told = await created(on)
        secret = told.pop("signing_secret")
        assert (await on.ask("GET", f"{PATH}/{told['id']}")).json == told
        assert await listed(on, PATH) == [told]
        renamed = await on.ask("PATCH", f"{PATH}/{told['id']}", json={"name": "Other"})
        rotated = (await on.ask("POST", f"{PATH}/{told['id']}/rotate-secret")).json
        assert rotated["signing_secret"] != secret
        assert secret.encode() not in renamed.raw
        assert rotated["secret_preview"] != told["secret_preview"]


async def test_lists_begin_with_the_newest_and_take_a_limit() -> None:
    async with running_sandbox() as on:
        for number in range(25):
            await created(on, name=f"{number}")
        assert [each["name"] for each in await listed(on, PATH)] == [f"{number}" for number in range(24, 4, -1)]
        assert [each["name"] for each in await listed(on, PATH, limit=2)] == ["24", "23"]
        assert len(await listed(on, PATH, limit=100)) == 25
        for limit in ("0", "101", "x", "-1", ""):
            assert (await on.ask("GET", PATH, params={"limit": limit})).code == "validation_failed"


async def test_what_patch_changes() -> None:
    async with running_sandbox() as on:
        path = f"{PATH}/{(await created(on))['id']}"
        on.clock.now += 60
        change = {
            "name": "New",
            "url": "https://8.8.8.8/",
            "event_types": ["generation.failed"] * 2,
            "status": "disabled",
        }
        told = (await on.ask("PATCH", path, json=change)).json
        assert {name: told[name] for name in change} == {**change, "event_types": ["generation.failed"]}
        assert told["updated_at"] == told["disabled_at"] == "2026-05-11T08:01:00.000Z"
        told = (await on.ask("PATCH", path, json={"status": "active"})).json
        assert (told["status"], told["disabled_at"], told["name"]) == ("active", None, "New")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "validation_failed"),
        ({"secret": "mine"}, "validation_failed"),
        ({"name": ""}, "validation_failed"),
        ({"name": None}, "validation_failed"),
        ({"name": "a" * 129}, "validation_failed"),
        ({"url": None}, "validation_failed"),
        ({"url": 5}, "validation_failed"),
        ({"url": "http://hooks.example.org"}, "webhook_url_rejected"),
        ({"event_types": []}, "validation_failed"),
        ({"event_types": "generation.failed"}, "validation_failed"),
        ({"event_types": ["chat.completed"]}, "validation_failed"),
        ({"event_types": [{}]}, "validation_failed"),
        ({"status": "revoked"}, "validation_failed"),
        ({"status": []}, "validation_failed"),
    ],
)
async def test_what_is_refused(change: dict[str, Any], code: str) -> None:
    async with running_sandbox() as on:
        before = await created(on)
        path = f"{PATH}/{before.pop('id')}"
        assert (await on.ask("PATCH", path, json=change)).code == code
        assert (await on.ask("GET", path)).json["name"] == "Prod"
        if change and "status" not in change and "secret" not in change:
            whole = {"name": "Prod", "url": URL, "event_types": BOTH, **change}
            assert (await on.ask("POST", PATH, json=whole)).code == code
            assert len(await listed(on, PATH)) == 1


@pytest.mark.parametrize("missing", ["name", "url", "event_types"])
async def test_what_a_new_endpoint_needs(missing: str) -> None:
    async with running_sandbox() as on:
        whole = {"name": "Prod", "url": URL, "event_types": BOTH}
        del whole[missing]
        assert (await on.ask("POST", PATH, json=whole)).code == "validation_failed"
        assert (await on.ask("POST", PATH, data=b"{")).code == "validation_failed"


async def test_a_deleted_endpoint_is_revoked_for_good() -> None:
    async with running_sandbox() as on:
        path = f"{PATH}/{(await created(on))['id']}"
        told = (await on.ask("DELETE", path)).json
        assert (told["status"], told["revoked_at"]) == ("revoked", "2026-05-11T08:00:00.000Z")
        on.clock.now += 60
        assert (await on.ask("DELETE", path)).json == told == (await on.ask("GET", path)).json
        for method, tail in (("PATCH", ""), ("POST", "/rotate-secret"), ("POST", "/test")):
            assert (await on.ask(method, f"{path}{tail}", json={"status": "active"})).code == "validation_failed"


OPERATIONS: Final = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/rotate-secret"),
    ("POST", "/test"),
    ("GET", "/deliveries"),
]


@pytest.mark.parametrize(("method", "tail"), OPERATIONS)
async def test_an_endpoint_belongs_to_its_account(method: str, tail: str) -> None:
    async with running_sandbox() as on:
        path = f"{PATH}/{(await created(on))['id']}{tail}"
        stranger = on.sandbox.add_key(credits=10)
        assert (await on.ask(method, path, key=stranger, json={"name": "Mine"})).code == "not_found"
        assert (await on.ask(method, f"{PATH}/whend_none{tail}", json={"name": "Mine"})).code == "not_found"
        assert (await on.ask("GET", PATH, key=stranger)).json["data"] == []


async def test_all_of_it_needs_the_scope() -> None:
    async with running_sandbox() as on:
        key = on.sandbox.add_key(scopes={"generations:create", "generations:read"})
        for method, path in [
            ("GET", PATH),
            ("POST", PATH),
            ("GET", "/api/v1/webhook-events"),
            *((method, f"{PATH}/whend_1{tail}") for method, tail in OPERATIONS),
        ]:
            assert (await on.ask(method, path, key=key)).code == "api_scope_denied"


async def test_the_development_switch_is_off_unless_it_is_set() -> None:
    local = {"name": "Dev", "url": "http://127.0.0.1:1/", "event_types": BOTH}
    async with running_sandbox() as on:
        assert (await on.ask("POST", PATH, json=local)).code == "webhook_url_rejected"
    async with running_sandbox(allow_local_webhooks=True) as on:
        assert (await on.ask("POST", PATH, json=local)).status == 200


# --- the schedule, by told time ---------------------------------------------------------------------------------------


def task(name: str = "1", *, ends_at: float = START + 10, failure: str | None = None, account: str = "acct_1") -> Task:
    return Task(
        id=f"task_{name}",
        account_id=account,
        model="z-image",
        category="image",
        prompt="A red kite",
        params={},
        seed=0,
        reserved_credits=5,
        created_at=START,
        starts_at=START,
        ends_at=ends_at,
        failure=failure,
    )


@attrs.define
class Post:
    """Endpoints and deliveries, at speed 1 and with no wire."""

    endpoints: WebhookEndpointStore
    deliveries: DeliveryQueue

    def endpoint(self, *types: str, at: float = START, account: str = "acct_1") -> WebhookEndpoint:
        return self.endpoints.create(account, {"name": "P", "url": URL, "event_types": list(types or BOTH)}, at)

    def due(self, now: float) -> list[WebhookDelivery]:
        return list(self.deliveries.take_due(now, 1000))


@pytest.fixture
def post() -> Post:
    endpoints = WebhookEndpointStore(0, allow_local=False)
    return Post(endpoints, DeliveryQueue(endpoints, lambda task: {"id": task.id}, seed=0, speed=1.0))


def test_nothing_is_due_before_a_task_has_ended(post: Post) -> None:
    assert post.deliveries.next_due() is None
    endpoint = post.endpoint()
    post.deliveries.expect(task())
    assert post.deliveries.next_due() == START + 10
    assert post.due(START + 9.99) == []
    (delivery,) = post.due(START + 10)
    assert (delivery.endpoint, delivery.event.type, delivery.attempt) == (endpoint, "generation.succeeded", 1)
    assert json.loads(delivery.event.body)["data"] == {"id": "task_1"}
    assert post.due(START + 11) == []
    assert post.deliveries.next_due() is None


def test_nobody_is_waited_for_where_nobody_listens(post: Post) -> None:
    post.deliveries.expect(task())
    assert post.deliveries.next_due() is None
    post.deliveries.settle(START + 20)
    assert len(post.deliveries.events_of("acct_1")) == 1


def test_who_is_told(post: Post) -> None:
    every, only_failed = post.endpoint(), post.endpoint("generation.failed")
    post.endpoint(account="acct_2")
    paused = post.endpoint()
    paused.disable(START)
    post.endpoint(at=START + 15)
    post.deliveries.expect(task("well"))
    post.deliveries.expect(task("badly", failure="No."))
    told = [(delivery.endpoint, delivery.event.type) for delivery in post.due(START + 20)]
    assert sorted(told, key=lambda each: (each[1], each[0].id == only_failed.id)) == [
        (every, "generation.failed"),
        (only_failed, "generation.failed"),
        (every, "generation.succeeded"),
    ]


def test_a_failed_delivery_is_tried_six_times(post: Post) -> None:
    endpoint = post.endpoint()
    post.deliveries.expect(task())
    now, pauses = START + 10, []
    for attempt in range(1, 7):
        (delivery,) = post.due(now)
        assert delivery.attempt == attempt
        post.deliveries.ended(delivery, now, status=500)
        due = post.deliveries.next_due()
        if due is not None:
            pauses.append(due - now)
            assert post.due(due - 0.01) == []
            now = due
    assert pauses == list(RETRY_DELAYS) == [30, 120, 600, 3600, 21_600]
    assert post.deliveries.next_due() is None
    assert [each.status for each in post.deliveries.to(endpoint)] == ["failed"] * 6
    assert len({each.event.id for each in post.deliveries.to(endpoint)}) == 1
    assert len({each.id for each in post.deliveries.to(endpoint)}) == 6
    assert endpoint.failure_count == 6


def test_a_success_ends_it_and_forgets_the_failures(post: Post) -> None:
    endpoint = post.endpoint()
    post.deliveries.expect(task())
    (first,) = post.due(START + 10)
    post.deliveries.ended(first, START + 11, status=None, error="It was slow.")
    assert (endpoint.failure_count, endpoint.last_failure_at, first.error) == (1, START + 11, "It was slow.")
    (second,) = post.due(START + 41)
    post.deliveries.ended(second, START + 42, status=204)
    assert (endpoint.failure_count, endpoint.last_success_at, second.delivered_at) == (0, START + 42, START + 42)
    assert post.deliveries.next_due() is None


@pytest.mark.parametrize(("status", "end"), [(200, "succeeded"), (299, "succeeded"), (199, "failed"), (301, "failed")])
def test_any_2xx_is_a_success(post: Post, status: int, end: str) -> None:
    post.endpoint()
    post.deliveries.expect(task())
    (delivery,) = post.due(START + 10)
    post.deliveries.ended(delivery, START + 10, status=status)
    assert delivery.status == end


def test_twenty_failures_in_a_row_disable_an_endpoint(post: Post) -> None:
    endpoint = post.endpoint()
    for number in range(FAILURES_TO_DISABLE + 1):
        post.deliveries.expect(task(f"{number}"))
    sent = post.due(START + 10)
    for delivery in sent[:-2]:
        post.deliveries.ended(delivery, START + 11, status=500)
    assert endpoint.status == "active"
    post.deliveries.ended(sent[-2], START + 12, status=500)
    assert (endpoint.status, endpoint.disabled_at) == ("disabled", START + 12)
    assert post.due(START + 100) == []  # what is left to try again has failed
    assert {delivery.status for delivery in post.deliveries.to(endpoint)} == {"failed", "pending"}
    post.deliveries.ended(sent[-1], START + 100, status=500)
    assert post.deliveries.next_due() is None
    endpoint.change({"status": "active"}, START + 101)
    assert (endpoint.is_active, endpoint.failure_count) == (True, 0)


def test_no_more_are_taken_than_asked_for(post: Post) -> None:
    post.endpoint()
    for number in range(5):
        post.deliveries.expect(task(f"{number}"))
    assert [len(list(post.deliveries.take_due(START + 10, most))) for most in (0, 2, 2, 2)] == [0, 2, 2, 1]


def test_what_was_cut_short_is_due_again(post: Post) -> None:
    post.endpoint()
    post.deliveries.expect(task())
    (delivery,) = post.due(START + 10)
    post.deliveries.put_back(delivery)
    assert post.due(START + 10) == [delivery]


def test_a_test_is_not_tried_again_nor_counted(post: Post) -> None:
    endpoint = post.endpoint()
    delivery = post.deliveries.test(endpoint, {"id": "task_test"}, START)
    post.deliveries.ended(delivery, START, status=500)
    assert (endpoint.failure_count, post.deliveries.next_due(), delivery.status) == (0, None, "failed")
    cut = post.deliveries.test(endpoint, {"id": "task_test"}, START)
    post.deliveries.put_back(cut)
    assert (cut.status, post.deliveries.next_due()) == ("failed", None)


def test_events_are_kept_in_a_bounded_list(post: Post) -> None:
    for number in range(MOST_EVENTS + 10):
        post.deliveries.expect(task(f"{number:06}"))
    post.deliveries.settle(START + 20)
    kept = post.deliveries.events_of("acct_1")
    assert len(kept) == MOST_EVENTS
    assert json.loads(kept[0].body)["data"] == {"id": f"task_{MOST_EVENTS + 9:06}"}


def test_who_was_told_is_known_after_the_delivery_is_forgotten(post: Post) -> None:
    post.endpoint()
    for number in range(MOST_DELIVERIES + 10):
        post.deliveries.expect(task(f"{number:06}"))
    *taken, refused = post.deliveries.take_due(START + 20, MOST_DELIVERIES + 10)
    for delivery in taken:
        post.deliveries.answered(delivery, 200)
    post.deliveries.answered(refused, 500)
    assert len(post.deliveries.latest(MOST_DELIVERIES + 10)) == MOST_DELIVERIES
    assert post.deliveries.told == {f"task_{number:06}" for number in range(MOST_DELIVERIES + 9)}


def test_who_has_a_delivery_in_hand_is_told_and_who_refuses_it_was_not(post: Post) -> None:
    post.endpoint()
    post.endpoint()
    post.deliveries.expect(task())
    first, second = post.due(START + 10)
    with post.deliveries.in_hand(first):
        with post.deliveries.in_hand(second):
            post.deliveries.answered(second, 500)
        assert post.deliveries.told == {"task_1"}
    assert post.deliveries.told == set()
    with post.deliveries.in_hand(first):
        post.deliveries.answered(first, 204)
    assert post.deliveries.told == {"task_1"}


# --- deliveries over real sockets -------------------------------------------------------------------------------------


@attrs.frozen
class Seen:
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    def verified(self, endpoint: dict[str, Any]) -> WebhookEvent:
        now = time.time()  # noqa: TID251  the sandbox signs by the clock of the wall
        return Verifier(endpoint["signing_secret"]).verify(self.body, self.headers, now=now)


@attrs.define
class Receiver:
    url: str = ""
    answers: list[int] = attrs.field(factory=list)
    """Statuses of the first answers; then it is 204."""
    seen: list[Seen] = attrs.field(factory=list)
    delay: float = 0.0

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(Seen(request.headers.copy(), await request.read()))
        await asyncio.sleep(self.delay)
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"Location": self.url} if 300 <= status < 400 else {})


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    told = Receiver()
    runner = web.ServerRunner(web.Server(told.serve, access_log=None), shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield told
    finally:
        await runner.cleanup()


@asynccontextmanager
async def posting() -> AsyncIterator[tuple[SandboxClient, Receiver, dict[str, Any]]]:
    """A sandbox on the true clock, a receiver, and an endpoint that leads there."""
    async with (
        receiver() as there,
        Sandbox(speed=QUICK, allow_local_webhooks=True) as sandbox,
        aiohttp.ClientSession(sandbox.base_url, timeout=aiohttp.ClientTimeout(10)) as http,
    ):
        on = SandboxClient(sandbox, Clock(), http)
        yield on, there, await created(on, url=there.url)


async def ended(on: SandboxClient, endpoint: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The deliveries to an endpoint, the newest first, once so many have ended."""
    async with asyncio.timeout(10):
        while True:
            found = await listed(on, f"{PATH}/{endpoint['id']}/deliveries", limit=100)
            if sum(each["status"] != "pending" for each in found) >= count:
                return found
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(("prompt", "status"), [("A kite", "succeeded"), (f"A kite {FAIL_MARKER}", "failed")])
async def test_an_ended_generation_is_told(prompt: str, status: str) -> None:
    async with posting() as (on, there, endpoint):
        task_id = await on.bought(prompt=prompt)
        await until(lambda: bool(there.seen))
        (seen,) = there.seen
        event = seen.verified(endpoint)
        assert (event.type, event.api_version) == (f"generation.{status}", "2026-05-11")
        assert seen.event["data"] == (await on.look(task_id)).json
        (delivery,) = await ended(on, endpoint, 1)
        assert {**delivery, "created_at": "", "delivered_at": ""} == {
            "id": seen.headers["Rivya-Delivery-Id"],
            "object": "webhook_delivery",
            "endpoint_id": endpoint["id"],
            "event_id": event.id,
            "event_type": event.type,
            "status": "succeeded",
            "attempt": 1,
            "response_status": 204,
            "error": None,
            "created_at": "",
            "delivered_at": "",
        }
        assert set(delivery) == set(SCHEMAS["WebhookDelivery"]["required"])
        assert seen.headers["Content-Type"] == "application/json"
        assert seen.headers["Rivya-Event-Id"] == event.id
        assert seen.headers["Rivya-Event-Type"] == event.type
        assert seen.headers["User-Agent"].startswith("Rivya-Webhooks/")
        assert "Authorization" not in seen.headers
        assert await listed(on, "/api/v1/webhook-events") == [seen.event]


async def test_a_failed_delivery_comes_again_with_the_same_body_and_a_new_signature() -> None:
    async with posting() as (on, there, endpoint):
        there.answers = [500, 404, 307]
        await on.bought()
        newest, *older = await ended(on, endpoint, 4)
        assert (newest["attempt"], newest["status"]) == (4, "succeeded")
        assert [each["response_status"] for each in older] == [307, 404, 500]
        assert older[0]["error"] == "The receiver answered 307."
        assert len(there.seen) == 4  # the redirect was not followed
        assert len({seen.body for seen in there.seen}) == 1
        assert len({seen.headers["Rivya-Delivery-Id"] for seen in there.seen}) == 4
        assert (await on.ask("GET", f"{PATH}/{endpoint['id']}")).json["failure_count"] == 0


async def test_a_receiver_that_is_slow_or_gone_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "TIMEOUT", 0.05)
    async with posting() as (on, there, endpoint):
        there.delay = 0.5
        await on.bought()
        slow = (await ended(on, endpoint, 1))[-1]
        assert slow["error"] == "The receiver did not answer within 0.05 seconds."
        gone = await created(on, url="http://127.0.0.1:9/")
        await on.ask("PATCH", f"{PATH}/{endpoint['id']}", json={"status": "disabled"})
        await on.bought()
        refused = (await ended(on, gone, 6))[-1]
        assert (refused["response_status"], refused["delivered_at"]) == (None, None)
        assert refused["error"].startswith("The receiver could not be reached")


async def test_an_endpoint_that_keeps_failing_is_disabled() -> None:
    async with posting() as (on, there, endpoint):
        there.answers = [500] * 100
        for _ in range(4):
            await on.bought()
        path = f"{PATH}/{endpoint['id']}"
        async with asyncio.timeout(10):
            while (told := (await on.ask("GET", path)).json)["status"] == "active":  # noqa: ASYNC110  it is asked
                await asyncio.sleep(0.005)
        assert told["failure_count"] >= FAILURES_TO_DISABLE
        assert told["disabled_at"]
        seen = len(there.seen)
        await on.bought()
        await asyncio.sleep(0.05)
        assert len(there.seen) <= seen + 4


async def test_a_rotated_secret_signs_from_then_on() -> None:
    async with posting() as (on, there, endpoint):
        rotated = (await on.ask("POST", f"{PATH}/{endpoint['id']}/rotate-secret")).json
        await on.bought()
        await until(lambda: bool(there.seen))
        (seen,) = there.seen
        assert seen.verified(rotated).type == "generation.succeeded"
        with pytest.raises(SignatureMismatch):
            seen.verified(endpoint)


async def test_a_test_sends_an_invented_generation_and_tells_how_it_went() -> None:
    async with posting() as (on, there, endpoint):
        there.answers = [500]
        await on.ask("PATCH", f"{PATH}/{endpoint['id']}", json={"status": "disabled"})
        failed, well = [(await on.ask("POST", f"{PATH}/{endpoint['id']}/test")).json for _ in range(2)]
        assert (failed["status"], failed["response_status"]) == ("failed", 500)
        assert (well["status"], well["event_type"]) == ("succeeded", "generation.succeeded")
        event = there.seen[1].verified(endpoint)
        assert event.generation is not None
        assert event.generation.succeeded
        assert len(there.seen) == 2
        assert await listed(on, f"{PATH}/{endpoint['id']}/deliveries") == [well, failed]
        assert (await on.look(event.generation.id)).code == "not_found"


async def test_what_was_before_an_endpoint_is_not_told_to_it() -> None:
    async with posting() as (on, there, endpoint):
        await on.bought()
        await until(lambda: len(there.seen) == 1)
        late = await created(on, url=there.url)
        assert await listed(on, f"{PATH}/{late['id']}/deliveries") == []
        await on.ask("DELETE", f"{PATH}/{endpoint['id']}")
        await on.bought()
        await until(lambda: len(there.seen) == 2)
        assert len(await ended(on, late, 1)) == 1


async def test_many_generations_are_told_once_each() -> None:
    async with posting() as (on, there, endpoint):
        bought = {await on.bought() for _ in range(150)}
        await until(lambda: len(there.seen) >= 150)
        assert {seen.event["data"]["id"] for seen in there.seen} == bought
        assert len(there.seen) == 150
        assert len(await listed(on, "/api/v1/webhook-events", limit=100)) == 100
        assert endpoint["id"]


async def test_closing_cuts_what_is_on_its_way_and_starting_sends_it_again() -> None:
    async with posting() as (on, there, endpoint):
        there.delay = 5.0
        await on.bought()
        await until(lambda: bool(there.seen))
        began = asyncio.get_running_loop().time()
        await on.sandbox.aclose()
        assert asyncio.get_running_loop().time() - began < 2.0
        there.delay = 0.0
        await on.sandbox.start()
        (delivery,) = await ended(on, endpoint, 1)
        assert delivery["status"] == "succeeded"
        assert len({seen.headers["Rivya-Event-Id"] for seen in there.seen}) == 1 < len(there.seen)


async def test_a_sandbox_that_is_closed_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with posting() as (on, there, _):
        there.delay = 5.0
        await on.bought()
        await until(lambda: bool(there.seen))
    await until(lambda: asyncio.all_tasks() == before)  # the receiver's own take a moment


async def test_events_are_of_the_account_and_need_no_endpoint() -> None:
    async with running_sandbox() as on:
        task_id = await on.bought()
        assert await listed(on, "/api/v1/webhook-events") == []
        on.clock.now += 3600
        (event,) = await listed(on, "/api/v1/webhook-events")
        assert event["data"]["id"] == task_id
        assert set(event) == set(SCHEMAS["WebhookEvent"]["required"])
        stranger = on.sandbox.add_key(credits=10)
        assert (await on.ask("GET", "/api/v1/webhook-events", key=stranger)).json["data"] == []


# --- deliveries that go wrong -----------------------------------------------------------------------------------------

DELIVERY: Final = "webhook delivery"


async def test_nothing_leaves_the_machine() -> None:
    async with posting() as (on, _, __):
        endpoint = await created(on, url="https://hooks.example.org/rivya")
        delivery = (await on.ask("POST", f"{PATH}/{endpoint['id']}/test")).json
        assert (delivery["status"], delivery["response_status"]) == ("failed", None)
        assert delivery["error"] == "The sandbox sends to this machine only."


async def test_a_delivery_that_is_lost_is_sent_again() -> None:
    async with posting() as (on, there, endpoint):
        fault = on.sandbox.faults.add(route=DELIVERY, nth=[1, 2], drop=True)
        await on.bought()
        found = await ended(on, endpoint, 3)
        assert [each["status"] for each in found] == ["succeeded", "failed", "failed"]
        assert [each["error"] for each in found[1:]] == [courier.LOST] * 2
        assert on.sandbox.faults.hits(fault) == 2
        assert len(there.seen) == 1


async def test_an_event_may_never_come_while_others_do() -> None:
    async with posting() as (on, there, endpoint):
        await on.bought()
        await ended(on, endpoint, 1)
        on.sandbox.faults.add(route=DELIVERY, drop=True)
        await on.bought()
        await ended(on, endpoint, 7)
        assert len(there.seen) == 1


async def test_a_lost_answer_makes_an_event_come_twice() -> None:
    async with posting() as (on, there, endpoint):
        on.sandbox.faults.add(route=DELIVERY, nth=1, drop=True, act=True)
        await on.bought()
        await ended(on, endpoint, 2)
        first, second = there.seen
        assert first.body == second.body
        assert first.headers["Rivya-Delivery-Id"] != second.headers["Rivya-Delivery-Id"]


async def test_a_delay_lets_others_overtake() -> None:
    async with posting() as (on, there, endpoint):
        fault = on.sandbox.faults.add(route=DELIVERY, nth=1, delay=0.1)
        first = await on.bought()
        await until(lambda: on.sandbox.faults.hits(fault) == 1)
        second = await on.bought()
        await ended(on, endpoint, 2)
        assert [seen.event["data"]["id"] for seen in there.seen] == [second, first]


async def test_a_signature_and_a_body_can_be_spoilt() -> None:
    async with posting() as (on, there, endpoint):
        on.sandbox.faults.add(route=DELIVERY, nth=1, headers={"Rivya-Signature": f"t=1,v1={'0' * 64}"})
        on.sandbox.faults.add(route=DELIVERY, nth=2, body=b"{}")
        for _ in range(2):
            await on.ask("POST", f"{PATH}/{endpoint['id']}/test")
        for seen in there.seen:
            with pytest.raises(SignatureMismatch):
                seen.verified(endpoint)
        assert there.seen[1].body == b"{}"


async def test_a_fault_may_follow_one_event_through_all_its_attempts() -> None:
    async with posting() as (on, there, endpoint):
        there.answers = [500]
        late = on.sandbox.faults.add(route=DELIVERY, nth=1, delay=0.1)
        await on.bought()
        await until(lambda: on.sandbox.faults.hits(late) == 1)
        (event,) = await listed(on, "/api/v1/webhook-events")
        lost = on.sandbox.faults.add(route=DELIVERY, key=event["id"], drop=True)
        await ended(on, endpoint, 6)
        assert on.sandbox.faults.hits(lost) == 5
        await on.bought()
        await ended(on, endpoint, 7)
        assert len(there.seen) == 2


async def test_a_fault_of_requests_is_none_of_deliveries() -> None:
    async with posting() as (on, there, _):
        await on.bought()
        on.sandbox.faults.add(drop=True)
        await until(lambda: len(there.seen) == 1)


@pytest.mark.parametrize(
    "fields", [{"status": 500}, {"truncate": 5}, {"drop": True, "receive": 5}, {"retry_after": 1}, {"shape": "done"}]
)
def test_a_delivery_is_no_answer(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a delivery is no answer"):
        Fault(route=DELIVERY, **fields)


async def test_a_clock_that_stands_still_does_not_make_the_loop_spin() -> None:
    async with receiver() as there, running_sandbox(speed=1e6, allow_local_webhooks=True) as on:
        await created(on, url=there.url)
        looks = 0

        def counted() -> float:
            nonlocal looks
            looks += 1
            return on.clock.now

        assert on.sandbox._api.webhooks._courier is not None
        on.sandbox._api.webhooks._courier._clock = counted
        await on.bought()
        await asyncio.sleep(0.05)
        assert looks < 200
        assert there.seen == []
        on.clock.now += 1
        await until(lambda: len(there.seen) == 1)


async def test_whoever_is_cancelled_while_closing_hears_of_it() -> None:
    async with posting() as (on, there, _):
        there.delay = 5.0
        await on.bought()
        await until(lambda: bool(there.seen))
        carrying = on.sandbox._api.webhooks._courier
        assert carrying is not None
        closing = asyncio.create_task(carrying.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert carrying._http.closed
