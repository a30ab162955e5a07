"""Checked and capped purchases over real sockets. A rejected purchase sends nothing."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import pytest

from rivya_async import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    File,
    GenerationRequest,
    InsufficientCreditsError,
    InvalidRequestError,
    OutcomeUnknownError,
    PurchaseCost,
    ReferenceMedia,
    RequestNotSentError,
    RivyaError,
    RivyaSession,
    SessionClosedError,
    SpendLimitError,
    SubmitTimeoutError,
)
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import POLL, SLOW, SUBMIT, open_session

MODELS = "GET /api/v1/models"

HUGE = File("file_1", "https://x/1.png", "image", mime_type="image/png", size_bytes=10**8)

SLIPS: list[tuple[GenerationRequest, str]] = [
    (GenerationRequest("z-image"), "prompt"),
    (GenerationRequest("z-image", "x" * 1001), "prompt"),
    (GenerationRequest("z-image", "A kite", params={"aspect_ratio": "16:8"}), "params.aspect_ratio"),
    (GenerationRequest("kling-2-6", "A kite", params={"duration": 7}), "params.duration"),
    (GenerationRequest("seedream-3-0", "A kite", params={"guidance_scale": 11}), "params.guidance_scale"),
    (GenerationRequest("elevenlabs-turbo-2-5", "Hello"), "params.voice"),
    (GenerationRequest("elevenlabs-dialogue-v3", params={"dialogue": []}), "params.dialogue"),
    (GenerationRequest("z-image", "A kite", references=[ReferenceMedia("u", "image")]), "references"),
    (GenerationRequest("wan-2-6", "A kite", references=[ReferenceMedia("u", "video")]), "references[0]"),
    (GenerationRequest("qwen-image", "A kite", references=[HUGE]), "references[0]"),
    (GenerationRequest("gpt-5-2-chat", "Hello"), "model"),
    (GenerationRequest("z-imag", "A kite"), "model"),
]


# --- check ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slip", "where"), SLIPS, ids=lambda value: getattr(value, "model", value))
async def test_check_agrees_with_service(
    sandbox: Sandbox, session: RivyaSession, slip: GenerationRequest, where: str
) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        await session.submit(slip, idempotency_key="order-1", check=True)
    assert sandbox.request_log.count(SUBMIT) == 0
    assert [problem.where for problem in raised.value.problems] == [where]
    assert raised.value.idempotency_key == "order-1"
    with pytest.raises(BadRequestError) as refused:
        await session.submit(slip, idempotency_key="order-1")
    assert (refused.value.status, refused.value.code) == (400, "validation_failed")


@pytest.mark.parametrize(
    "job",
    [
        GenerationRequest("kling-2-6", "A kite", params={"duration": 5, "sound": False}),
        GenerationRequest("seedream-4-0", "A kite", params={"max_images": "2", "nsfw_checker": True}),
        GenerationRequest("elevenlabs-dialogue-v3", params={"dialogue": [{"voice": "Adam", "text": "Hi."}]}),
        GenerationRequest("wan-2-2-animate-replace", params={"video_url": "https://x/1.mp4"}),
    ],
    ids=lambda job: job.model,
)
async def test_checked_job_is_bought(sandbox: Sandbox, session: RivyaSession, job: GenerationRequest) -> None:
    bought = await session.submit(job, check=True)
    assert bought.reserved_credits == (await session.models.retrieve(job.model)).base_credits
    assert sandbox.request_log.purchases == 1


async def test_every_purchase_method_checks(sandbox: Sandbox, session: RivyaSession) -> None:
    slip: dict[str, Any] = {"params": {"aspect_ratoi": "1:1"}, "check": True}
    for buy in (session.submit, session.generate, session.generations.create):
        with pytest.raises(InvalidRequestError, match="did you mean 'aspect_ratio'") as raised:
            await buy("z-image", "A kite", **slip)
        assert raised.value.idempotency_key
    outcomes = [
        outcome
        async for outcome in session.map(
            [GenerationRequest("z-image", "A kite"), GenerationRequest("z-image")], ordered=True, check=True
        )
    ]
    assert [outcome.ok for outcome in outcomes] == [True, False]
    assert isinstance(outcomes[1].error, InvalidRequestError)
    assert sandbox.request_log.count(SUBMIT) == 1
    assert sandbox.request_log.count(MODELS) == 1


async def test_invalid_job_uploads_nothing(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    pictures = [tmp_path / "1.png", tmp_path / "2.png"]
    for number, picture in enumerate(pictures):
        picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([number]) * 100)
    with pytest.raises(InvalidRequestError, match="at most 1 reference, not 2"):
        await session.submit("qwen-image", "A kite", references=pictures, check=True)
    assert sandbox.request_log.count() == sandbox.request_log.count(MODELS) == 1
    await session.submit("qwen-image", "A kite", references=pictures[:1], check=True)
    assert sandbox.request_log.purchases == 1


async def test_unknown_model_suggests_closest(sandbox: Sandbox, session: RivyaSession) -> None:
    with pytest.raises(InvalidRequestError, match="did you mean 'kling-3-0'") as raised:
        await session.submit("kling-3.0", "A kite", check=True)
    assert raised.value.problems[0].nearest[0] == "kling-3-0"
    assert pickle.loads(pickle.dumps(raised.value)).problems == raised.value.problems


async def test_unchecked_job_does_not_read_catalogue(sandbox: Sandbox, session: RivyaSession) -> None:
    await session.submit("z-image", "A kite", params={"unknown": 1})
    assert sandbox.request_log.count(MODELS) == 0


async def test_unreadable_catalogue_buys_nothing(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=MODELS, status=500)
    with pytest.raises(RequestNotSentError, match="catalogue could not be read") as raised:
        await session.submit("z-image", "A kite", idempotency_key="order-1", check=True)
    assert raised.value.idempotency_key == "order-1"
    assert isinstance(raised.value.__cause__, APIStatusError)
    assert sandbox.request_log.count(SUBMIT) == 0
    assert session.spend.total == 0


@pytest.mark.parametrize(("caps", "options"), [({}, {"check": True}), ({"max_spend": 5}, {})], ids=["check", "cap"])
async def test_timeout_includes_catalogue(sandbox: Sandbox, caps: dict[str, Any], options: dict[str, Any]) -> None:
    sandbox.faults.add(route=MODELS, delay=1.0)
    async with open_session(sandbox, **caps) as session:
        with pytest.raises(SubmitTimeoutError, match="deadline passed while the catalogue was read") as raised:
            await session.generate("z-image", "A kite", timeout=0.05, idempotency_key="order-1", **options)
        assert raised.value.idempotency_key == "order-1"
        assert sandbox.request_log.count(SUBMIT) == session.spend.total == 0


async def test_closed_session_raises_before_check(sandbox: Sandbox) -> None:
    session = open_session(sandbox, max_spend=5)
    await session.aclose()
    with pytest.raises(SessionClosedError, match="closed"):
        await session.submit("z-image", "A kite", check=True)


# --- the caps ---------------------------------------------------------------------------------------------------------


async def test_ten_thousand_submits_stay_under_cap() -> None:
    async with Sandbox(speed=SLOW) as sandbox, open_session(sandbox, max_spend=700) as session:
        outcomes = await asyncio.gather(
            *(session.submit("ideogram-v3", f"Kite number {n}") for n in range(10_000)), return_exceptions=True
        )
        assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 100
        assert all(isinstance(each, SpendLimitError) for each in outcomes if isinstance(each, BaseException))
        assert all(each.idempotency_key for each in outcomes if isinstance(each, SpendLimitError))
        assert sandbox.request_log.count(SUBMIT) == sandbox.request_log.purchases == 100
        assert (session.spend.total, session.spend.reserved) == (700, 700)
        assert sandbox.credits == 1_000_000 - 700
        assert sandbox.request_log.count(MODELS) == 1


async def test_cap_holds_under_faults(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=SUBMIT, rate=0.2, drop=True, act=True)
    sandbox.faults.add(route=SUBMIT, rate=0.2, status=429)
    async with open_session(sandbox, max_spend=60) as session:
        await asyncio.gather(*(session.generate("z-image", f"{n}") for n in range(300)), return_exceptions=True)
        bought = 1_000_000 - sandbox.credits
        assert 0 < bought <= session.spend.total <= 60


async def test_failed_jobs_release_credits(sandbox: Sandbox) -> None:
    async with open_session(sandbox, max_spend=1) as session:
        job = await session.submit("z-image", "A kite [fail]", idempotency_key="order-1")
        with pytest.raises(SpendLimitError) as raised:
            await session.submit("z-image", "A whale")
        assert (raised.value.limit, raised.value.counted, raised.value.price) == (1, 1, 1)
        await session.wait_for(job, raise_on_failure=False)
        assert session.spend["order-1"] == PurchaseCost(1, 0, job.id)
        assert (await session.generate("z-image", "A whale")).succeeded
        assert session.spend.total == session.spend.final == 1
        assert sandbox.request_log.purchases == 2


async def test_ended_jobs_release_reserved_credits(sandbox: Sandbox) -> None:
    async with open_session(sandbox, max_reserved=2) as session:
        for n in range(4):
            await session.generate("z-image", f"{n}")
        first, _ = [await session.submit("z-image", f"{n}") for n in range(2)]
        with pytest.raises(SpendLimitError, match="max_reserved"):
            await session.submit("z-image", "one too many")
        await session.wait_for(first)
        await session.submit("z-image", "now there is room")


async def test_same_key_counts_once(sandbox: Sandbox) -> None:
    async with open_session(sandbox, max_spend=1) as session:
        buys = [session.submit("z-image", "A kite", idempotency_key="order-1") for _ in range(20)]
        ends = await asyncio.gather(*buys, return_exceptions=True)
        assert not any(isinstance(end, SpendLimitError) for end in ends)
        await session.submit("z-image", "A kite", idempotency_key="order-1")
        assert session.spend.total == sandbox.request_log.purchases == 1


@pytest.mark.parametrize(
    ("fault", "kind", "counted"),
    [
        ({"status": 402, "code": "insufficient_credits"}, InsufficientCreditsError, 0),
        ({"status": 400, "code": "validation_failed"}, BadRequestError, 0),
        ({"status": 401, "code": "api_key_revoked"}, AuthenticationError, 0),
        ({"status": 429}, RivyaError, 0),
        ({"drop": True}, OutcomeUnknownError, 1),
        ({"drop": True, "act": True}, OutcomeUnknownError, 1),
        ({"status": 500}, RivyaError, 1),
        ({"truncate": 5, "act": True}, RivyaError, 1),
    ],
    ids=str,
)
async def test_ambiguous_error_keeps_price(
    sandbox: Sandbox, fault: dict[str, Any], kind: type[RivyaError], counted: int
) -> None:
    sandbox.faults.add(route=SUBMIT, times=5, **fault)
    async with open_session(sandbox, max_spend=10) as session:
        with pytest.raises(kind):
            await session.submit("z-image", "A kite", idempotency_key="order-1")
        assert session.spend.total == counted
        assert dict(session.spend) == ({"order-1": PurchaseCost(1)} if counted else {})
        sandbox.faults.clear()
        job = await session.submit("z-image", "A kite", idempotency_key="order-1")
        assert dict(session.spend) == {"order-1": PurchaseCost(1, None, job.id)}


async def test_unusable_session_reserves_nothing(sandbox: Sandbox) -> None:
    async with RivyaSession(base_url=sandbox.base_url, max_spend=1) as keyless:
        with pytest.raises(ConfigurationError, match="RIVYA_API_KEY"):
            await keyless.submit("z-image", "A kite")
        assert keyless.spend.total == 0


async def test_cancelled_purchase_counts(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=SUBMIT, delay=0.2)
    async with open_session(sandbox, max_spend=5) as session:
        buying = asyncio.create_task(session.submit("z-image", "A kite", idempotency_key="order-1"))
        await asyncio.sleep(0.05)
        buying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await buying
        assert dict(session.spend) == {"order-1": PurchaseCost(1)}


async def test_unknown_price_needs_prices(sandbox: Sandbox) -> None:
    job = GenerationRequest("elevenlabs-sound-effect-v2", "A door", idempotency_key="order-1")
    async with open_session(sandbox, max_spend=10) as session:
        with pytest.raises(SpendLimitError, match=r"prices={'elevenlabs-sound-effect-v2'") as raised:
            await session.submit(job)
        assert (raised.value.price, raised.value.idempotency_key) == (None, "order-1")
        assert sandbox.request_log.count(SUBMIT) == 0
    async with open_session(sandbox, max_spend=10, prices={"elevenlabs-sound-effect-v2": 8}) as session:
        await session.submit(job)
        assert session.spend.total == 3  # the record knows better
        with pytest.raises(SpendLimitError):
            await session.submit("elevenlabs-sound-effect-v2", "Another door")
        assert sandbox.request_log.count(MODELS) == 1  # of the first session


@pytest.mark.parametrize(
    "wrong", [{"max_spend": -1}, {"max_reserved": "5"}, {"max_spend": float("nan")}, {"prices": {"z-image": None}}]
)
def test_rejects_invalid_caps(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RivyaSession(**wrong)


# --- the book ---------------------------------------------------------------------------------------------------------


async def test_every_wait_settles_cost(sandbox: Sandbox, session: RivyaSession) -> None:
    spend = session.spend
    await session.generate("z-image", "A kite", idempotency_key="generate")
    await session.generate("z-image", "A kite", idempotency_key="update", on_update=lambda _: None)
    job = await session.submit("z-image", "A kite", idempotency_key="wait")
    await session.wait_for(job.id)
    job = await session.submit("z-image", "A kite", idempotency_key="watch")
    assert [each async for each in session.watch(job)][-1].succeeded
    jobs = [await session.submit("z-image", "A kite", idempotency_key=f"as_completed-{n}") for n in range(3)]
    assert len([each async for each in session.as_completed(jobs)]) == 3
    requests = [GenerationRequest("z-image", "A kite", idempotency_key=f"map-{n}") for n in range(3)]
    assert len([each async for each in session.map(requests)]) == 3
    job = await session.submit("z-image", "A kite", idempotency_key="retrieve")
    while not (await session.generations.retrieve(job.id)).is_terminal:  # noqa: ASYNC110 - this is about reading
        await asyncio.sleep(0.005)
    assert {cost.final for cost in spend.values()} == {1}
    assert len(spend) == spend.final == spend.total == 11
    assert spend.reserved == 0


async def test_failing_listener_does_not_lose_cost(session: RivyaSession) -> None:
    def fails(generation: Any) -> None:
        if generation.is_terminal:
            raise ValueError("a fault of the listener")

    with pytest.raises(ValueError, match="listener"):
        await session.generate("z-image", "A kite", on_update=fails, idempotency_key="order-1")
    assert session.spend["order-1"].final == 1


async def test_abandoned_loop_settles_seen_jobs(sandbox: Sandbox, session: RivyaSession) -> None:
    jobs = [await session.submit("z-image", "A kite") for _ in range(3)]
    async for _ in session.as_completed(jobs):
        break
    assert session.spend.final >= 1
    assert session.spend.total == 3
    assert sandbox.request_log.count(POLL) >= 1


async def test_spend_summary_is_read_only(session: RivyaSession) -> None:
    await session.generate("z-image", "A kite", idempotency_key="order-1")
    assert "order-1" in repr(dict(session.spend))
    assert session.spend.get("order-2") is None
    with pytest.raises(TypeError):
        session.spend["order-1"] = 0  # type: ignore[index] # pyright: ignore[reportIndexIssue]
    with pytest.raises(AttributeError):
        session.spend.final = 0  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
