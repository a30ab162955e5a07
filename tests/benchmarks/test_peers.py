"""The benchmark beside other SDKs, as far as it needs none of them: the server, our own contenders, the tables."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from benchmarks.peers import bare, hand_written, ours, tables
from benchmarks.peers.books import Books, Seen, Tally
from benchmarks.peers.contender import CONTENDERS, OURS, YARDSTICK, prompt
from benchmarks.peers.dialects import DIALECTS
from benchmarks.peers.environment import ROOT, environment
from benchmarks.peers.one_run import Work, run
from benchmarks.peers.runs import Conditions, Run, Told
from benchmarks.peers.server import Connection, Service


@asynccontextmanager
async def serving(dialect: str = "rivya", *, faults: bool = False) -> AsyncIterator[tuple[Service, str]]:
    service = Service()
    service.begin(dialect, polls=3, faults=faults)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), "127.0.0.1", 0)
    try:
        yield service, "http://{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        await server.wait_closed()


# --- books ------------------------------------------------------------------------------------------------------------


def test_a_job_ends_at_its_nth_poll() -> None:
    books = Books(polls=3, faults=False)
    task, _ = books.submit(7, key=None)
    assert [books.poll(task) for _ in range(4)] == [Seen.WAITING, Seen.WAITING, Seen.ENDED, Seen.ENDED]
    assert books.poll(task + 1) is Seen.UNKNOWN
    assert books.ended == 1


def test_the_same_key_buys_once_and_no_key_buys_twice() -> None:
    books = Books(polls=1, faults=False)
    assert books.submit(1, key=b"a") == books.submit(1, key=b"a")
    assert books.submit(2, key=None) != books.submit(2, key=None)
    tally = books.tally()
    assert (tally.submits, tally.purchases, tally.bought_twice, tally.keyed) == (4, 3, 1, 2)


def test_faults_strike_their_share_and_the_same_orders_every_time() -> None:
    def struck() -> tuple[list[int], int]:
        books = Books(polls=2, faults=True)
        lost = [order for order in range(10_000) if books.submit(order, key=None)[1]]
        return lost, sum(books.poll(task) is Seen.UNAVAILABLE for task in range(10_000))

    lost, unavailable = struck()
    assert (lost, unavailable) == struck()
    assert 400 < len(lost) < 600
    assert 400 < unavailable < 600


def test_a_poll_that_met_a_fault_does_not_count() -> None:
    books = Books(polls=2, faults=True)
    for order in range(200):
        task, _ = books.submit(order, key=None)
        while books.poll(task) is not Seen.ENDED:
            pass
    tally = books.tally()
    assert tally.unavailable > 0
    assert (tally.fewest, tally.most) == (2, 2)


# --- server -----------------------------------------------------------------------------------------------------------

WIRE = {
    "rivya": ("GET", "/api/v1/generations/{id}", "id", ["processing", "processing", "succeeded"]),
    "replicate": ("GET", "/v1/predictions/{id}", "id", ["processing", "processing", "succeeded"]),
    "runway": ("GET", "/v1/tasks/{id}", "id", ["RUNNING", "RUNNING", "SUCCEEDED"]),
    "openai": ("GET", "/v1/responses/{id}", "id", ["in_progress", "in_progress", "completed"]),
    "fal": (
        "GET",
        "/fal-ai/flux/requests/{id}/status?logs=False",
        "request_id",
        ["IN_PROGRESS", "IN_PROGRESS", "COMPLETED"],
    ),
    "google": ("POST", "/publishers/google/models/veo:fetchPredictOperation", "name", [False, False, True]),
}


@pytest.mark.parametrize("dialect", WIRE)
async def test_the_server_speaks_like_each_service(dialect: str) -> None:
    method, path, name, states = WIRE[dialect]
    async with serving(dialect) as (service, url), aiohttp.ClientSession(url) as http:
        async with http.post("/anything", json={"input": prompt(5)}) as response:
            job = await response.json()
        assert "task_00000000" in job[name]
        seen = []
        for _ in range(3):
            async with http.request(method, path.format(id=job[name]), json={"operationName": job[name]}) as response:
                body = await response.json()
            seen.append(body["done"] if dialect == "google" else body["status"])
        assert seen == states
        assert service.books.tally() == Tally(
            requests=4,
            submits=1,
            purchases=1,
            bought_twice=0,
            keyed=0,
            dropped=0,
            unavailable=0,
            polls=3,
            fewest=3,
            most=3,
            ended=1,
        )


def test_there_is_a_wire_test_for_every_service_and_a_service_for_every_contender() -> None:
    assert set(WIRE) == set(DIALECTS) == {contender.dialect for contender in CONTENDERS.values()}


async def test_the_result_of_fal_is_a_request_of_its_own_and_no_poll() -> None:
    async with serving("fal") as (service, url), aiohttp.ClientSession(url) as http:
        await (await http.post("/fal-ai/flux", json={"prompt": prompt(1)})).read()
        result = await (await http.get("/fal-ai/flux/requests/task_00000000")).json()
        assert "task_00000000" in result["images"][0]["url"]
        assert (service.books.tally().requests, service.books.tally().polls) == (2, 0)


async def test_a_lost_answer_is_a_purchase_all_the_same() -> None:
    async with serving(faults=True) as (service, url), aiohttp.ClientSession(url) as http:
        for order in range(60):
            if not service.books.tally().dropped:
                try:
                    await (await http.post("/api/v1/generations", json={"prompt": prompt(order)})).read()
                except aiohttp.ServerDisconnectedError:
                    assert service.books.purchases == order + 1
        assert service.books.tally().dropped == 1


async def test_the_server_is_told_and_tells_over_http() -> None:
    async with serving() as (_, url), aiohttp.ClientSession(url) as http:
        await (await http.get("/begin?dialect=openai&polls=2&faults=0")).read()
        response = await (await http.post("/v1/responses", json={"input": prompt(1)})).json()
        assert response["object"] == "response"
        assert await (await http.get("/progress")).json() == {"purchases": 1, "ended": 0}
        assert (await (await http.get("/tally")).json())["requests"] == 1
        assert (await http.get("/nowhere")).status == 404


# --- our own contenders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "at_once"), [(bare, 5), (hand_written, None), (ours, None)])
async def test_contenders_of_ours_bring_every_job_home_with_equal_polls(
    module: object, at_once: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as (service, url):
        monkeypatch.setenv("RIVYA_BASE_URL", url)
        monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_benchmark")
        async with module.opened("") as generate:  # type: ignore[attr-defined]
            succeeded, raised = await run(generate, Work(jobs=20, interval=0.01, limit=30), at_once)
        tally = service.books.tally()
    assert (succeeded, raised) == (20, {})
    assert (tally.purchases, tally.fewest, tally.most, tally.ended) == (20, 3, 3, 20)


async def test_this_sdk_loses_nothing_and_buys_nothing_twice_under_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    from rivya_async import RetryPolicy, RivyaSession

    async with serving(faults=True) as (service, url):
        async with RivyaSession("rvya_sk_benchmark", base_url=url, retry=RetryPolicy(base=0.001)) as session:
            monkeypatch.setattr(ours, "RivyaSession", lambda: session)
            async with ours.opened("") as generate:
                succeeded, raised = await run(generate, Work(jobs=60, interval=0.01, limit=30), None)
        tally = service.books.tally()
    assert (succeeded, raised) == (60, {})
    assert (tally.purchases, tally.bought_twice) == (60, 0)
    assert tally.dropped > 0
    assert tally.unavailable > 0


async def test_what_is_raised_is_counted_and_what_does_not_end_is_left() -> None:
    async def generate(order: int, _interval: float) -> None:
        if order == 0:
            raise ValueError
        if order == 1:
            await asyncio.Event().wait()

    assert await run(generate, Work(jobs=5, interval=1, limit=0.05), None) == (3, {"ValueError": 1})


def test_contenders_learn_the_address_from_their_environment_variables() -> None:
    assert CONTENDERS["openai (httpx2)"].told_where("127.0.0.1:1", certificate=None) == {
        "OPENAI_API_KEY": "sk-benchmark",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    }
    assert CONTENDERS["fal-client (httpx)"].told_where("127.0.0.1:1", certificate="/x.pem") == {
        "FAL_KEY": "benchmark",
        "FAL_QUEUE_RUN_HOST": "127.0.0.1:1",
        "SSL_CERT_FILE": "/x.pem",
    }


# --- environment and tables -------------------------------------------------------------------------------------------


def test_the_environment_is_outside_the_repository_and_sees_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    made = environment()
    assert made.folder.is_relative_to(tmp_path)
    assert not made.folder.is_relative_to(ROOT)
    variables = made.variables({"FAL_KEY": "benchmark"})
    assert variables["PYTHONPATH"] == str(ROOT)
    assert variables["FAL_KEY"] == "benchmark"
    assert "HTTPS_PROXY" not in variables


def tally_of(**changed: int) -> Tally:
    plain = {"requests": 400, "submits": 100, "purchases": 100, "bought_twice": 0, "keyed": 0, "dropped": 0}
    return Tally(**{**plain, "unavailable": 0, "polls": 300, "fewest": 3, "most": 3, "ended": 100, **changed})


def run_of(name: str, *, cpu: float = 0.04, succeeded: int = 100, raised: int = 0, **changed: int) -> Run:
    told = Told(cpu, 2.0, succeeded, {"PoolTimeout": raised} if raised else {}, before_kib=40_000, peak_kib=50_000)
    return Run(CONTENDERS[name], Work(100, 0.25, 65), Conditions(3), tally_of(**changed), told, open_kib=250)


def test_costs_are_ratios_to_the_yardstick() -> None:
    text = tables.costs([run_of(YARDSTICK), run_of(OURS, cpu=0.1), run_of("replicate (httpx)", cpu=0.4)])
    rows = {line[:24].strip(): line[24:].split() for line in text.splitlines()[3:]}
    assert rows[YARDSTICK][:2] == ["100", "1.00"]
    assert rows[OURS] == ["250", "2.50", "1,000", "4.00", "2.5", "3", "100", "2.0"]
    assert rows["replicate (httpx)"][1] == "10.00"
    assert "jobs done in" not in text


def test_a_run_that_did_not_bring_all_jobs_home_is_told_as_such() -> None:
    partly = run_of("replicate (httpx)", succeeded=70, raised=20, fewest=0)
    text = tables.costs([run_of(YARDSTICK), partly])
    assert (
        "replicate (httpx): 70 of 100 jobs done in 2 s (limit 65 s), 10 still waiting, raised: 20 PoolTimeout" in text
    )
    assert "0 to 3" in text


def test_a_client_that_said_nothing_is_judged_by_the_server() -> None:
    silent = Run(CONTENDERS["openai (httpx2)"], Work(100, 0.25, 65), Conditions(3), tally_of(ended=5), None, None)
    assert (silent.succeeded, silent.raised, silent.never_ended, silent.us_per_request) == (5, 0, 95, None)
    assert "openai (httpx2): 5 of 100 jobs done in 65 s" in tables.costs([silent])


def test_faults_show_what_was_lost_and_what_was_paid_in_vain() -> None:
    text = tables.faults([run_of("openai (httpx2)", succeeded=97, raised=2, purchases=104, bought_twice=4)])
    assert text.splitlines()[-1].split()[-8:] == ["97", "2", "1", "4", "7", "no", "0", "0"]
