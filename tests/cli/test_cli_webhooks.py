"""`rivya webhooks`: every action, and a secret that is shown once."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from rivya_async.receiver import verify
from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import COMMAND, environment, rivya, run_against
from tests.session.session_kit import plain_server, raw_server

URL = "https://hooks.example.org/rivya"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=10_000, allow_local_webhooks=True) as running:
        yield running


async def create_endpoint(sandbox: Sandbox, url: str = URL) -> str:
    (endpoint,) = (await run_against("webhooks", "create", url, "--json", sandbox=sandbox)).results
    return str(endpoint["id"])


async def test_secret_is_shown_by_create_and_rotate_only(sandbox: Sandbox) -> None:
    made = await run_against("webhooks", "create", URL, "--name", "Prod", sandbox=sandbox)
    first, events, secret = made.out.splitlines()
    endpoint_id = first.split()[0]
    assert (made.code, first.split()[1:]) == (0, ["active", "Prod", URL])
    assert events.split() == ["generation.succeeded,", "generation.failed"]
    assert secret.strip().startswith("whsec_")
    assert "only this once" in made.err

    rotated = await run_against("webhooks", "rotate", endpoint_id, "--json", sandbox=sandbox)
    (endpoint,) = rotated.results
    assert (rotated.err, endpoint["signing_secret"].startswith("whsec_")) == ("", True)
    assert endpoint["signing_secret"] != secret.strip()

    for action in (("list",), ("show", endpoint_id), ("update", endpoint_id, "--name", "New"), ("delete", endpoint_id)):
        for form in ((), ("--json",)):
            ended = await run_against("webhooks", *action, *form, sandbox=sandbox)
            assert (ended.code, ended.err) == (0, "")
            assert endpoint["signing_secret"] not in ended.out
            assert "signing_secret" not in ended.out
            assert endpoint_id in ended.out


async def test_update_changes_given_fields(sandbox: Sandbox) -> None:
    endpoint_id = await create_endpoint(sandbox)
    options = ("--url", "https://8.8.8.8/", "--event", "generation.failed", "--status", "disabled")
    (endpoint,) = (await run_against("webhooks", "update", endpoint_id, *options, "--json", sandbox=sandbox)).results
    assert (endpoint["url"], endpoint["event_types"], endpoint["status"]) == (
        "https://8.8.8.8/",
        ["generation.failed"],
        "disabled",
    )
    assert endpoint["name"] == "rivya"


async def test_lists_deliveries_and_events(sandbox: Sandbox) -> None:
    answers = [204, 500]
    async with plain_server(lambda _: web.Response(status=answers.pop(0))) as there:
        endpoint_id = await create_endpoint(sandbox, there.url)
        well = await run_against("webhooks", "test", endpoint_id, sandbox=sandbox)
        assert well.code == 0
        assert well.out.splitlines()[1].split()[-2:] == ["succeeded", "204"]
        badly = await run_against("webhooks", "test", endpoint_id, "--json", sandbox=sandbox)
        assert badly.code == 6
        assert (badly.results[0]["status"], badly.results[0]["response_status"]) == ("failed", 500)
    deliveries = (
        await run_against("webhooks", "deliveries", endpoint_id, "--limit", "1", "--json", sandbox=sandbox)
    ).results
    assert deliveries == badly.results
    shown = (await run_against("webhooks", "deliveries", endpoint_id, sandbox=sandbox)).out.splitlines()
    assert shown[0].split() == ["ID", "AT", "EVENT", "ATTEMPT", "STATUS", "ANSWER"]
    assert len(shown) == 3
    events = await run_against("webhooks", "events", sandbox=sandbox)
    assert events.out.splitlines()[1].split()[-2:] == ["generation.succeeded", "task_webhook_test"]
    (event, _) = (await run_against("webhooks", "events", "--json", sandbox=sandbox)).results
    assert event["data"]["status"] == "succeeded"


async def test_empty_list_is_reported(sandbox: Sandbox) -> None:
    for action in ("list", "events"):
        ended = await run_against("webhooks", action, sandbox=sandbox)
        assert (ended.code, ended.out, ended.err) == (0, "", "there are none yet\n")
        assert (await run_against("webhooks", action, "--json", sandbox=sandbox)).results == []


async def test_rejected_url_is_reported(sandbox: Sandbox) -> None:
    ended = await run_against("webhooks", "create", "https://10.0.0.1/", "--json", sandbox=sandbox)
    assert (ended.code, ended.error["code"]) == (2, "webhook_url_rejected")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("show",), "Missing argument 'ID'"),
        (("create",), "Missing argument 'URL'"),
        (("list", "whend_1"), "unexpected extra argument (whend_1)"),
        (("show", "whend_1", "--limit", "2"), "No such option '--limit'"),
        (("create", URL, "--status", "active"), "No such option '--status'"),
        (("update", "whend_1"), "nothing to change"),
        (("list", "--limit", "0"), "0 is not in the range x>=1"),
        (("shout",), "No such command 'shout'"),
        (("show", "whend_1", "--to", URL), "No such option '--to'"),
        (("sign", "whend_1"), "unexpected extra argument (whend_1)"),
        (("sign",), "set RIVYA_WEBHOOK_SECRET"),
        (("sign", "--secret", "two words"), "copy it again"),
        (("sign", "--secret", "whsec_1", "--to", "hooks.example.org"), "--to takes the http or https URL"),
        (("sign", "--secret", "whsec_1", "--event", "a", "--event", "b"), "takes one --event"),
    ],
)
def test_rejects_wrong_usage(arguments: tuple[str, ...], expected: str) -> None:
    ended = rivya("webhooks", *arguments, env=environment(RIVYA_API_KEY="rvya_sk_none"))
    assert ended.code == 2
    assert expected in ended.err


SECRET = "whsec_" + "c0ffee" * 5


@pytest.mark.parametrize(("event", "status"), [("generation.succeeded", "succeeded"), ("generation.failed", "failed")])
def test_signs_delivery_of_given_body(event: str, status: str) -> None:
    shown = rivya("webhooks", "sign", "--event", event, env=environment(RIVYA_WEBHOOK_SECRET=SECRET))
    head, _, body = shown.out.partition("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines())
    delivery = verify(body.removesuffix("\n").encode(), headers, SECRET)
    assert (shown.code, shown.err, delivery.type) == (0, "", event)
    assert delivery.generation is not None
    assert delivery.generation.status == status
    (value,) = rivya("webhooks", "sign", "--secret", f" {SECRET} ", "--event", event, "--json").results
    assert verify(value["body"].encode(), value["headers"], SECRET).type == event
    assert "c0ffee" not in shown.out + str(value)


async def test_posts_signed_delivery() -> None:
    answers = [204, 401, 302]
    moved = {"Location": "/elsewhere"}
    async with plain_server(lambda _: web.Response(status=answers.pop(0), headers=moved)) as there:
        for status, code in ((204, 0), (401, 6), (302, 6)):
            ended = await asyncio.to_thread(
                rivya, "webhooks", "sign", "--to", f"{there.url}/hook", env=environment(RIVYA_WEBHOOK_SECRET=SECRET)
            )
            assert (ended.code, ended.err) == (code, "")
            assert ended.out.endswith(f"answered with {status}\n")
    assert len(there.requests) == 3
    for seen in there.requests:
        assert (seen.method, seen.path, seen.headers["Content-Type"]) == ("POST", "/hook", "application/json")
        assert verify(seen.body, seen.headers, SECRET).type == "generation.succeeded"


def test_unreachable_receiver_is_reported_without_secret() -> None:
    ended = rivya("webhooks", "sign", "--secret", SECRET, "--to", "http://127.0.0.1:1/", "--json")
    assert (ended.code, ended.out) == (6, "")
    assert "refused" in ended.error["message"]
    assert "c0ffee" not in ended.err


async def test_non_http_receiver_is_reported() -> None:
    async def answer_as_smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()

    async with raw_server(answer_as_smtp) as url:
        ended = await asyncio.to_thread(rivya, "webhooks", "sign", "--secret", SECRET, "--to", url, "--json")
    assert (ended.code, ended.error["type"]) == (6, "OutcomeUnknownError")


async def test_reads_secret_from_stdin() -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "webhooks", "sign", "--secret", "-", "--json", stdin=PIPE, stdout=PIPE, env=environment()
    )
    out, _ = await process.communicate(f"{SECRET}\n".encode())
    value = json.loads(out)
    assert verify(value["body"].encode(), value["headers"], SECRET).generation is not None
