"""`rivya webhooks`: every action, and a secret that is shown once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import environment, ran, rivya
from tests.session.session_kit import peer

URL = "https://hooks.example.org/rivya"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=10_000, allow_local_webhooks=True) as running:
        yield running


async def created(sandbox: Sandbox, url: str = URL) -> str:
    (endpoint,) = (await ran("webhooks", "create", url, "--json", sandbox=sandbox)).results
    return str(endpoint["id"])


async def test_a_secret_is_shown_by_create_and_rotate_only(sandbox: Sandbox) -> None:
    made = await ran("webhooks", "create", URL, "--name", "Prod", sandbox=sandbox)
    first, events, secret = made.out.splitlines()
    endpoint_id = first.split()[0]
    assert (made.code, first.split()[1:]) == (0, ["active", "Prod", URL])
    assert events.split() == ["generation.succeeded,", "generation.failed"]
    assert secret.strip().startswith("whsec_")
    assert "only this once" in made.err

    rotated = await ran("webhooks", "rotate", endpoint_id, "--json", sandbox=sandbox)
    (told,) = rotated.results
    assert (rotated.err, told["signing_secret"].startswith("whsec_")) == ("", True)
    assert told["signing_secret"] != secret.strip()

    for action in (("list",), ("show", endpoint_id), ("update", endpoint_id, "--name", "New"), ("delete", endpoint_id)):
        for form in ((), ("--json",)):
            ended = await ran("webhooks", *action, *form, sandbox=sandbox)
            assert (ended.code, ended.err) == (0, "")
            assert told["signing_secret"] not in ended.out
            assert "signing_secret" not in ended.out
            assert endpoint_id in ended.out


async def test_what_update_changes(sandbox: Sandbox) -> None:
    endpoint_id = await created(sandbox)
    options = ("--url", "https://8.8.8.8/", "--event", "generation.failed", "--status", "disabled")
    (told,) = (await ran("webhooks", "update", endpoint_id, *options, "--json", sandbox=sandbox)).results
    assert (told["url"], told["event_types"], told["status"]) == ("https://8.8.8.8/", ["generation.failed"], "disabled")
    assert told["name"] == "rivya"


async def test_what_was_told(sandbox: Sandbox) -> None:
    answers = [204, 500]
    async with peer(lambda _: web.Response(status=answers.pop(0))) as there:
        endpoint_id = await created(sandbox, there.url)
        well = await ran("webhooks", "test", endpoint_id, sandbox=sandbox)
        assert well.code == 0
        assert well.out.splitlines()[1].split()[-2:] == ["succeeded", "204"]
        badly = await ran("webhooks", "test", endpoint_id, "--json", sandbox=sandbox)
        assert badly.code == 6
        assert (badly.results[0]["status"], badly.results[0]["response_status"]) == ("failed", 500)
    deliveries = (await ran("webhooks", "deliveries", endpoint_id, "--limit", "1", "--json", sandbox=sandbox)).results
    assert deliveries == badly.results
    shown = (await ran("webhooks", "deliveries", endpoint_id, sandbox=sandbox)).out.splitlines()
    assert shown[0].split() == ["ID", "AT", "EVENT", "ATTEMPT", "STATUS", "ANSWER"]
    assert len(shown) == 3
    events = await ran("webhooks", "events", sandbox=sandbox)
    assert events.out.splitlines()[1].split()[-2:] == ["generation.succeeded", "task_webhook_test"]
    (event, _) = (await ran("webhooks", "events", "--json", sandbox=sandbox)).results
    assert event["data"]["status"] == "succeeded"


async def test_nothing_yet(sandbox: Sandbox) -> None:
    for action in ("list", "events"):
        ended = await ran("webhooks", action, sandbox=sandbox)
        assert (ended.code, ended.out, ended.err) == (0, "", "there are none yet\n")
        assert (await ran("webhooks", action, "--json", sandbox=sandbox)).results == []


async def test_a_url_that_is_rejected(sandbox: Sandbox) -> None:
    ended = await ran("webhooks", "create", "https://10.0.0.1/", "--json", sandbox=sandbox)
    assert (ended.code, ended.error["code"]) == (2, "webhook_url_rejected")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show",), "takes the id of an endpoint"),
        (("create",), "takes the URL"),
        (("list", "whend_1"), "takes no id"),
        (("show", "whend_1", "--limit", "2"), "--limit is not for rivya webhooks show"),
        (("create", URL, "--status", "active"), "--status is not for rivya webhooks create"),
        (("update", "whend_1"), "nothing to change"),
        (("list", "--limit", "0"), "must be 1 or more"),
        (("shout",), "invalid choice"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], told: str) -> None:
    ended = rivya("webhooks", *arguments, env=environment(RIVYA_API_KEY="rvya_sk_none"))
    assert ended.code == 2
    assert told in ended.err
