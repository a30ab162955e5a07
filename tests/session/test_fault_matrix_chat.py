"""The fault matrix, its columns of chat: what each fault does to an answer that is asked for whole, and to a stream.

Both are purchases, so a cell is that of a submit unless it is named here. A stream differs in what comes after the head
of its answer: then nothing is repeated, and what came of the text is kept.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import pytest

from rivya_async import ChatCompletion, ResponseDecodeError, RivyaError, RivyaSession, StreamInterruptedError, Timeouts
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import ASK, STREAM, Ears, bought_twice, opened, until
from tests.session.test_fault_matrix import AGAIN, ROWS, WELL, Cell, Row, names, stops, told

LIMITS: Final = Timeouts(connect=0.2, read=0.15, total=5.0, chat=5.0)
MODEL: Final = "gpt-5-2-chat"
ASKED: Final = "How do I paint a kite?"

WHOLE_CELLS: Final[dict[str, Cell]] = {
    "missing status": WELL,  # an answer has none
    "missing status, always": WELL,
}
BROKEN_OFF: Final = stops(StreamInterruptedError, bought=1)
NO_STREAM: Final = stops(ResponseDecodeError, bought=1)

STREAM_CELLS: Final[dict[str, Cell]] = {
    "cut after the headers": BROKEN_OFF,
    "cut in mid-body": BROKEN_OFF,
    "cut in mid-body, always": BROKEN_OFF,
    "long Content-Length": WELL,  # all the events are there
    "bad gzip": BROKEN_OFF,
    "unknown status": NO_STREAM,
    "unknown status, always": NO_STREAM,
    "no status but blanks": NO_STREAM,
    "unknown fields": NO_STREAM,
    "only three fields": NO_STREAM,
}

OF_STREAMS: Final = [
    Row("cut after three events", {"stream": "cut", "after_events": 3}, BROKEN_OFF, AGAIN),
    Row("ended after three events", {"stream": "end", "after_events": 3}, BROKEN_OFF, AGAIN),
    Row("no final event", {"stream": "end"}, BROKEN_OFF, AGAIN),
    Row("stalled", {"stream": "stall", "after_events": 3}, BROKEN_OFF, AGAIN),
    Row("an error event", {"stream": "error", "after_events": 3}, BROKEN_OFF, AGAIN),
    Row("an error event at once", {"stream": "error", "after_events": 0}, BROKEN_OFF, AGAIN),
    *(
        Row(f"shape {shape}", {"shape": shape}, WELL, AGAIN)
        for shape in ("delta.content", "delta.text", "content", "text", "unnamed", "done", "done only")
    ),
]
"""Faults that only a stream can have; the cell of polls is of no meaning."""


async def whole(session: RivyaSession, **options: Any) -> ChatCompletion:
    return await session.chat.completions.create(MODEL, ASKED, **options)


async def streamed(session: RivyaSession, **options: Any) -> ChatCompletion:
    async with session.chat.completions.stream(MODEL, ASKED, **options) as stream:
        async for _ in stream:
            pass
        return stream.completion


@pytest.mark.parametrize("row", ROWS, ids=names)
async def test_whole(sandbox: Sandbox, row: Row) -> None:
    await drive(sandbox, whole, ASK, row, WHOLE_CELLS.get(row.name, row.submit))


@pytest.mark.parametrize("row", ROWS + OF_STREAMS, ids=names)
async def test_stream(sandbox: Sandbox, row: Row) -> None:
    await drive(sandbox, streamed, STREAM, row, STREAM_CELLS.get(row.name, row.submit))


def test_every_cell_that_is_named_has_its_row() -> None:
    assert {*WHOLE_CELLS, *STREAM_CELLS} <= {row.name for row in ROWS}


async def drive(sandbox: Sandbox, ask: Any, route: str, row: Row, cell: Cell) -> None:
    ears = Ears()
    limits = attrs.evolve(LIMITS, chat=0.15) if row.fault.get("delay") else LIMITS
    async with opened(sandbox, timeouts=limits, hooks=[ears]) as session:
        sandbox.faults.add(route=route, **told(row, "task_1"))
        error = await ends_as(ask(session), cell.error)
        (key,) = sandbox.request_log.idempotency_keys
        assert sandbox.request_log.attempts(key) == len(ears.attempts) == cell.requests
        await until(lambda: not sandbox.request_log.in_flight)
        assert sandbox.request_log.purchases == cell.bought
        if error is not None:
            assert error.idempotency_key == key
            # With the key of the error the very same answer is bought, or found to be bought.
            sandbox.faults.clear()
            answer = await ask(session, idempotency_key=error.idempotency_key)
            assert sandbox.request_log.purchases == 1
            if isinstance(error, StreamInterruptedError):
                assert answer.text.startswith(error.text)
                assert error.session_id in {None, answer.session_id}
    assert not bought_twice(sandbox)


async def ends_as(call: Any, kind: type[RivyaError] | None) -> RivyaError | None:
    if kind is None:
        assert isinstance(await call, ChatCompletion)
        return None
    with pytest.raises(RivyaError) as raised:
        await call
    assert type(raised.value) is kind, repr(raised.value)
    assert str(raised.value)
    return raised.value
