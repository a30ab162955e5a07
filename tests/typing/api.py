"""Code as users write it. Never run: mypy and pyright read it, strictly, as they read the code of users."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from starlette.applications import Starlette
from starlette.routing import Mount

from rivya_async import (
    APIStatusError,
    AttemptDetails,
    ChatCapabilities,
    ChatCompletion,
    ChatCredits,
    ChatEvent,
    ChatMessage,
    ChatSession,
    ChatStream,
    Credits,
    DownloadDetails,
    ErrorDetail,
    File,
    Generation,
    GenerationFailedError,
    GenerationRequest,
    GenerationResult,
    Hooks,
    IdempotencyConflictError,
    InvalidRequestError,
    Model,
    ModelParam,
    Outcome,
    PollDetails,
    PollPolicy,
    PriceEstimate,
    Progress,
    PurchaseCost,
    RateLimitError,
    ReferenceMedia,
    ReferenceRules,
    RequestNotSentError,
    ResponseDecodeError,
    RetryDetails,
    RetryPolicy,
    RivyaError,
    RivyaSession,
    SessionClosedError,
    SignatureMismatchError,
    SpendLimitError,
    SpendSummary,
    Status,
    StreamInterruptedError,
    Timeouts,
    TimestampToleranceError,
    Usage,
    ValidationProblem,
    WaitDetails,
    WaitError,
    WaitTimeoutError,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookVerificationError,
    catalogue,
)
from rivya_async.blocking import BlockingSession
from rivya_async.otel import Telemetry
from rivya_async.progress import ProgressBar
from rivya_async.receiver import STANDARD_WEBHOOKS, RivyaScheme, WebhookReceiver, WebhookResponse, verify
from rivya_async.sandbox import Fault, Sandbox
from rivya_async.testing import FakeRequest, FakeResponse, FakeService, FakeTransport, run


async def the_first_minute() -> None:
    async with RivyaSession() as session:
        assert_type(session, RivyaSession)
        job = await session.generate("z-image", "A red kite", params={"aspect_ratio": "16:9"})
        assert_type(job, Generation)
        assert_type(await session.download(job, "out/"), list[Path])
        assert_type(await session.download("https://rivya.ai/f/1.png", Path("out.png"), exists="rename"), list[Path])


async def all_of_the_settings(http: aiohttp.ClientSession, key: str | None) -> RivyaSession:
    return RivyaSession(
        key,
        base_url="https://rivya.ai",
        timeouts=Timeouts(connect=5, read=10.5, total=60, download=600),
        retry=RetryPolicy(max_attempts=3, base=0.5, cap=30, max_elapsed=120),
        poll=PollPolicy(first=2.5, base=5, cap=10, factor=1.5, floor=1, adaptive=False, timeout=None),
        max_connections=50,
        http=http,
        hooks=[Loud(), Telemetry(queue_depth=lambda: 3, rate_limit=lambda: None)],
    )


class Loud(Hooks):
    def on_attempt(self, details: AttemptDetails) -> None:
        assert_type(details.method, str)
        assert_type(details.number, int)
        assert_type(details.elapsed, float)
        assert_type(details.idempotency_key, str | None)
        assert_type(details.error, RivyaError | None)

    def on_retry(self, details: RetryDetails) -> None:
        assert_type(details.delay, float)
        assert_type(details.error, RivyaError)

    def on_poll(self, details: PollDetails) -> None:
        assert_type(details.task_id, str)
        assert_type(details.status, str | None)
        assert_type(details.delay, float | None)

    def on_wait(self, details: WaitDetails) -> None:
        assert_type(details.model, str | None)
        assert_type(details.polls, int)

    def on_download(self, details: DownloadDetails) -> None:
        assert_type(details.host, str)
        assert_type(details.received_bytes, int)


async def uploading(session: RivyaSession, pieces: AsyncIterator[bytes]) -> None:
    async def slowly(sent: int, total: int | None) -> None:
        await asyncio.sleep(0)

    def show(sent: int, total: int | None) -> None:
        assert_type((sent, total), tuple[int, int | None])

    with Path("a.mp4").open("rb") as opened:
        file = await session.files.upload(opened, kind="video", model="wan-2-6", on_progress=slowly)
    assert_type(file, File)
    assert_type(file.as_reference(), ReferenceMedia)
    for source in ("a.png", Path("a.png"), b"...", bytearray(), io.BytesIO()):
        assert_type(await session.files.upload(source, filename="a.png", on_progress=show), File)
    assert_type(await session.files.upload(pieces, client_request_id="a"), File)
    assert_type(await session.files.retrieve(file.id), File)
    await session.submit("veo", references=[file, "a.png", Path("b.png"), file.as_reference()])
    await session.submit("veo", references=[Path("b.png")])
    GenerationRequest("veo", references=["a.png"])


async def buying(session: RivyaSession) -> None:
    reference = ReferenceMedia("https://rivya.ai/f/1.png", kind="image", duration_seconds=2)
    params: Mapping[str, Any] = {"sound": "false"}
    job = await session.submit(
        "veo", "A red kite", params=params, references=[reference], client_request_id="a", idempotency_key="b"
    )
    assert_type(job, Generation)
    request = GenerationRequest("veo", "A red kite", params={"duration": "5"}, references=(reference,))
    assert_type(await session.submit(request), Generation)
    assert_type(await session.submit(request, idempotency_key="order-1"), Generation)
    assert_type(await session.generations.create(request), Generation)
    assert_type(await session.generations.retrieve(job.id), Generation)
    assert_type(await session.generate(request, timeout=60, poll=PollPolicy(first=1), on_update=tell), Generation)


def tell(generation: Generation) -> None:
    assert generation.id


async def tell_later(generation: Generation) -> None:
    await asyncio.sleep(0)
    assert generation.id


async def waiting(session: RivyaSession, job: Generation) -> None:
    assert_type(await session.wait_for(job), Generation)
    assert_type(await session.wait_for(job.id, timeout=None), Generation)
    assert_type(await session.wait_for(job, timeout=60.5, raise_on_failure=False), Generation)
    assert_type(await session.wait_for(job, on_update=tell_later), Generation)
    assert_type(await session.wait_for(generation_or_task_id=job, on_update=lambda _: None), Generation)
    assert_type(await session.generations.wait_for(job), Generation)
    assert_type(session.generations.settle(job), bool)
    assert_type(session.watch(job), AsyncGenerator[Generation])
    async with aclosing(session.watch("task_1", timeout=5)) as snapshots:
        async for snapshot in snapshots:
            assert_type(snapshot, Generation)
    async for ended in session.as_completed([job, "task_2"], timeout=None):
        assert_type(ended, Generation)


async def many(session: RivyaSession, jobs: list[Generation], task_ids: tuple[str, ...]) -> None:
    results = await asyncio.gather(*(session.generate("z-image", f"Kite {n}") for n in range(10_000)))
    assert_type(results, list[Generation])
    async for ended in session.as_completed(jobs):
        assert_type(ended, Generation)
    async for ended in session.as_completed(task_ids):
        assert_type(ended, Generation)
    async for outcome in session.map(from_a_file(), max_in_flight=50, ordered=True):
        assert_type(outcome, Outcome)
        assert_type(outcome.ok, bool)
        assert_type(outcome.request, GenerationRequest)
        assert_type(outcome.generation, Generation | None)
        assert_type(outcome.error, Exception | None)
        assert_type(outcome.unwrap(), Generation)
    async for outcome in session.map(from_a_queue()):
        assert_type(outcome, Outcome)
    async for outcome in session.map([GenerationRequest("z-image", "A red kite")]):
        assert_type(outcome, Outcome)


def from_a_file() -> Iterator[GenerationRequest]:
    yield GenerationRequest("z-image", "A red kite")


async def from_a_queue() -> AsyncIterator[GenerationRequest]:
    yield GenerationRequest("z-image", "A red kite")


async def in_a_task_group(session: RivyaSession) -> Generation:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(session.generate("z-image", "A red kite"))
        group.create_task(session.submit("z-image", "A blue whale"))
        group.create_task(session.wait_for("task_1"))
    assert_type(task, asyncio.Task[Generation])
    return task.result()


def reading(job: Generation) -> str:
    assert_type(job.id, str)
    status: str = job.status
    assert status
    assert_type(job.reserved_credits, int | float)
    assert_type(job.created_at, datetime | None)
    assert_type(job.duration, timedelta | None)
    assert_type(job.result, GenerationResult | None)
    assert_type(job.error, ErrorDetail | None)
    assert_type(job.urls, tuple[str, ...])
    assert_type(job.extra, Mapping[str, Any])
    assert_type((job.is_terminal, job.succeeded, job.failed), tuple[bool, bool, bool])
    if job.status == Status.SUCCEEDED and job.result is not None:
        return job.result.primary_url
    return ""


async def nouns(session: RivyaSession) -> None:
    models = await session.models.list()
    assert_type(models, list[Model])
    model = await session.models.retrieve("z-image")
    assert_type(model.param("aspect_ratio"), ModelParam | None)
    assert_type(model.max_prompt_length, int | None)
    assert_type(model.reference_rules, ReferenceRules | None)
    assert_type(model.chat, ChatCapabilities | None)
    assert_type(model.coerce({"duration": 5}), dict[str, Any])
    assert_type(model.estimate_credits("A red kite", {"duration": "5"}), PriceEstimate)
    model.check("A red kite", {"duration": "5"}, ["kite.png"])
    balance = await session.credits.retrieve()
    assert_type(balance, Credits)
    assert_type(await session.openapi.retrieve(), dict[str, Any])
    assert_type(balance.current_credits, int | float)


async def chatting(session: RivyaSession, picture: File) -> str:
    answer = await session.chat.completions.create(
        "gpt-5-2-chat",
        "Name a colour.",
        session_id=None,
        attachments=[picture, "file_1"],
        enable_web_search=True,
        reasoning_effort="low",
        include_thoughts=False,
        client_request_id="a",
        idempotency_key="b",
        extra={"temperature": 0.5},
        check=True,
    )
    assert_type(answer, ChatCompletion)
    assert_type(answer.message, ChatMessage)
    assert_type(answer.text, str)
    assert_type(answer.usage, Usage | None)
    assert_type(answer.credits, ChatCredits | None)
    assert_type(answer.session_id, str | None)
    try:
        async with session.chat.completions.stream("gpt-5-2-chat", "Why?", session_id=answer.session_id) as stream:
            assert_type(stream, ChatStream)
            async for delta in stream:
                assert_type(delta, str)
            async for event in stream.events():
                assert_type(event, ChatEvent)
        assert_type(stream.completion, ChatCompletion)
        assert_type(stream.idempotency_key, str | None)
    except StreamInterruptedError as error:
        assert_type(error.session_id, str | None)
        assert_type(error.code, str | None)
        return error.text
    assert_type(await session.chat.sessions.list(limit=5), list[ChatSession])
    assert_type((await session.chat.sessions.retrieve("ses_1")).messages, tuple[ChatMessage, ...])
    return stream.text


async def telling(session: RivyaSession) -> None:
    endpoint = await session.webhooks.create("Prod", "https://hooks.example.org", ["generation.failed"])
    assert_type(endpoint, WebhookEndpoint)
    assert_type(endpoint.signing_secret, str | None)
    assert_type(await session.webhooks.list(limit=5), list[WebhookEndpoint])
    assert_type(await session.webhooks.update(endpoint.id, status="disabled"), WebhookEndpoint)
    assert_type(await session.webhooks.test(endpoint.id), WebhookDelivery)
    assert_type(await session.webhooks.deliveries(endpoint.id), list[WebhookDelivery])
    for event in await session.webhook_events.list():
        assert_type(event, WebhookEvent)
        assert_type(event.generation, Generation | None)


def told_by_a_webhook(body: bytes, headers: Mapping[str, str]) -> WebhookEvent | None:
    try:
        verify(body, CIMultiDict(headers), "whsec_1", scheme=STANDARD_WEBHOOKS, clock=lambda: 0.0)
        event = verify(body, headers, ["whsec_1", "whsec_2"], tolerance=60, scheme=RivyaScheme(header="X"))
    except (SignatureMismatchError, TimestampToleranceError):
        return None
    except WebhookVerificationError as error:
        assert_type(error.message, str)
        return None
    assert_type(event, WebhookEvent)
    assert_type(event.generation, Generation | None)
    return event


async def told_by_many(body: bytes, headers: Mapping[str, str]) -> None:
    async with WebhookReceiver(["whsec_1"], response_timeout=0.5, dedup_window=60, max_running=5) as receiver:
        assert_type(receiver, WebhookReceiver)

        @receiver.on("generation.succeeded")
        async def made(event: WebhookEvent) -> int:
            return len(event.id)

        assert_type(await made(WebhookEvent(id="evt_1")), int)
        queue: asyncio.Queue[WebhookEvent] = asyncio.Queue()
        receiver.on("*", queue.put)
        answer = await receiver.receive(body, headers)
        assert_type(answer, WebhookResponse)
        WebhookReceiver("whsec_1", session=RivyaSession())
        app = web.Application()
        app.add_subapp("/hooks", receiver.aiohttp_app())
        Starlette(routes=[Mount("/hooks", receiver.asgi_app())])


async def before_it_is_spent() -> None:
    async with RivyaSession(max_spend=500, max_reserved=50.5, prices={"elevenlabs-turbo-2-5": 12}) as session:
        try:
            await session.submit("z-image", "A red kite", check=True)
            await session.generate("z-image", "A red kite", check=True)
            async for _ in session.map([GenerationRequest("z-image", "A red kite")], check=True):
                pass
        except InvalidRequestError as error:
            assert_type(error.problems, tuple[ValidationProblem, ...])
            assert_type(error.problems[0].nearest, tuple[str | float, ...])
        except SpendLimitError as error:
            assert_type(error.limit, int | float | None)
        assert_type(session.spend, SpendSummary)
        assert_type(session.spend["order-42"], PurchaseCost)
        assert_type(session.spend.total, int | float)
        assert_type(session.spend["order-42"].final, int | float | None)


def closed(error: SessionClosedError) -> None:
    assert_type(error.task_id, str | None)
    assert_type(error.last, Generation | None)


async def failing(session: RivyaSession) -> Generation | None:
    try:
        return await session.generate("z-image", "A red kite")
    except GenerationFailedError as error:
        assert_type(error.generation, Generation)
        assert_type(error.generation.error, ErrorDetail | None)
    except WaitTimeoutError as error:
        assert_type(error.task_id, str)
        assert_type(error.last, Generation | None)
    except WaitError as error:
        return await session.wait_for(error.task_id)
    except IdempotencyConflictError as error:
        assert_type(error.status, int | None)
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except APIStatusError as error:
        assert_type(error.code, str | None)
    except ResponseDecodeError as error:
        assert_type(error.path, str)
    except RivyaError as error:
        assert_type(error.idempotency_key, str | None)
        assert_type(error.request_id, str | None)
        assert_type(error.attempts, int)
        assert_type(error.message, str)
    except TimeoutError:
        pass
    return None


async def in_tests() -> None:
    async with Sandbox(speed=1000, seed=7, credits=5) as sandbox:
        fault = sandbox.faults.add(route="POST /api/v1/generations", nth=1, drop=True, act=True)
        assert_type(fault, Fault)
        async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
            await session.generate("z-image", "A red kite")
        assert_type(sandbox.request_log.purchases, int)
        assert_type(sandbox.request_log.attempts("order-1"), int)
        assert_type(sandbox.credits, int)


async def in_tests_without_sockets() -> None:
    usual = FakeService(credits=100)

    async def service(request: FakeRequest) -> FakeResponse:
        assert_type(request.idempotency_key, str | None)
        return await usual(request)

    fake = FakeTransport(service)
    async with fake.session(max_spend=5) as session:
        assert_type(session, RivyaSession)
    assert_type(fake.requests, list[FakeRequest])
    FakeTransport(lambda request: {"current_credits": 5})
    FakeTransport(lambda request: RequestNotSentError("refused"))


def in_virtual_time() -> None:
    assert_type(run(asyncio.sleep(600, "later")), str)


async def showing_progress(session: RivyaSession, blocking: BlockingSession, jobs: list[Generation]) -> None:
    async def report(progress: Progress) -> None:
        assert_type(progress.rate, float | None)

    with ProgressBar("kites", total=3) as bar:
        async for outcome in session.map([GenerationRequest("z-image", "x")], on_progress=bar):
            assert_type(outcome, Outcome)
        for ended in blocking.as_completed(jobs, on_progress=bar):
            assert_type(ended, Generation)
        await session.download(jobs[0], "out/", on_progress=bar)
    async for job in session.as_completed(jobs, on_progress=report):
        assert_type(job, Generation)
    session.map([], on_progress=5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def without_an_event_loop(key: str | None, prompts: list[str]) -> None:
    with BlockingSession(key, base_url="https://rivya.ai", max_spend=5) as session:
        assert_type(session, BlockingSession)
        job = session.generate("z-image", "A red kite", params={"aspect_ratio": "16:9"}, on_update=tell)
        assert_type(job, Generation)
        assert_type(session.submit(catalogue.z_image("A red kite")), Generation)
        assert_type(session.wait_for(job.id, timeout=60), Generation)
        assert_type(session.download(job, "out/"), list[Path])
        assert_type(session.models.list(), list[Model])
        assert_type(session.generations.retrieve("task_1"), Generation)
        assert_type(session.files.upload("a.png", kind="image"), File)
        for outcome in session.map(GenerationRequest("z-image", prompt) for prompt in prompts):
            assert_type(outcome, Outcome)
        for ended in session.as_completed([job, "task_2"]):
            assert_type(ended, Generation)
        assert_type(session.chat.completions.create("gpt-5-2-chat", "Why?"), ChatCompletion)
        with session.chat.completions.stream("gpt-5-2-chat", "Why?") as stream:
            assert_type(list(stream), list[str])
            assert_type(stream.completion, ChatCompletion)
        session.submit(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        session.generate("z-image", time_out=5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
        BlockingSession(timeouts=5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def from_the_catalogue(session: RivyaSession, model: catalogue.ModelId) -> None:
    request = catalogue.kling_3_0("A red kite", references=["kite.png"], duration="10", sound="false")
    assert_type(request, GenerationRequest)
    catalogue.kling_3_0("A red kite", duration=10, sound=False)
    catalogue.elevenlabs_dialogue_v3(dialogue=[{"voice": "Adam", "text": "Hello"}], stability=0.5)
    catalogue.qwen2_image("A red kite", seed=5, idempotency_key="order-1", client_request_id=None)
    await session.generate(catalogue.z_image("A red kite", aspect_ratio="16:9"))
    await session.submit(model, "A red kite")
    await session.submit("a-new-model", "A red kite")
    assert_type(catalogue.models(), Mapping[str, Model])


def what_a_checker_finds_in_the_catalogue() -> None:
    catalogue.kling_30("x")  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    catalogue.kling_3_0("x", duratoin="5")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    catalogue.kling_3_0("x", duration="2")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    catalogue.kling_3_0("x", duration=2)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    catalogue.kling_3_0()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    catalogue.z_image("x", references=["a.png"])  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    catalogue.elevenlabs_dialogue_v3(
        dialogue=[{"voice": "Adam", "txt": "Hello"}]  # type: ignore[typeddict-item, typeddict-unknown-key] # pyright: ignore[reportArgumentType]
    )
    known: catalogue.ModelId = "z-imag"  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    assert known


async def what_a_checker_must_refuse(session: RivyaSession) -> None:
    await session.submit(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await session.submit("z-image", prompt=b"kite")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await session.wait_for(None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await session.generate("z-image", timeout="60")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    RivyaSession(timeouts=5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    PollPolicy(2.5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
