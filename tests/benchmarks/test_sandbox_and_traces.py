"""The benchmarks `sandbox` and `traces`: complete measurements only, and counts that match the listed files."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from benchmarks import sandbox, traces

ROOT = Path(__file__).parents[2]


async def test_traces_counts_the_files_that_it_lists() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "benchmarks", "traces", "--files"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    _, _, table, *lists = out.decode().split("\n\n")
    assert len(lists) == len(traces.CALLS)
    for call, files in zip(traces.CALLS, lists, strict=True):
        name, *paths = files.splitlines()
        assert name == call.name
        count = re.search(rf"^\| {re.escape(call.name)} +\| +(\d+) \| +{call.max_files} \|$", table, re.MULTILINE)
        assert count is not None, table
        assert int(count[1]) == len(paths) > 5
        assert not [path for path in paths if not (traces.PACKAGE / path.strip()).is_file()]
        assert not [path for path in paths if path.strip().startswith(traces.EXCLUDED)]
    assert "resources/generation_methods.py" in lists[0]
    assert [call.name for call in traces.CALLS if "receiver/" in lists[traces.CALLS.index(call)]] == [
        "webhook event until the waiter returns"
    ]


async def test_sandbox_measures_both_servers() -> None:
    costs = await sandbox._measure(rounds=1, requests=200)
    assert list(costs) == list(sandbox.SERVERS)
    assert all(cost > 0 for cost in costs.values())


async def test_sandbox_rejects_error_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "API_KEY", "rvya_sk_another")
    async with sandbox._run_server("sandbox") as server:
        with pytest.raises(RuntimeError, match="api_key_invalid"):
            await sandbox._send_requests(server.port, 1)
