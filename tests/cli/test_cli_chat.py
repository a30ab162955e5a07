"""`rivya chat`: the answer on stdout as it comes, the rest on stderr."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import AsyncIterator

import pytest

from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import CommandResult, RunningCommand, environment, run_against, wait_until

STREAM = "POST /api/v1/chat/completions/stream"
WHOLE = "POST /api/v1/chat/completions"
MODEL = "gpt-5-2-chat"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=10_000) as running:
        yield running


def body(sandbox: Sandbox) -> dict[str, object]:
    (request,) = (request for request in sandbox.request_log if request.method == "POST")
    return dict(json.loads(request.body or b""))


def session_id_of(ended: CommandResult) -> str:
    return ended.err.split()[1]


async def test_prints_answer_and_cost(sandbox: Sandbox) -> None:
    ended = await run_against("chat", MODEL, "Three names for a kite shop", sandbox=sandbox)
    assert ended.code == 0
    assert "Three names for a kite shop" in ended.out
    assert ended.out.endswith("\n")
    assert not ended.out.endswith("\n\n")
    assert ended.err.startswith("--session ses_")
    assert ended.err.rstrip().endswith(("credits", "credit"))
    assert sandbox.request_log.count(STREAM) == 1
    whole = await run_against("chat", MODEL, "Three names for a kite shop", "--no-stream", sandbox=sandbox)
    assert whole.out == ended.out
    assert sandbox.request_log.count(WHOLE) == 1
    assert sandbox.api_key not in ended.out + ended.err


async def test_options_are_sent_and_session_continues(sandbox: Sandbox) -> None:
    first = await run_against("chat", MODEL, "A kite", sandbox=sandbox)
    sandbox.request_log.clear()
    options = ("--session", session_id_of(first), "--web-search", "--reasoning-effort", "low", "--key", "order-1")
    ended = await run_against("chat", MODEL, "And in French?", *options, "--json", sandbox=sandbox)
    (answer,) = ended.results
    assert (ended.code, ended.err) == (0, "")
    assert body(sandbox) == {
        "model": MODEL,
        "message": "And in French?",
        "session_id": session_id_of(first),
        "enable_web_search": True,
        "reasoning_effort": "low",
    }
    assert sandbox.request_log.idempotency_keys == {"order-1"}
    assert answer["object"] == "chat.completion"
    assert answer["message"]["role"] == "assistant"
    assert answer["session_id"] == session_id_of(first)


async def test_lists_and_shows_sessions(sandbox: Sandbox) -> None:
    none = await run_against("chat", "sessions", sandbox=sandbox)
    assert (none.code, none.out) == (0, "")
    first = await run_against("chat", MODEL, "A kite over the dunes", sandbox=sandbox)
    listed = await run_against("chat", "sessions", sandbox=sandbox)
    assert listed.out.split()[:2] == [session_id_of(first), MODEL]
    assert "A kite over the dunes" in listed.out
    shown = await run_against("chat", "sessions", session_id_of(first), sandbox=sandbox)
    assert "\nuser: A kite over the dunes\n" in shown.out
    assert f"\nassistant: {first.out}" in shown.out
    sessions = (await run_against("chat", "sessions", session_id_of(first), "--json", sandbox=sandbox)).results
    assert [message["role"] for message in sessions[0]["messages"]] == ["user", "assistant"]
    assert "extra" not in sessions[0].keys() | sessions[0]["messages"][0].keys()
    lost = await run_against("chat", "sessions", "ses_none", "--json", sandbox=sandbox)
    assert (lost.code, lost.error["type"]) == (2, "NotFoundError")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((MODEL,), "MESSAGE"),
        ((MODEL, " "), "message must be"),
        (("z-image", "A kite"), "not a chat model"),
        (("gpt-5-2-cht", "A kite"), "gpt-5-2-chat"),
        (("claude-sonnet-4-6-chat", "A kite", "--attach", "file_1"), "no attachments"),
        ((MODEL, "A kite", "--attach", "file_1"), "file_1"),
        ((MODEL, "A kite", "--reasoning-effort", "hihg"), "'high'"),
    ],
)
async def test_invalid_message_exits_with_2(sandbox: Sandbox, arguments: tuple[str, ...], said: str) -> None:
    ended = await run_against("chat", *arguments, sandbox=sandbox)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert sandbox.request_log.purchases == 0


async def test_interrupted_answer_is_shown_in_part(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=STREAM, stream="error", after_events=4)
    ended = await run_against("chat", MODEL, "A kite", sandbox=sandbox)
    assert ended.code == 6
    assert len(ended.out.split()) == 3
    assert ended.out.endswith("\n")
    (line,) = ended.err.splitlines()
    command = line.partition(" -> ")[2]
    assert command.startswith("rivya chat sessions ses_")
    shown = await run_against(*shlex.split(command)[1:], sandbox=sandbox)
    assert ended.out.strip() in shown.out
    broken = await run_against("chat", MODEL, "A kite", "--json", sandbox=sandbox)
    assert (broken.code, broken.out) == (6, "")
    assert broken.error["type"] == "StreamInterruptedError"
    assert broken.error["text"] == ended.out.strip()
    assert broken.error["code"] == "internal_error"


async def test_control_characters_are_dropped(sandbox: Sandbox) -> None:
    ended = await run_against("chat", MODEL, "Say \x1b[31mred\x07", "--no-stream", sandbox=sandbox)
    assert ended.code == 0
    assert not set(ended.out) & {"\x1b", "\x07"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signals")
@pytest.mark.parametrize("json_flag", [(), ("--json",)])
async def test_signal_ends_chat_and_prints_key(sandbox: Sandbox, json_flag: tuple[str, ...]) -> None:
    sandbox.faults.add(route=STREAM, stream="stall", after_events=4)
    running = await RunningCommand.start("chat", MODEL, "It's a kite", *json_flag, env=environment(sandbox))
    await wait_until(lambda: sandbox.request_log.purchases == 1)
    await wait_until(lambda: sandbox.request_log.in_flight == 1)
    running.signal(signal.SIGINT)
    ended = await running.end()
    (key,) = sandbox.request_log.idempotency_keys
    assert ended.code == 130
    back = ended.error["next"] if json_flag else ended.err.splitlines()[-1].strip()
    assert back == shlex.join(["rivya", "chat", "--key", key, MODEL, "It's a kite"])
    await wait_until(lambda: not sandbox.request_log.in_flight)
    sandbox.faults.clear()
    again = await run_against(*shlex.split(back)[1:], sandbox=sandbox)
    assert again.code == 0
    assert sandbox.request_log.purchases == 1


def test_chat_works_with_embedded_sandbox() -> None:
    from tests.cli.cli_kit import rivya

    ended = rivya("chat", MODEL, "A kite", "--sandbox")
    assert ended.code == 0
    assert "A kite" in ended.out
