"""Chat turns under spending caps, over real sockets: whole, streamed, interrupted, abandoned."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from rivya_async import (
    BadRequestError,
    InsufficientCreditsError,
    OutcomeUnknownError,
    PurchaseCost,
    RequestNotSentError,
    RivyaSession,
    SpendLimitError,
    StreamInterruptedError,
)
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import CHAT, FAST, MODELS, STREAM, open_session

MODEL: Final = "gpt-5-2-chat"
PRICES: Final = {MODEL: 3}
WHOLE: Final = "/api/v1/chat/completions"
STREAMED: Final = f"{WHOLE}/stream"


async def ask(session: RivyaSession, way: str, message: str = "A kite", **options: Any) -> None:
    """Buys one turn, whole or streamed."""
    if way == CHAT:
        await session.chat.completions.create(MODEL, message, **options)
        return
    async with session.chat.completions.stream(MODEL, message, **options) as stream:
        async for _ in stream:
            pass


ways = pytest.mark.parametrize("way", [CHAT, STREAM])


@ways
async def test_records_cost_of_turn(sandbox: Sandbox, session: RivyaSession, way: str) -> None:
    await ask(session, way, idempotency_key="turn-1")
    cost = session.spend["turn-1"]
    assert (cost.reserved, cost.path) == (3, WHOLE if way == CHAT else STREAMED)
    assert (cost.task_id or "").startswith("chatcmpl_")
    assert session.spend.total == session.spend.final == cost.final == 1_000_000 - sandbox.credits
    assert sandbox.request_log.count(MODELS) == 0


@ways
async def test_turn_over_cap_is_not_sent(sandbox: Sandbox, way: str) -> None:
    async with open_session(sandbox, max_spend=3, prices=PRICES) as session:
        await ask(session, way)
        assert session.spend.final == 1
        with pytest.raises(SpendLimitError, match="max_spend=3") as raised:
            await ask(session, way, idempotency_key="turn-2")
        assert (raised.value.price, raised.value.idempotency_key) == (3, "turn-2")
        assert sandbox.request_log.count(way) == sandbox.request_log.purchases == 1


@ways
async def test_concurrent_turns_stay_under_cap(way: str) -> None:
    async with Sandbox(speed=FAST) as sandbox, open_session(sandbox, max_reserved=9, prices=PRICES) as session:
        turns = await asyncio.gather(*(ask(session, way, f"{n}") for n in range(100)), return_exceptions=True)
        assert sum(turn is None for turn in turns) == sandbox.request_log.count(way) == 3
        assert session.spend.reserved == 0
        await ask(session, way)


@ways
async def test_jobs_and_turns_share_cap(sandbox: Sandbox, way: str) -> None:
    async with open_session(sandbox, max_spend=3, prices=PRICES) as session:
        await session.submit("z-image", "A kite", idempotency_key="order-1")
        with pytest.raises(SpendLimitError):
            await ask(session, way, idempotency_key="order-1")  # elsewhere, so another purchase
        assert sandbox.request_log.count(way) == 0


@ways
async def test_unknown_price_needs_prices(sandbox: Sandbox, way: str) -> None:
    async with open_session(sandbox, max_spend=10) as session:
        with pytest.raises(SpendLimitError, match=r"prices={'gpt-5-2-chat'"):
            await ask(session, way)
        assert sandbox.request_log.count(way) == session.spend.total == 0


@ways
async def test_rejection_costs_nothing(sandbox: Sandbox, way: str) -> None:
    sandbox.faults.add(route=way, times=1, status=402, code="insufficient_credits")
    async with open_session(sandbox, max_spend=3, prices=PRICES) as session:
        with pytest.raises(InsufficientCreditsError):
            await ask(session, way)
        with pytest.raises(BadRequestError):
            await ask(session, way, "x" * 20_001)
        assert (session.spend.total, dict(session.spend)) == (0, {})


@ways
async def test_ambiguous_turn_counts_until_resolved(sandbox: Sandbox, way: str) -> None:
    sandbox.faults.add(route=way, times=5, drop=True, act=True)
    async with open_session(sandbox, max_spend=3, prices=PRICES) as session:
        with pytest.raises(OutcomeUnknownError):
            await ask(session, way, idempotency_key="turn-1")
        assert session.spend["turn-1"].task_id is None
        assert session.spend.reserved == 3
        with pytest.raises(SpendLimitError):
            await ask(session, way)
        sandbox.faults.clear()
        await ask(session, way, idempotency_key="turn-1")
        assert session.spend.total == session.spend["turn-1"].final == 1_000_000 - sandbox.credits


async def test_interrupted_stream_keeps_price(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=STREAM, times=1, stream="cut", after_events=3)
    async with open_session(sandbox, max_spend=10, prices=PRICES) as session:
        with pytest.raises(StreamInterruptedError):
            await ask(session, STREAM, idempotency_key="turn-1")
        assert dict(session.spend) == {"turn-1": PurchaseCost(3, path=STREAMED)}
        await ask(session, STREAM, idempotency_key="turn-1")
        assert session.spend.reserved == 0


@pytest.mark.parametrize("error", [None, BadRequestError("of another call"), asyncio.CancelledError()], ids=repr)
async def test_abandoned_stream_keeps_price(sandbox: Sandbox, error: BaseException | None) -> None:
    async with open_session(sandbox, max_spend=10, prices=PRICES) as session:
        try:
            async with session.chat.completions.stream(MODEL, "A kite", idempotency_key="turn-1") as stream:
                assert (session.spend.reserved, dict(session.spend)) == (3, {})
                await anext(stream)
                if error is not None:
                    raise error
        except (BadRequestError, asyncio.CancelledError):
            pass
        assert dict(session.spend) == {"turn-1": PurchaseCost(3, path=STREAMED)}
        assert session.spend.reserved == 3


async def test_records_cost_at_final_event(session: RivyaSession) -> None:
    async with session.chat.completions.stream(MODEL, "A kite", idempotency_key="turn-1") as stream:
        async for _ in stream:
            pass
        assert stream.completion.credits is not None
        assert session.spend["turn-1"].final == stream.completion.credits.final
    assert len(session.spend) == 1


@ways
async def test_unreadable_catalogue_sends_nothing(sandbox: Sandbox, session: RivyaSession, way: str) -> None:
    sandbox.faults.add(route=MODELS, status=500)
    with pytest.raises(RequestNotSentError, match="catalogue could not be read") as raised:
        await ask(session, way, idempotency_key="turn-1", check=True)
    assert raised.value.idempotency_key == "turn-1"
    assert sandbox.request_log.count(way) == 0


async def test_interruption_counts_attempts(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=STREAM, times=2, status=503)
    sandbox.faults.add(route=STREAM, stream="cut", after_events=3)
    with pytest.raises(StreamInterruptedError) as raised:
        await ask(session, STREAM)
    assert raised.value.attempts == sandbox.request_log.count(STREAM) == 3
