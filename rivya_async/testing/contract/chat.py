"""Chat: what is refused, and, with leave to spend, one turn whole and one in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from .check import NUMBER, TEXT, Checks, expect, expect_list, expect_members
from .errors import expect_refusal, expect_success
from .files import picture
from .models import ask_cheapest, catalogue, cheapest
from .service import CannotTell, Reply, Service

checks = Checks()

SESSION: Final = {
    "id": TEXT,
    "object": TEXT,
    "model": TEXT,
    "title": TEXT,
    "created_at": TEXT,
    "updated_at": TEXT,
}
SAID: Final = "Say yes."


async def say(service: Service, path: str = "", key: str | None = None, **body: Any) -> Reply:
    """One message to the cheapest chat model; the members of `body` go before ours."""
    return await ask_cheapest(service, "chat", f"/chat/completions{path}", key, {"message": SAID, **body})


async def answered(service: Service) -> dict[str, Any]:
    """The one whole turn of this run."""
    reply: Reply = await service.shared("turn", lambda: say(service, key="turn"))
    expect_success(reply, "an answer")
    expect_members(reply.json, {"id": TEXT, "session_id": TEXT})
    told: dict[str, Any] = reply.json
    return told


def events(raw: bytes) -> Iterator[tuple[str, str]]:
    """Name and data of each event of a stream."""
    for block in raw.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        fields = [line.partition(":") for line in block.split("\n") if line and not line.startswith(":")]
        data = "\n".join(value.removeprefix(" ") for name, _, value in fields if name == "data")
        if data:
            yield next((value.strip() for name, _, value in fields if name == "event"), ""), data


async def streaming(service: Service) -> Reply:
    """The one streamed turn of this run."""
    reply: Reply = await service.shared("streamed turn", lambda: say(service, "/stream", key="stream"))
    expect_success(reply, "a stream")
    return reply


async def streamed(service: Service) -> list[tuple[str, str]]:
    """Its events."""
    return list(events((await streaming(service)).raw))


@checks.documented("10")
async def an_unknown_model(service: Service) -> None:
    """A message to an unknown model is 400 chat_model_not_supported."""
    expect_refusal(await say(service, model="no-such-model"), 400, "chat_model_not_supported")


@checks.documented("10")
async def a_media_model(service: Service) -> None:
    """A message to an image model is 400 chat_model_not_supported."""
    model = await cheapest(service, "image")
    expect_refusal(await say(service, model=model["id"]), 400, "chat_model_not_supported")


@checks.assumed("14.8")
async def sessions(service: Service) -> None:
    """The chat sessions are a list, the newest first, each with the members that we assume."""
    found = expect_list((await service.ask("GET", "/chat/sessions")).json, SESSION)
    came = [each.get("created_at") for each in found]
    expect(came == sorted(came, reverse=True), "the newest first", came[:3])


@checks.assumed("14.5")
async def a_limit(service: Service) -> None:
    """A limit of 0 is 400 validation_failed."""
    expect_refusal(await service.ask("GET", "/chat/sessions?limit=0"), 400, "validation_failed")


@checks.assumed("14.8")
async def an_unknown_session(service: Service) -> None:
    """A chat session that does not exist is 404 not_found."""
    expect_refusal(await service.ask("GET", "/chat/sessions/ses_contractnone"), 404, "not_found")


@checks.documented("10", turns=1)
async def messages(service: Service) -> None:
    """A raw array of messages is refused."""
    reply = await say(service, messages=[{"role": "user", "content": SAID}])
    expect_refusal(reply, 400, "validation_failed")


@checks.documented("10", turns=1)
async def no_message(service: Service) -> None:
    """A turn without a message is 400 validation_failed."""
    expect_refusal(await say(service, message=None), 400, "validation_failed")


@checks.documented("3", turns=1)
async def an_unknown_attachment(service: Service) -> None:
    """An attachment that is no uploaded image is 400 chat_attachment_not_supported."""
    reply = await say(service, attachments=[{"file_id": "file_contractnone"}])
    expect_refusal(reply, 400, "chat_attachment_not_supported")


@checks.documented("3", turns=1)
async def a_session_of_nobody(service: Service) -> None:
    """A message to a session that is not ours is 409 chat_session_conflict."""
    expect_refusal(await say(service, session_id="ses_contractnone"), 409, "chat_session_conflict")


@checks.documented("10", turns=1)
async def the_answer(service: Service) -> None:
    """An answer has its message, what it used and what it cost."""
    told = await answered(service)
    expect_members(told, {"object": TEXT, "model": TEXT, "created_at": TEXT, "message": (dict,), "credits": (dict,)})
    expect(told["object"] == "chat.completion", "chat.completion", told["object"])
    expect_members(told["message"], {"id": TEXT, "role": TEXT, "content": TEXT})
    expect_members(told.get("usage"), {"input_tokens": NUMBER, "output_tokens": NUMBER, "total_tokens": NUMBER})
    expect_members(told["credits"], {"reserved": NUMBER, "final": NUMBER})


@checks.assumed("14.21", turns=1)
async def the_price(service: Service) -> None:
    """A turn reserves base_credits of its model, and costs from 1 to that."""
    model, told = await cheapest(service, "chat"), await answered(service)
    expect_members(told, {"credits": (dict,)})
    reserved, final = told["credits"].get("reserved"), told["credits"].get("final")
    expect(reserved == model["base_credits"], f"{model['base_credits']} reserved", reserved)
    expect(1 <= final <= reserved, f"from 1 to {reserved}", final)


@checks.assumed("14.8", turns=1)
async def the_session(service: Service) -> None:
    """A session is told with its messages, the question first."""
    told = await answered(service)
    reply = await service.ask("GET", f"/chat/sessions/{told['session_id']}")
    expect_members(reply.json, {**SESSION, "messages": (list,)})
    came = [each.get("role") for each in reply.json["messages"]]
    expect(came == ["user", "assistant"], "a question and its answer", came)
    expect_members(reply.json["messages"][0], {"id": TEXT, "role": TEXT, "content": TEXT, "created_at": TEXT})


@checks.documented("10", turns=1)
async def another_model(service: Service) -> None:
    """A session of one model refuses another with 409 chat_session_conflict."""
    told = await answered(service)
    others = [
        model["id"]
        for model in await catalogue(service)
        if model["category"] == "chat" and model["api_status"] == "available" and model["id"] != told.get("model")
    ]
    if not others:
        raise CannotTell("there is only one chat model")
    reply = await say(service, model=others[0], session_id=told["session_id"])
    expect_refusal(reply, 409, "chat_session_conflict")


@checks.documented("10", turns=1)
async def a_stream(service: Service) -> None:
    """A streamed answer is text/event-stream."""
    came = (await streaming(service)).headers.get("Content-Type", "")
    expect(came.startswith("text/event-stream"), "text/event-stream", came)


@checks.assumed("14.6", turns=1)
async def the_events(service: Service) -> None:
    """The events are message.started, then message.delta, then message.completed."""
    names = [name for name, _ in await streamed(service)]
    inner = set(names[1:-1])
    came = list(dict.fromkeys(names))
    expect(names and names[0] == "message.started" and names[-1] == "message.completed", "both ends", came)
    expect(inner <= {"message.delta", "message.thought"}, "deltas in between", came)


@checks.assumed("14.6", turns=1)
async def the_deltas(service: Service) -> None:
    """The deltas, put together, are the content of the last event, which is a chat.completion."""
    told = await streamed(service)
    expect(told, "events", told)
    try:
        last = json.loads(told[-1][1])
        deltas = [json.loads(data).get("delta") for name, data in told if name == "message.delta"]
    except ValueError:
        raise AssertionError(f"expected JSON in every event; came {told[-1]}") from None
    expect_members(last, {"object": TEXT, "message": (dict,)})
    expect(last["object"] == "chat.completion", "chat.completion", last["object"])
    expect(all(isinstance(delta, str) for delta in deltas), "deltas that are strings", deltas[:3])
    expect("".join(deltas) == last["message"].get("content"), "the whole text in deltas", deltas[:3])


@checks.documented("10", turns=1)
async def a_picture(service: Service) -> None:
    """An uploaded image may be attached by its file_id."""
    fitting = [
        model
        for model in await catalogue(service)
        if model["category"] == "chat"
        and model["api_status"] == "available"
        and "file" in model.get("supported_api_inputs", ())
    ]
    if not fitting:
        raise CannotTell("no chat model takes files")
    model = min(fitting, key=lambda each: (each["base_credits"], each["id"]))
    file = await picture(service)
    attached = [{"file_id": file.get("id") or file.get("file_id")}]
    reply = await say(service, model=model["id"], attachments=attached)
    expect_success(reply, "an answer")
