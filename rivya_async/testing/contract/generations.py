"""Jobs: what is refused, and, with leave to spend, one job from its order to its end."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from .balance import balance
from .check import LIST, MAYBE_OBJECT, TEXT, WHOLE, Checks, expect, expect_members
from .errors import expect_refusal, expect_success
from .models import ask_cheapest, cheapest
from .service import CannotTell, Reply, Service

checks = Checks()

MEMBERS: Final = {
    "id": TEXT,
    "status": TEXT,
    "model": TEXT,
    "reserved_credits": WHOLE,
    "final_credits": WHOLE,
    "created_at": TEXT,
    "updated_at": TEXT,
    "result": MAYBE_OBJECT,
    "error": MAYBE_OBJECT,
}

PROMPT: Final = "A red kite"
PATIENCE: Final = 180.0
"""Seconds that the one job may take."""


async def order(service: Service, key: str | None = None, **body: Any) -> Reply:
    """An order for the cheapest image; the members of `body` go before ours."""
    return await ask_cheapest(service, "image", "/generations", key, {"prompt": PROMPT, **body})


async def ordered(service: Service) -> Reply:
    """The one job of this run, as it was ordered."""
    reply: Reply = await service.shared("job", lambda: order(service, "job"))
    expect_success(reply, "a job")
    expect_members(reply.json, {"id": TEXT})
    return reply


async def ended(service: Service) -> dict[str, Any]:
    """The one job of this run, when it has ended."""

    async def waited() -> dict[str, Any]:
        task_id = (await ordered(service)).json["id"]
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    seen: dict[str, Any] = (await service.ask("GET", f"/generations/{task_id}")).json
                    expect_members(seen, MEMBERS)
                    if seen["status"] in {"succeeded", "failed"}:
                        return seen
                    await asyncio.sleep(service.pause)
        except TimeoutError:
            raise CannotTell(f"job {task_id} was open after {PATIENCE:g} s") from None

    job: dict[str, Any] = await service.shared("ended job", waited)
    return job


@checks.documented("7")
async def an_unknown_job(service: Service) -> None:
    """A job that does not exist is 404 not_found."""
    expect_refusal(await service.ask("GET", "/generations/task_contractnone"), 404, "not_found")


@checks.documented("3")
async def an_unknown_model(service: Service) -> None:
    """An order for an unknown model is 400 validation_failed."""
    expect_refusal(await order(service, model="no-such-model"), 400, "validation_failed")


@checks.inferred("6")
async def a_chat_model(service: Service) -> None:
    """An order for a chat model is 400 validation_failed."""
    model = await cheapest(service, "chat")
    expect_refusal(await order(service, model=model["id"]), 400, "validation_failed")


@checks.documented("6", images=1)
async def the_order(service: Service) -> None:
    """An order answers the generation, queued, with all of its members."""
    job = (await ordered(service)).json
    expect_members(job, MEMBERS)
    expect((job["status"], job["result"], job["error"]) == ("queued", None, None), "a queued job", job)


@checks.assumed("14.13", images=1)
async def the_order_is_200(service: Service) -> None:
    """An order succeeds with 200."""
    came = (await ordered(service)).status
    expect(came == 200, "200", came)


@checks.assumed("14.21", images=1)
async def the_price(service: Service) -> None:
    """What is reserved for a FIXED model is its base_credits."""
    model, job = await cheapest(service, "image"), (await ordered(service)).json
    expect_members(job, MEMBERS)
    expect(job["reserved_credits"] == model["base_credits"], str(model["base_credits"]), job["reserved_credits"])


@checks.assumed("14.15", images=2)
async def the_same_key_again(service: Service) -> None:
    """The same Idempotency-Key with the same body answers the same job, and buys nothing."""
    first = (await ordered(service)).json
    again = await order(service, "job")
    expect_success(again, "the stored answer")
    expect(again.json.get("id") == first["id"], first["id"], again.json.get("id"))


@checks.assumed("14.15", images=2)
async def the_same_key_with_another_body(service: Service) -> None:
    """The same Idempotency-Key with another body is 409 idempotency_conflict."""
    await ordered(service)
    expect_refusal(await order(service, "job", prompt=f"{PROMPT} and a blue one"), 409, "idempotency_conflict")


@checks.documented("7", images=1)
async def the_end(service: Service) -> None:
    """A job that succeeded has its links, the first of them as primary_url."""
    job = await ended(service)
    if job["status"] != "succeeded":
        raise CannotTell(f"the job ended as {job['status']}")
    expect_members(job["result"], {"primary_url": TEXT, "urls": LIST})
    expect(job["result"]["urls"][:1] == [job["result"]["primary_url"]], "primary_url first in urls", job["result"])


@checks.assumed("14.21", images=1)
async def the_final_price(service: Service) -> None:
    """A job that succeeded costs what was reserved; one that failed costs nothing."""
    job = await ended(service)
    expected = job["reserved_credits"] if job["status"] == "succeeded" else 0
    expect(job["final_credits"] == expected, str(expected), job["final_credits"])


@checks.assumed("14.22", images=1)
async def the_link(service: Service) -> None:
    """A link of a result needs no key."""
    job = await ended(service)
    if job["status"] != "succeeded":
        raise CannotTell(f"the job ended as {job['status']}")
    came = (await service.wire.fetch(job["result"]["primary_url"])).status
    expect(came == 200, "200", came)


@checks.documented("6", images=1)
async def files_at_the_top(service: Service) -> None:
    """A member files at the top of an order is refused."""
    expect_refusal(await order(service, files=[]), 400, "validation_failed")


@checks.documented("6", images=1)
async def no_prompt(service: Service) -> None:
    """An order without a prompt is 400 validation_failed."""
    expect_refusal(await order(service, prompt=None), 400, "validation_failed")


@checks.documented("6", images=1)
async def a_long_prompt(service: Service) -> None:
    """A prompt over max_prompt_length is 400 validation_failed."""
    longest = (await cheapest(service, "image"))["max_prompt_length"]
    if longest is None:
        raise CannotTell("the cheapest image model has no max_prompt_length")
    expect_refusal(await order(service, prompt="x" * (longest + 1)), 400, "validation_failed")


@checks.assumed("14.17", images=1)
async def an_unknown_option(service: Service) -> None:
    """A select value that is none of its options is 400 validation_failed."""
    model = await cheapest(service, "image")
    selects = [param["key"] for param in model["params"] if param.get("type") == "select"]
    if not selects:
        raise CannotTell("the cheapest image model has no select")
    expect_refusal(await order(service, params={selects[0]: "no such option"}), 400, "validation_failed")


@checks.assumed("14.16", images=1)
async def a_long_trace_id(service: Service) -> None:
    """A client_request_id of 129 characters is 400 validation_failed."""
    expect_refusal(await order(service, client_request_id="x" * 129), 400, "validation_failed")


@checks.assumed("14.17", images=1)
async def an_unknown_param(service: Service) -> None:
    """An unknown key of params is passed over, and credits leave the balance at once."""
    before = await balance(service)
    reply = await order(service, params={"no_such_param": "x"})
    expect_success(reply, "a job")
    after = await balance(service)
    expect(before - after == reply.json["reserved_credits"], f"{reply.json['reserved_credits']} less", before - after)
