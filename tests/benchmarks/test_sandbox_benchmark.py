"""The benchmark of the sandbox: whatever it counts was answered with a job, and both servers tell their cost."""

from __future__ import annotations

import pytest

from benchmarks import sandbox


async def test_both_servers_are_asked_and_tell_what_it_cost() -> None:
    costs = await sandbox._measured(rounds=1, requests=200)
    assert list(costs) == list(sandbox.SERVERS)
    assert all(cost > 0 for cost in costs.values())


async def test_an_answer_that_is_no_job_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "KEY", "rvya_sk_another")
    async with sandbox._serving("sandbox") as server:
        with pytest.raises(RuntimeError, match="api_key_invalid"):
            await sandbox._ask(server.port, 1)
