"""Chat completions and chat sessions. With --spend, the checks share one completion and one stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from .checks import (
    ARRAY,
    NUMBER,
    OBJECT,
    STRING,
    CheckGroup,
    expect,
    expect_error,
    expect_fields,
    expect_list,
    expect_success,
)
from .file_checks import upload_image_once
from .model_checks import fetch_catalogue, find_cheapest_model, post_with_cheapest_model
from .service import Inconclusive, Response, Service

checks = CheckGroup("chat")

SESSION_FIELDS: Final = {
    "id": STRING,
    "object": STRING,
    "model": STRING,
    "title": STRING,
    "created_at": STRING,
    "updated_at": STRING,
}
MESSAGE: Final = "Say yes."


async def send_message(service: Service, path: str = "", key: str | None = None, **body: Any) -> Response:
    """Sends one message to the cheapest chat model; `body` overrides the defaults."""
    return await post_with_cheapest_model(
        service, "chat", f"/chat/completions{path}", key, {"message": MESSAGE, **body}
    )


async def complete_once(service: Service) -> dict[str, Any]:
    """Returns the completion that all checks of a run share."""
    response: Response = await service.run_once("turn", lambda: send_message(service, key="turn"))
    expect_success(response, "a completion")
    expect_fields(response.json, {"id": STRING, "session_id": STRING})
    completion: dict[str, Any] = response.json
    return completion


def parse_events(raw: bytes) -> Iterator[tuple[str, str]]:
    """Yields the name and data of each server-sent event."""
    for block in raw.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        fields = [line.partition(":") for line in block.split("\n") if line and not line.startswith(":")]
        data = "\n".join(value.removeprefix(" ") for name, _, value in fields if name == "data")
        if data:
            yield next((value.strip() for name, _, value in fields if name == "event"), ""), data


async def stream_once(service: Service) -> Response:
    """Returns the streamed completion that all checks of a run share."""
    response: Response = await service.run_once("streamed turn", lambda: send_message(service, "/stream", key="stream"))
    expect_success(response, "a stream")
    return response


async def stream_events_once(service: Service) -> list[tuple[str, str]]:
    """Returns the events of the streamed completion."""
    return list(parse_events((await stream_once(service)).raw))


@checks.documented("10")
async def unknown_model(service: Service) -> None:
    """A message to an unknown model returns 400 chat_model_not_supported."""
    expect_error(await send_message(service, model="no-such-model"), 400, "chat_model_not_supported")


@checks.documented("10")
async def media_model(service: Service) -> None:
    """A message to an image model returns 400 chat_model_not_supported."""
    model = await find_cheapest_model(service, "image")
    expect_error(await send_message(service, model=model["id"]), 400, "chat_model_not_supported")


@checks.assumed("14.8")
async def session_list(service: Service) -> None:
    """Chat sessions are a list, newest first, each with the assumed fields."""
    found = expect_list((await service.request("GET", "/chat/sessions")).json, SESSION_FIELDS)
    actual = [each.get("created_at") for each in found]
    expect(actual == sorted(actual, reverse=True), "newest first", actual[:3])


@checks.assumed("14.5")
async def session_limit(service: Service) -> None:
    """A limit of 0 returns 400 validation_failed."""
    expect_error(await service.request("GET", "/chat/sessions?limit=0"), 400, "validation_failed")


@checks.assumed("14.8")
async def unknown_session(service: Service) -> None:
    """A chat session that does not exist returns 404 not_found."""
    expect_error(await service.request("GET", "/chat/sessions/ses_contractnone"), 404, "not_found")


@checks.documented("10", max_chat_turns=1)
async def raw_messages(service: Service) -> None:
    """A raw array of messages is rejected."""
    response = await send_message(service, messages=[{"role": "user", "content": MESSAGE}])
    expect_error(response, 400, "validation_failed")


@checks.documented("10", max_chat_turns=1)
async def missing_message(service: Service) -> None:
    """A turn without a message returns 400 validation_failed."""
    expect_error(await send_message(service, message=None), 400, "validation_failed")


@checks.documented("3", max_chat_turns=1)
async def unknown_attachment(service: Service) -> None:
    """An attachment that is not an uploaded image returns 400 chat_attachment_not_supported."""
    response = await send_message(service, attachments=[{"file_id": "file_contractnone"}])
    expect_error(response, 400, "chat_attachment_not_supported")


@checks.documented("3", max_chat_turns=1)
async def foreign_session(service: Service) -> None:
    """A message to a session of another account returns 409 chat_session_conflict."""
    expect_error(await send_message(service, session_id="ses_contractnone"), 409, "chat_session_conflict")


@checks.documented("10", max_chat_turns=1)
async def completion_fields(service: Service) -> None:
    """A completion has its message, token usage and credits."""
    completion = await complete_once(service)
    expect_fields(
        completion, {"object": STRING, "model": STRING, "created_at": STRING, "message": OBJECT, "credits": OBJECT}
    )
    expect(completion["object"] == "chat.completion", "chat.completion", completion["object"])
    expect_fields(completion["message"], {"id": STRING, "role": STRING, "content": STRING})
    expect_fields(completion.get("usage"), {"input_tokens": NUMBER, "output_tokens": NUMBER, "total_tokens": NUMBER})
    expect_fields(completion["credits"], {"reserved": NUMBER, "final": NUMBER})


@checks.assumed("14.21", max_chat_turns=1)
async def turn_credits(service: Service) -> None:
    """A turn reserves base_credits of its model and costs between 1 and that amount."""
    model, completion = await find_cheapest_model(service, "chat"), await complete_once(service)
    expect_fields(completion, {"credits": OBJECT})
    reserved, final = completion["credits"].get("reserved"), completion["credits"].get("final")
    expect(reserved == model["base_credits"], f"{model['base_credits']} reserved", reserved)
    expect(1 <= final <= reserved, f"from 1 to {reserved}", final)


@checks.assumed("14.8", max_chat_turns=1)
async def session_messages(service: Service) -> None:
    """A retrieved session has its messages, the question first."""
    completion = await complete_once(service)
    response = await service.request("GET", f"/chat/sessions/{completion['session_id']}")
    expect_fields(response.json, {**SESSION_FIELDS, "messages": ARRAY})
    actual = [each.get("role") for each in response.json["messages"]]
    expect(actual == ["user", "assistant"], "a user and an assistant message", actual)
    expect_fields(response.json["messages"][0], {"id": STRING, "role": STRING, "content": STRING, "created_at": STRING})


@checks.documented("10", max_chat_turns=1)
async def model_mismatch(service: Service) -> None:
    """A message to a session with another model returns 409 chat_session_conflict."""
    completion = await complete_once(service)
    others = [
        model["id"]
        for model in await fetch_catalogue(service)
        if model["category"] == "chat" and model["api_status"] == "available" and model["id"] != completion.get("model")
    ]
    if not others:
        raise Inconclusive("there is only one chat model")
    response = await send_message(service, model=others[0], session_id=completion["session_id"])
    expect_error(response, 409, "chat_session_conflict")


@checks.documented("10", max_chat_turns=1)
async def stream_content_type(service: Service) -> None:
    """A streamed completion is text/event-stream."""
    actual = (await stream_once(service)).headers.get("Content-Type", "")
    expect(actual.startswith("text/event-stream"), "text/event-stream", actual)


@checks.assumed("14.6", max_chat_turns=1)
async def stream_events(service: Service) -> None:
    """The stream events are message.started, then message.delta, then message.completed."""
    names = [name for name, _ in await stream_events_once(service)]
    inner = set(names[1:-1])
    actual = list(dict.fromkeys(names))
    expect(names and names[0] == "message.started" and names[-1] == "message.completed", "both ends", actual)
    expect(inner <= {"message.delta", "message.thought"}, "deltas in between", actual)


@checks.assumed("14.6", max_chat_turns=1)
async def stream_deltas(service: Service) -> None:
    """The concatenated deltas equal the content of the last event, which is a chat.completion."""
    events = await stream_events_once(service)
    expect(events, "events", events)
    try:
        last = json.loads(events[-1][1])
        deltas = [json.loads(data).get("delta") for name, data in events if name == "message.delta"]
    except ValueError:
        raise AssertionError(f"expected JSON in every event; got {events[-1]}") from None
    expect_fields(last, {"object": STRING, "message": OBJECT})
    expect(last["object"] == "chat.completion", "chat.completion", last["object"])
    expect(all(isinstance(delta, str) for delta in deltas), "deltas that are strings", deltas[:3])
    expect("".join(deltas) == last["message"].get("content"), "the whole text in deltas", deltas[:3])


@checks.documented("10", max_chat_turns=1)
async def image_attachment(service: Service) -> None:
    """An uploaded image can be attachments by its file_id."""
    candidates = [
        model
        for model in await fetch_catalogue(service)
        if model["category"] == "chat"
        and model["api_status"] == "available"
        and "file" in model.get("supported_api_inputs", ())
    ]
    if not candidates:
        raise Inconclusive("no chat model accepts files")
    model = min(candidates, key=lambda each: (each["base_credits"], each["id"]))
    file = await upload_image_once(service)
    attachments = [{"file_id": file.get("id") or file.get("file_id")}]
    response = await send_message(service, model=model["id"], attachments=attachments)
    expect_success(response, "a completion")
