"""The comparison with other SDKs, without these: the server, the local clients and the tables."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from benchmarks.peers import local_clients, tables
from benchmarks.peers.api_responses import API_RESPONSES
from benchmarks.peers.client_process import Workload, run_jobs
from benchmarks.peers.clients import BASELINE, CLIENTS, RIVYA_CLIENT, make_prompt
from benchmarks.peers.environment import ROOT, find_environment
from benchmarks.peers.purchase_log import Counts, PollOutcome, PurchaseLog
from benchmarks.peers.runner import ClientReport, Conditions, Run
from benchmarks.peers.server import Connection, Service


@asynccontextmanager
async def run_server(api: str = "rivya", *, faults: bool = False) -> AsyncIterator[tuple[Service, str]]:
    service = Service()
    service.reset(api, polls=3, faults=faults)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), "127.0.0.1", 0)
    try:
        yield service, "http://{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        await server.wait_closed()


# --- purchase log -----------------------------------------------------------------------------------------------------


def test_job_ends_at_configured_poll() -> None:
    purchase_log = PurchaseLog(polls=3, faults=False)
    task, _ = purchase_log.submit(7, key=None)
    assert [purchase_log.poll(task) for _ in range(4)] == [
        PollOutcome.WAITING,
        PollOutcome.WAITING,
        PollOutcome.ENDED,
        PollOutcome.ENDED,
    ]
    assert purchase_log.poll(task + 1) is PollOutcome.UNKNOWN
    assert purchase_log.ended == 1


def test_same_key_purchases_once() -> None:
    purchase_log = PurchaseLog(polls=1, faults=False)
    assert purchase_log.submit(1, key=b"a") == purchase_log.submit(1, key=b"a")
    assert purchase_log.submit(2, key=None) != purchase_log.submit(2, key=None)
    counts = purchase_log.counts()
    assert (counts.submits, counts.purchases, counts.bought_twice, counts.keyed) == (4, 3, 1, 2)


def test_faults_are_deterministic() -> None:
    def collect_faults() -> tuple[list[int], int]:
        purchase_log = PurchaseLog(polls=2, faults=True)
        lost = [order for order in range(10_000) if purchase_log.submit(order, key=None)[1]]
        return lost, sum(purchase_log.poll(task) is PollOutcome.UNAVAILABLE for task in range(10_000))

    lost, unavailable = collect_faults()
    assert (lost, unavailable) == collect_faults()
    assert 400 < len(lost) < 600
    assert 400 < unavailable < 600


def test_failed_poll_does_not_count() -> None:
    purchase_log = PurchaseLog(polls=2, faults=True)
    for order in range(200):
        task, _ = purchase_log.submit(order, key=None)
        while purchase_log.poll(task) is not PollOutcome.ENDED:
            pass
    counts = purchase_log.counts()
    assert counts.unavailable > 0
    assert (counts.fewest, counts.most) == (2, 2)


# --- server -----------------------------------------------------------------------------------------------------------

SERVICES = {
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


@pytest.mark.parametrize("api", SERVICES)
async def test_server_responds_like_each_service(api: str) -> None:
    method, path, name, states = SERVICES[api]
    async with run_server(api) as (service, url), aiohttp.ClientSession(url) as http:
        async with http.post("/anything", json={"input": make_prompt(5)}) as response:
            job = await response.json()
        assert "task_00000000" in job[name]
        seen = []
        for _ in range(3):
            async with http.request(method, path.format(id=job[name]), json={"operationName": job[name]}) as response:
                body = await response.json()
            seen.append(body["done"] if api == "google" else body["status"])
        assert seen == states
        assert service.purchase_log.counts() == Counts(
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


def test_every_client_has_a_service() -> None:
    assert set(SERVICES) == set(API_RESPONSES) == {client.api for client in CLIENTS.values()}


async def test_fal_result_is_a_separate_request() -> None:
    async with run_server("fal") as (service, url), aiohttp.ClientSession(url) as http:
        await (await http.post("/fal-ai/flux", json={"prompt": make_prompt(1)})).read()
        result = await (await http.get("/fal-ai/flux/requests/task_00000000")).json()
        assert "task_00000000" in result["images"][0]["url"]
        assert (service.purchase_log.counts().requests, service.purchase_log.counts().polls) == (2, 0)


async def test_lost_response_is_a_purchase() -> None:
    async with run_server(faults=True) as (service, url), aiohttp.ClientSession(url) as http:
        for order in range(60):
            if not service.purchase_log.counts().dropped:
                try:
                    await (await http.post("/api/v1/generations", json={"prompt": make_prompt(order)})).read()
                except aiohttp.ServerDisconnectedError:
                    assert service.purchase_log.purchases == order + 1
        assert service.purchase_log.counts().dropped == 1


async def test_server_is_controlled_over_http() -> None:
    async with run_server() as (_, url), aiohttp.ClientSession(url) as http:
        await (await http.get("/reset?api=openai&polls=2&faults=0")).read()
        response = await (await http.post("/v1/responses", json={"input": make_prompt(1)})).json()
        assert response["object"] == "response"
        assert await (await http.get("/progress")).json() == {"purchases": 1, "ended": 0}
        assert (await (await http.get("/tally")).json())["requests"] == 1
        assert (await http.get("/nowhere")).status == 404


# --- local clients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "max_jobs"), [("open_bare_aiohttp", 5), ("open_polling_loop", None), ("open_rivya", None)]
)
async def test_local_clients_complete_all_jobs_with_equal_polls(
    function: str, max_jobs: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_server() as (service, url):
        monkeypatch.setenv("RIVYA_BASE_URL", url)
        monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_benchmark")
        async with getattr(local_clients, function)("") as generate:
            succeeded, raised = await run_jobs(generate, Workload(jobs=20, interval=0.01, limit=30), max_jobs)
        counts = service.purchase_log.counts()
    assert (succeeded, raised) == (20, {})
    assert (counts.purchases, counts.fewest, counts.most, counts.ended) == (20, 3, 3, 20)


async def test_sdk_completes_all_jobs_under_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    from rivya_async import RetryPolicy, RivyaSession

    async with run_server(faults=True) as (service, url):
        async with RivyaSession("rvya_sk_benchmark", base_url=url, retry=RetryPolicy(base=0.001)) as session:
            monkeypatch.setattr(local_clients, "RivyaSession", lambda: session)
            async with local_clients.open_rivya("") as generate:
                succeeded, raised = await run_jobs(generate, Workload(jobs=60, interval=0.01, limit=30), None)
        counts = service.purchase_log.counts()
    assert (succeeded, raised) == (60, {})
    assert (counts.purchases, counts.bought_twice) == (60, 0)
    assert counts.dropped > 0
    assert counts.unavailable > 0


async def test_run_counts_errors_and_abandons_unfinished_jobs() -> None:
    async def generate(order: int, _interval: float) -> None:
        if order == 0:
            raise ValueError
        if order == 1:
            await asyncio.Event().wait()

    assert await run_jobs(generate, Workload(jobs=5, interval=1, limit=0.05), None) == (3, {"ValueError": 1})


def test_environment_variables_contain_address() -> None:
    assert CLIENTS["openai (httpx2)"].environment_for("127.0.0.1:1", certificate=None) == {
        "OPENAI_API_KEY": "sk-benchmark",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    }
    assert CLIENTS["fal-client (httpx)"].environment_for("127.0.0.1:1", certificate="/x.pem") == {
        "FAL_KEY": "benchmark",
        "FAL_QUEUE_RUN_HOST": "127.0.0.1:1",
        "SSL_CERT_FILE": "/x.pem",
    }


# --- environment and tables -------------------------------------------------------------------------------------------


def test_environment_is_outside_the_repository_without_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    peer_environment = find_environment()
    assert peer_environment.folder.is_relative_to(tmp_path)
    assert not peer_environment.folder.is_relative_to(ROOT)
    variables = peer_environment.variables({"FAL_KEY": "benchmark"})
    assert variables["PYTHONPATH"] == str(ROOT)
    assert variables["FAL_KEY"] == "benchmark"
    assert "HTTPS_PROXY" not in variables


def make_counts(**changed: int) -> Counts:
    plain = {"requests": 400, "submits": 100, "purchases": 100, "bought_twice": 0, "keyed": 0, "dropped": 0}
    return Counts(**{**plain, "unavailable": 0, "polls": 300, "fewest": 3, "most": 3, "ended": 100, **changed})


def make_run(name: str, *, cpu: float = 0.04, succeeded: int = 100, raised: int = 0, **changed: int) -> Run:
    told = ClientReport(
        cpu, 2.0, succeeded, {"PoolTimeout": raised} if raised else {}, before_kib=40_000, peak_kib=50_000
    )
    return Run(CLIENTS[name], Workload(100, 0.25, 65), Conditions(3), make_counts(**changed), told, open_kib=250)


def test_costs_are_ratios_to_the_baseline() -> None:
    text = tables.format_costs(
        [make_run(BASELINE), make_run(RIVYA_CLIENT, cpu=0.1), make_run("replicate (httpx)", cpu=0.4)]
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    rows = {name: values for name, *values in cells}
    assert rows[BASELINE][:2] == ["100", "1.00"]
    assert rows[RIVYA_CLIENT] == ["250", "2.50", "1,000", "4.00", "2.5", "3", "100", "2.0"]
    assert rows["replicate (httpx)"][1] == "10.00"
    assert "jobs done in" not in text


def test_incomplete_run_is_reported() -> None:
    partly = make_run("replicate (httpx)", succeeded=70, raised=20, fewest=0)
    text = tables.format_costs([make_run(BASELINE), partly])
    assert (
        "replicate (httpx): 70 of 100 jobs done in 2 s (limit 65 s), 10 still waiting, raised: 20 PoolTimeout" in text
    )
    assert "0 to 3" in text


def test_client_without_report_uses_server_counts() -> None:
    silent = Run(CLIENTS["openai (httpx2)"], Workload(100, 0.25, 65), Conditions(3), make_counts(ended=5), None, None)
    assert (silent.succeeded, silent.raised, silent.never_ended, silent.us_per_request) == (5, 0, 95, None)
    assert "openai (httpx2): 5 of 100 jobs done in 65 s" in tables.format_costs([silent])


def test_faults_table() -> None:
    text = tables.format_faults([make_run("openai (httpx2)", succeeded=97, raised=2, purchases=104, bought_twice=4)])
    assert text.splitlines()[-1].replace("|", " ").split()[-8:] == ["97", "2", "1", "4", "7", "no", "0", "0"]
