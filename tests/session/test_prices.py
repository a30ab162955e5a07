"""Learned prices of a session at the sandbox, which prices params by factors of its own: estimates, caps and dumps."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rivya_async import GenerationRequest, Model, PriceEstimate, RivyaSession, SpendLimitError
from rivya_async._core.catalogue.price_params import is_price_param
from rivya_async.catalogue import models
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import SUBMIT, open_session

JOBS_PER_MODEL = 24
REQUIRED: dict[str, dict[str, Any]] = {
    "elevenlabs-dialogue-v3": {"dialogue": [{"voice": "Adam", "text": "Hello."}]},
    "sora-watermark-remover": {"video_url": "https://files.example/video.mp4", "upload_method": "s3"},
}
MEDIA = [model for model in models().values() if not model.is_chat and model.is_available]


def random_job(rng: random.Random, model: Model) -> GenerationRequest:
    """Returns a valid job with random values of selects, and of numbers that change the price."""
    params: dict[str, Any] = dict(REQUIRED.get(model.id, {}))
    for param in model.params:
        if param.key in params or (not param.required and rng.random() < 0.4):
            continue
        if param.type == "select" and param.choices:
            params[param.key] = rng.choice(param.choices)
        elif param.type == "number" and is_price_param(param.key) and param.min is not None and param.max is not None:
            params[param.key] = rng.choice([param.min, param.max, rng.randint(round(param.min), int(param.max))])
    return GenerationRequest(model.id, "A red kite" * rng.randint(1, 3), params=model.coerce(params))


@pytest.mark.parametrize("model", MEDIA, ids=lambda model: model.id)
async def test_cap_holds_for_random_jobs(model: Model) -> None:
    rng = random.Random(model.id)
    async with Sandbox(speed=1e5) as sandbox:
        jobs = [random_job(rng, model) for _ in range(JOBS_PER_MODEL)]
        async with open_session(sandbox) as teacher:
            for job in jobs[: JOBS_PER_MODEL // 3]:
                await teacher.submit(job)
            learned = teacher.prices.dump()
        before = sandbox.credits
        cap = 4 * int(model.base_credits or 1)
        async with open_session(sandbox, max_spend=cap) as session:
            session.prices.load(learned)
            refused = 0
            for job in jobs:
                estimate = (await session.models.retrieve(model.id)).estimate_credits(job.prompt, job.params)
                try:
                    bought = await session.submit(job)
                except SpendLimitError:
                    refused += 1
                    continue
                assert estimate.max_credits is not None
                assert bought.reserved_credits <= estimate.max_credits
                assert (
                    estimate.credits is None
                    or estimate.kind != "lower_bound"
                    or estimate.credits <= bought.reserved_credits
                )
                assert before - sandbox.credits == session.spend.total <= cap
            assert sandbox.request_log.count(SUBMIT) == sandbox.request_log.purchases
            assert refused


@pytest.mark.parametrize("model", MEDIA, ids=lambda model: model.id)
async def test_estimate_is_exact_after_ten_purchases(model: Model) -> None:
    rng = random.Random(model.id)
    async with Sandbox(speed=1e5) as sandbox, open_session(sandbox) as session:
        jobs = [random_job(rng, model) for _ in range(10)]
        prices = [(await session.submit(job)).reserved_credits for job in jobs]
        live = await session.models.retrieve(model.id)
        for job, price in zip(jobs, prices, strict=True):
            estimate = live.estimate_credits(job.prompt, job.params)
            assert (estimate.credits, estimate.max_credits, estimate.kind) == (price, price, "learned")


async def test_session_without_a_cap_does_not_read_the_catalogue(sandbox: Sandbox, session: RivyaSession) -> None:
    await session.generate("ideogram-v3", "A red kite", params={"rendering_speed": "QUALITY"})
    assert sandbox.request_log.count("GET /api/v1/models") == 0
    (price,) = session.prices.dump()["models"]["ideogram-v3"]["prices"]
    assert (price["params"], price["credits"]) == ({"rendering_speed": "quality"}, [11, 11, 11])


async def test_refusal_says_how_to_go_on(sandbox: Sandbox) -> None:
    job = GenerationRequest("ideogram-v3", "A red kite", params={"rendering_speed": "QUALITY"})
    async with open_session(sandbox, max_spend=30) as session:
        with pytest.raises(SpendLimitError, match=r"at least 7 credits .*rendering_speed=quality.*prices=") as raised:
            await session.submit(job)
        assert raised.value.price is None
        assert sandbox.request_log.count(SUBMIT) == session.spend.total == 0
        cheap = await session.submit("ideogram-v3", "A red kite", params={"rendering_speed": "TURBO"})
        assert cheap.reserved_credits == session.spend.total == 4
    async with open_session(sandbox, max_spend=30, prices={"ideogram-v3": 15}) as session:
        assert (await session.submit(job)).reserved_credits == 11
        estimate = (await session.models.retrieve("ideogram-v3")).estimate_credits(job.prompt, job.params)
        assert estimate == PriceEstimate(
            11, "learned", "reserved credits of earlier jobs with these params; prices= states at most 15 credits", 15
        )


async def test_turns_of_a_chat_are_learned(sandbox: Sandbox, session: RivyaSession) -> None:
    await session.chat.completions.create("gpt-5-2-chat", "Hello, and good morning")
    async with session.chat.completions.stream("gpt-5-2-chat", "Hello again, and good morning") as stream:
        async for _ in stream:
            pass
    async with open_session(sandbox, max_spend=3) as capped:
        with pytest.raises(SpendLimitError):
            await capped.chat.completions.create("gpt-5-2-chat", "Hello")
        capped.prices.load(session.prices.dump())
        answer = await capped.chat.completions.create("gpt-5-2-chat", "Hello")
        assert answer.credits is not None
        assert answer.credits.reserved == 3


async def test_views_share_prices(session: RivyaSession) -> None:
    view = session.with_options()
    await view.submit("ideogram-v3", "A red kite", params={"rendering_speed": "QUALITY"})
    model = await session.models.retrieve("ideogram-v3")
    assert model.estimate_credits("x", {"rendering_speed": "QUALITY"}).kind == "learned"
    assert view.prices is session.prices
