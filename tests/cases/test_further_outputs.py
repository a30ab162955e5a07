"""Further members of the classes of cases: outputs that fail, hostile Redis content, texts for a terminal."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from rivya_async import Generation, GenerationRequest, GenerationResult, RivyaSession
from rivya_async.batch import Batch, JobState, Row
from rivya_async.cli.jobs import Job, JobList
from rivya_async.cli.output import Output
from rivya_async.cli.render import format_interrupt_summary, format_job, format_lost_output
from rivya_async.sandbox import Sandbox
from tests.batch.kit import FAST_POLL, FAST_RETRY
from tests.cli.cli_kit import COMMAND, environment
from tests.workers.redis_server import RedisServer
from tests.workers.workers_kit import running_worker, wait_for_result, wait_until

SUBMIT: Final = "POST /api/v1/generations"
QUEUE: Final = "hostile-further"


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=500) as running:
        yield running


# --- (4) a failure of an output affects no job ------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such shell")
@pytest.mark.parametrize(
    ("prefix", "suffix", "codes"),
    [
        ("COLUMNS=0 LINES=0", "", {0}),
        ("COLUMNS=-5 TERM=nonsense", "", {0}),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 PYTHONIOENCODING=ascii", "", {0}),
        ("", "2> >(true)", {0}),
        ("", "| true", {0}),
        ("", "--report /dev/full", {2, 74}),
        ("", "--report no-such-folder/r.html", {2}),
    ],
)
async def test_failed_output_loses_no_row(
    prefix: str, suffix: str, codes: set[int], sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "m.jsonl").write_text('{"model": "z-image", "prompt": "Grüne Drachen \\u202e"}\n' * 3)
    line = f"{prefix} {shlex.join(COMMAND)} batch run m.jsonl -o out {suffix}"
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", line, env=environment(sandbox), cwd=tmp_path, stdout=PIPE, stderr=PIPE
    )
    _, err = await asyncio.wait_for(process.communicate(), 100)
    assert b"Traceback" not in err
    assert process.returncode in codes, err
    expected = 0 if "no-such-folder" in suffix else 3  # it is found before anything is bought
    assert sandbox.request_log.purchases == expected
    assert not expected or len(list((tmp_path / "out").glob("row-*.png"))) == expected


async def test_file_that_cannot_be_moved_into_place_is_saved_later(sandbox: Sandbox, tmp_path: Path) -> None:
    """A folder has the name of the first row's file. The others are saved, and the first one by the next run."""
    obstacle = tmp_path / "out" / "row-000001.png"
    obstacle.mkdir(parents=True)
    rows = [Row(number=n, line=n, model="z-image", prompt=f"Kite {n}") for n in range(1, 4)]
    for states in (["succeeded", "downloaded", "downloaded"], ["downloaded"] * 3):
        async with (
            Batch.open(tmp_path / "kites.journal") as batch,
            RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=FAST_POLL, retry=FAST_RETRY) as session,
        ):
            await batch.add(rows)
            async for _ in batch.run(session, download_to=tmp_path / "out"):
                pass
            assert [record.state async for record in batch.records()] == states
        if obstacle.is_dir():
            obstacle.rmdir()
    assert sandbox.request_log.purchases == 3


# --- (5) hostile content of Redis -------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def client(shared_redis: RedisServer) -> AsyncIterator[Any]:
    redis = Redis.from_url(shared_redis.url)
    await redis.flushall()
    yield redis
    await redis.aclose()


async def put_wrong_types(client: Any, *keys: str) -> None:
    for key in keys:
        await client.delete(f"{{{QUEUE}}}:{key}")
        await client.rpush(f"{{{QUEUE}}}:{key}", b"\xff\x00", "x" * 1_000_000)


@pytest.mark.parametrize(
    "keys", [("job:kite-1", "changes"), ("workers", "dead"), ("durations", "rate"), ("worker:other", "rate:granted:1")]
)
async def test_lists_in_place_of_every_key(
    keys: tuple[str, ...], client: Any, shared_redis: RedisServer, sandbox: Sandbox
) -> None:
    """Another program writes lists of binary and huge values while a job is being bought."""
    sandbox.faults.add(route=SUBMIT, delay=0.3, times=1)
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:
        task = await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1")
        await wait_until(lambda: sandbox.request_log.count(SUBMIT))
        await put_wrong_types(client, *keys)
        assert (await wait_for_result(task))["state"] == "succeeded"
        assert (await wait_for_result(await worker.generate.kiq("z-image", "A whale")))["state"] == "succeeded"
    assert sandbox.request_log.purchases == 2


@pytest.mark.parametrize("pattern", ["*job:*", "*rate*", "*changes*", "*worker*"])
async def test_keys_that_expire_in_mid_flight(
    pattern: str, client: Any, shared_redis: RedisServer, sandbox: Sandbox
) -> None:
    sandbox.faults.add(route=SUBMIT, delay=0.3, times=1)
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:
        task = await worker.generate.kiq("z-image", "A kite", idempotency_key="kite-1")
        await wait_until(lambda: sandbox.request_log.count(SUBMIT))
        for key in await client.keys(pattern):
            await client.pexpire(key, 1)
        result = await wait_for_result(task)
        assert (result["state"], sandbox.request_log.purchases) == ("succeeded", 1)
        (record,) = await worker.store.read(["kite-1"])
        assert record is not None
        assert record.task_id == result["task_id"]


@pytest.mark.parametrize("value", [b"\xff\xfe", b"x" * 1_000_000, b"[]", b"{}", b'{"jobs": {"a": NaN}}', b"null"])
async def test_heartbeats_of_other_programs(
    value: bytes, client: Any, shared_redis: RedisServer, sandbox: Sandbox
) -> None:
    async with running_worker(shared_redis, sandbox, queue=QUEUE) as worker:
        await client.sadd(f"{{{QUEUE}}}:workers", "other", b"\xff\xfe")
        await client.set(f"{{{QUEUE}}}:worker:other", value)
        result = await wait_for_result(await worker.generate.kiq("z-image", "A kite"))
        assert result["state"] == "succeeded"
        await worker.store.list_workers()


# --- (6) texts for a terminal -----------------------------------------------------------------------------------------

EVIL: Final = "\x1b]0;owned\x07\x9b31m\u202e\r\x08\u2028forged: line\nforged: line"
OBEYED: Final = set("\x1b\x07\x9b\u202e\r\x08\u2028")


def hostile_job(error: Exception | None = None) -> Job:
    request = GenerationRequest("z-image", "A kite", idempotency_key="order-1")
    link = f"https://h.example/{EVIL}"
    job = Job(1, request, task_id=f"t{EVIL}", state=JobState.SUBMITTED, error=error)
    job.generation = Generation(
        f"t{EVIL}", f"s{EVIL}", f"m{EVIL}", result=GenerationResult(link, urls=(link,)), extra={EVIL: EVIL}
    )
    job.files = [Path("out/kite.png")]
    return job


@pytest.mark.parametrize("is_json", [False, True])
def test_no_field_of_a_job_reaches_a_terminal(is_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    output, jobs = Output(is_json=is_json), JobList([hostile_job()])
    output.write_result({"a": EVIL}, text="\n".join(format_job(hostile_job())))
    output.write_result({"a": EVIL}, text=format_interrupt_summary(jobs, is_embedded=False))
    output.write_result({"a": EVIL}, text=format_lost_output(jobs, OSError(28, "no space left")))
    output.write_interrupt_summary(jobs)
    output.write_error(ValueError(EVIL), again="rivya wait x")
    output.write_note(EVIL)
    output.write_table(["id"], [[EVIL]])
    shown = "".join(capsys.readouterr())
    assert not set(shown) & OBEYED
    assert not [line for line in shown.splitlines() if line.startswith("forged")]
    output.write_chunk(EVIL)  # the text of a chat keeps its line ends
    output.end_line()
    assert not set(capsys.readouterr().out) & OBEYED
    assert "forged" in shown


COMMANDS: Final = {
    "webhooks": ("GET /api/v1/webhooks", {"data": [{"id": EVIL, "name": EVIL, "url": EVIL, "events": [EVIL]}]}),
    "chat sessions": ("GET /api/v1/chat/sessions", {"data": [{"id": EVIL, "title": EVIL, "model": EVIL}]}),
    "models": (
        "GET /api/v1/models",
        {"data": [{"id": EVIL, "display_name": EVIL, "category": EVIL, "billing_type": EVIL}]},
    ),
    "wait task_1": (
        "GET /api/v1/generations/{task_id}",
        {"id": "task_1", "status": "failed", "model": EVIL, "error": {"code": EVIL, "message": EVIL}},
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_no_record_of_the_service_reaches_a_terminal(command: str, sandbox: Sandbox, tmp_path: Path) -> None:
    route, body = COMMANDS[command]
    sandbox.faults.add(route=route, status=200, body=json.dumps(body))
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *shlex.split(command), env=environment(sandbox), cwd=tmp_path, stdout=PIPE, stderr=PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 100)
    assert b"Traceback" not in err
    assert not set((out + err).decode()) & OBEYED
    assert not [line for line in (out + err).decode().splitlines() if line.startswith("forged")]
