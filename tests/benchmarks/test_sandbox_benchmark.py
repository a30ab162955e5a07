"""The benchmark `sandbox` measures both servers and counts complete responses only."""

from __future__ import annotations

import pytest

from benchmarks import sandbox


async def test_measures_both_servers() -> None:
    costs = await sandbox._measure(rounds=1, requests=200)
    assert list(costs) == list(sandbox.SERVERS)
    assert all(cost > 0 for cost in costs.values())


async def test_error_response_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "API_KEY", "rvya_sk_another")
    async with sandbox._run_server("sandbox") as server:
        with pytest.raises(RuntimeError, match="api_key_invalid"):
            await sandbox._send_requests(server.port, 1)
