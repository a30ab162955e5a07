"""Generations. With --spend, the checks share one generation from its creation to its end."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from rivya_async import PriceEstimate

from .account_checks import fetch_balance
from .checks import (
    ARRAY,
    INTEGER,
    NULLABLE_OBJECT,
    NUMBER,
    STRING,
    CheckGroup,
    expect,
    expect_error,
    expect_fields,
    expect_success,
)
from .model_checks import find_cheapest_model, find_priced_model, post_with_cheapest_model
from .service import Inconclusive, Response, Service

checks = CheckGroup("generations")

FIELDS: Final = {
    "id": STRING,
    "status": STRING,
    "model": STRING,
    "reserved_credits": INTEGER,
    "final_credits": INTEGER,
    "created_at": STRING,
    "updated_at": STRING,
    "result": NULLABLE_OBJECT,
    "error": NULLABLE_OBJECT,
}

PROMPT: Final = "A red kite"
GENERATION_TIMEOUT: Final = 180.0
"""Seconds to wait for the shared generation."""


async def create_generation(service: Service, key: str | None = None, **body: Any) -> Response:
    """Creates a generation with the cheapest image model; `body` overrides the defaults."""
    return await post_with_cheapest_model(service, "image", "/generations", key, {"prompt": PROMPT, **body})


async def create_generation_once(service: Service) -> Response:
    """Creates the generation that all checks of a run share."""
    response: Response = await service.run_once("generation", lambda: create_generation(service, "generation"))
    expect_success(response, "a generation")
    expect_fields(response.json, {"id": STRING})
    return response


async def wait_for_generation_once(service: Service) -> dict[str, Any]:
    """Waits for the end of the shared generation."""

    async def poll() -> dict[str, Any]:
        task_id = (await create_generation_once(service)).json["id"]
        try:
            async with asyncio.timeout(GENERATION_TIMEOUT):
                while True:
                    polled: dict[str, Any] = (await service.request("GET", f"/generations/{task_id}")).json
                    expect_fields(polled, FIELDS)
                    if polled["status"] in {"succeeded", "failed"}:
                        return polled
                    await asyncio.sleep(service.poll_interval)
        except TimeoutError:
            raise Inconclusive(f"generation {task_id} was still running after {GENERATION_TIMEOUT:g} s") from None

    generation: dict[str, Any] = await service.run_once("ended generation", poll)
    return generation


@checks.documented("7")
async def unknown_generation(service: Service) -> None:
    """An unknown task id returns 404 not_found."""
    expect_error(await service.request("GET", "/generations/task_contractnone"), 404, "not_found")


@checks.documented("3")
async def unknown_model(service: Service) -> None:
    """A generation request with an unknown model returns 400 validation_failed."""
    expect_error(await create_generation(service, model="no-such-model"), 400, "validation_failed")


@checks.inferred("6")
async def chat_model(service: Service) -> None:
    """A generation request with a chat model returns 400 validation_failed."""
    model = await find_cheapest_model(service, "chat")
    expect_error(await create_generation(service, model=model["id"]), 400, "validation_failed")


@checks.documented("6", max_images=1)
async def created_generation_fields(service: Service) -> None:
    """A generation request returns the queued generation with all of its fields."""
    generation = (await create_generation_once(service)).json
    expect_fields(generation, FIELDS)
    expect(
        (generation["status"], generation["result"], generation["error"]) == ("queued", None, None),
        "a queued generation",
        generation,
    )


@checks.assumed("14.13", max_images=1)
async def create_returns_200(service: Service) -> None:
    """A generation request returns 200."""
    actual = (await create_generation_once(service)).status
    expect(actual == 200, "200", actual)


@checks.assumed("14.21", max_images=1)
async def reserved_credits(service: Service) -> None:
    """A FIXED model reserves its base_credits."""
    model, generation = await find_cheapest_model(service, "image"), (await create_generation_once(service)).json
    expect_fields(generation, FIELDS)
    expect(
        generation["reserved_credits"] == model["base_credits"],
        str(model["base_credits"]),
        generation["reserved_credits"],
    )


async def _reserved_and_estimate(service: Service, *, is_changed: bool) -> tuple[float, PriceEstimate]:
    """Buys an image with a param at its default or another value. Returns its reserved credits and the estimate."""
    model, param, value = await find_priced_model(service)
    params = {param: value} if is_changed else {}
    response = await create_generation(service, f"priced {is_changed}", model=model.id, params=params)
    expect_success(response, f"a generation of {model.id}")
    expect_fields(response.json, {"reserved_credits": NUMBER})
    return response.json["reserved_credits"], model.estimate_credits(PROMPT, params)


@checks.assumed("14.21", max_priced_images=1)
async def price_of_default_settings(service: Service) -> None:
    """A FIXED model with a param such as quality reserves its base_credits if the param is left out."""
    reserved, estimate = await _reserved_and_estimate(service, is_changed=False)
    expect(estimate.kind == "exact" and reserved == estimate.credits, str(estimate), reserved)


@checks.assumed("14.21", max_priced_images=1)
async def price_of_changed_param(service: Service) -> None:
    """Another value of such a param costs at least the estimate of the client, which is a lower bound."""
    reserved, estimate = await _reserved_and_estimate(service, is_changed=True)
    expect(estimate.kind == "lower_bound" and reserved >= (estimate.credits or 0), str(estimate), reserved)


@checks.documented("4", max_images=2)
async def repeated_idempotency_key(service: Service) -> None:
    """The same Idempotency-Key with the same body returns the same generation without a second purchase."""
    first = (await create_generation_once(service)).json
    repeated = await create_generation(service, "generation")
    expect_success(repeated, "the stored response")
    expect(repeated.json.get("id") == first["id"], first["id"], repeated.json.get("id"))


@checks.documented("4", max_images=2)
async def idempotency_conflict(service: Service) -> None:
    """The same Idempotency-Key with another body returns 409 idempotency_conflict."""
    await create_generation_once(service)
    expect_error(
        await create_generation(service, "generation", prompt=f"{PROMPT} and a blue one"), 409, "idempotency_conflict"
    )


@checks.documented("7", max_images=1)
async def succeeded_result(service: Service) -> None:
    """A succeeded generation has its URLs, with the first as primary_url."""
    generation = await wait_for_generation_once(service)
    if generation["status"] != "succeeded":
        raise Inconclusive(f"the generation ended as {generation['status']}")
    expect_fields(generation["result"], {"primary_url": STRING, "urls": ARRAY})
    expect(
        generation["result"]["urls"][:1] == [generation["result"]["primary_url"]],
        "primary_url first in urls",
        generation["result"],
    )


@checks.assumed("14.21", max_images=1)
async def final_credits(service: Service) -> None:
    """A succeeded generation costs the reserved credits; a failed one costs nothing."""
    generation = await wait_for_generation_once(service)
    expected = generation["reserved_credits"] if generation["status"] == "succeeded" else 0
    expect(generation["final_credits"] == expected, str(expected), generation["final_credits"])


@checks.assumed("14.22", max_images=1)
async def result_url_without_key(service: Service) -> None:
    """A result URL needs no key."""
    generation = await wait_for_generation_once(service)
    if generation["status"] != "succeeded":
        raise Inconclusive(f"the generation ended as {generation['status']}")
    actual = (await service.transport.fetch(generation["result"]["primary_url"])).status
    expect(actual == 200, "200", actual)


@checks.documented("6", max_images=1)
async def top_level_files(service: Service) -> None:
    """A top-level field "files" is rejected."""
    expect_error(await create_generation(service, files=[]), 400, "validation_failed")


@checks.documented("6", max_images=1)
async def missing_prompt(service: Service) -> None:
    """A generation request without a prompt returns 400 validation_failed."""
    expect_error(await create_generation(service, prompt=None), 400, "validation_failed")


@checks.documented("6", max_images=1)
async def long_prompt(service: Service) -> None:
    """A prompt over max_prompt_length returns 400 validation_failed."""
    longest = (await find_cheapest_model(service, "image"))["max_prompt_length"]
    if longest is None:
        raise Inconclusive("the cheapest image model has no max_prompt_length")
    expect_error(await create_generation(service, prompt="x" * (longest + 1)), 400, "validation_failed")


@checks.assumed("14.17", max_images=1)
async def unknown_select_option(service: Service) -> None:
    """A select value outside of its options returns 400 validation_failed."""
    model = await find_cheapest_model(service, "image")
    selects = [param["key"] for param in model["params"] if param.get("type") == "select"]
    if not selects:
        raise Inconclusive("the cheapest image model has no select")
    expect_error(await create_generation(service, params={selects[0]: "no such option"}), 400, "validation_failed")


@checks.assumed("14.16", max_images=1)
async def long_client_request_id(service: Service) -> None:
    """A client_request_id of 129 characters returns 400 validation_failed."""
    expect_error(await create_generation(service, client_request_id="x" * 129), 400, "validation_failed")


@checks.assumed("14.17", max_images=1)
async def unknown_param(service: Service) -> None:
    """An unknown key of params is ignored, and the balance is reduced immediately."""
    before = await fetch_balance(service)
    response = await create_generation(service, params={"no_such_param": "x"})
    expect_success(response, "a generation")
    after = await fetch_balance(service)
    expect(
        before - after == response.json["reserved_credits"], f"{response.json['reserved_credits']} less", before - after
    )
