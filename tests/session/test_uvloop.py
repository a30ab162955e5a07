"""Purchase, wait and download on uvloop."""

from __future__ import annotations

import asyncio

import pytest

from rivya_async import PollPolicy, RivyaSession
from rivya_async.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("each_transport")


def test_buys_waits_and_downloads(tmp_path: object) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with (
            Sandbox(speed=200) as sandbox,
            RivyaSession(
                sandbox.api_key, base_url=sandbox.base_url, poll=PollPolicy(first=0.005, floor=0.005)
            ) as session,
        ):
            jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {n}") for n in range(50)))
            assert {job.status for job in jobs} == {"succeeded"}
            assert sandbox.request_log.purchases == 50
            (path,) = await session.download(jobs[0], str(tmp_path))
            assert path.stat().st_size > 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
