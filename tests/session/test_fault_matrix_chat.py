"""The fault matrix, chat: the effect of each fault on `create` and on `stream`.

Both are purchases, so a cell equals that of a submit unless it is named here. A stream is not retried after the headers
of its response; the received text is kept.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import pytest

from rivya_async import ChatCompletion, OutcomeUnknownError, RivyaError, RivyaSession, StreamInterruptedError, Timeouts
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import CHAT, STREAM, RecordingHooks, duplicate_purchases, open_session, wait_until
from tests.session.test_fault_matrix import RETRIED, ROWS, SUCCESS, Cell, Row, fault_options, gives_up, row_name, stops

pytestmark = pytest.mark.usefixtures("each_transport")

LIMITS: Final = Timeouts(connect=0.2, read=0.15, total=5.0, chat=5.0)
MODEL: Final = "gpt-5-2-chat"
ASKED: Final = "How do I paint a kite?"

WHOLE_CELLS: Final[dict[str, Cell]] = {
    "missing status": SUCCESS,  # an answer has none
    "missing status, always": SUCCESS,
}
BROKEN_OFF: Final = stops(StreamInterruptedError, bought=1)
NO_STREAM: Final = gives_up(OutcomeUnknownError, bought=1)

STREAM_CELLS: Final[dict[str, Cell]] = {
    "cut after the headers": BROKEN_OFF,
    "cut in mid-body": BROKEN_OFF,
    "cut in mid-body, always": BROKEN_OFF,
    "long Content-Length": SUCCESS,  # all the events are there
    "bad gzip": BROKEN_OFF,
    "unknown status": RETRIED,
    "unknown status, always": NO_STREAM,
    "no status but blanks": RETRIED,
    "unknown fields": NO_STREAM,
    "only three fields": NO_STREAM,
}

OF_STREAMS: Final = [
    Row("cut after three events", {"stream": "cut", "after_events": 3}, BROKEN_OFF, RETRIED),
    Row("ended after three events", {"stream": "end", "after_events": 3}, BROKEN_OFF, RETRIED),
    Row("no final event", {"stream": "end"}, BROKEN_OFF, RETRIED),
    Row("stalled", {"stream": "stall", "after_events": 3}, BROKEN_OFF, RETRIED),
    Row("an error event", {"stream": "error", "after_events": 3}, BROKEN_OFF, RETRIED),
    Row("an error event at once", {"stream": "error", "after_events": 0}, BROKEN_OFF, RETRIED),
    *(
        Row(f"shape {shape}", {"shape": shape}, SUCCESS, RETRIED)
        for shape in ("delta.content", "delta.text", "content", "text", "unnamed", "done", "done only")
    ),
]
"""Faults of streams only. The cell of polls is unused."""


async def whole(session: RivyaSession, **options: Any) -> ChatCompletion:
    return await session.chat.completions.create(MODEL, ASKED, **options)


async def streamed(session: RivyaSession, **options: Any) -> ChatCompletion:
    async with session.chat.completions.stream(MODEL, ASKED, **options) as stream:
        async for _ in stream:
            pass
        return stream.completion


@pytest.mark.parametrize("row", ROWS, ids=row_name)
async def test_create(sandbox: Sandbox, row: Row) -> None:
    await drive(sandbox, whole, CHAT, row, WHOLE_CELLS.get(row.name, row.submit))


@pytest.mark.parametrize("row", ROWS + OF_STREAMS, ids=row_name)
async def test_stream(sandbox: Sandbox, row: Row) -> None:
    await drive(sandbox, streamed, STREAM, row, STREAM_CELLS.get(row.name, row.submit))


def test_named_cells_have_rows() -> None:
    assert {*WHOLE_CELLS, *STREAM_CELLS} <= {row.name for row in ROWS}


async def drive(sandbox: Sandbox, ask: Any, route: str, row: Row, cell: Cell) -> None:
    hooks = RecordingHooks()
    limits = attrs.evolve(LIMITS, chat=0.15) if row.fault.get("delay") else LIMITS
    async with open_session(sandbox, timeouts=limits, hooks=[hooks]) as session:
        sandbox.faults.add(route=route, **fault_options(row, "task_1"))
        error = await ends_as(ask(session), cell.error)
        (key,) = sandbox.request_log.idempotency_keys
        assert sandbox.request_log.attempts(key) == len(hooks.attempts) == cell.requests
        await wait_until(lambda: not sandbox.request_log.in_flight)
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
    assert not duplicate_purchases(sandbox)


async def ends_as(call: Any, kind: type[RivyaError] | None) -> RivyaError | None:
    if kind is None:
        assert isinstance(await call, ChatCompletion)
        return None
    with pytest.raises(RivyaError) as raised:
        await call
    assert type(raised.value) is kind, repr(raised.value)
    assert str(raised.value)
    return raised.value
