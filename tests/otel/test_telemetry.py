"""Spans and metrics of a session, as OpenTelemetry's SDK receives them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, StatusCode

from rivya_async import GenerationFailedError, PollPolicy, RivyaError, RivyaSession, WaitTimeoutError
from rivya_async.otel import Telemetry
from rivya_async.sandbox import Sandbox
from tests.otel.otel_kit import Backend, attributes_of
from tests.session.session_kit import FILE, POLL, SLOW, SUBMIT, open_session, plain_server, run_script

SUBMITTED: Final = "POST /api/v1/generations"
POLLED: Final = "GET /api/v1/generations/{id}"


# --- spans ------------------------------------------------------------------------------------------------------------


async def test_spans_of_submit_poll_wait_and_download(session: RivyaSession, backend: Backend, tmp_path: Path) -> None:
    before = time.time_ns()
    job = await session.generate("z-image", "A red kite", idempotency_key="order-42")
    await session.download(job, tmp_path)
    after = time.time_ns()
    submit, poll, wait, download = backend.spans()
    assert [submit.name, poll.name, wait.name, download.name] == [SUBMITTED, POLLED, "rivya.wait", "rivya.download"]
    expected_submit = {
        "http.request.method": "POST",
        "url.template": "/api/v1/generations",
        "rivya.idempotency_key": "order-42",
    }
    expected_poll = {
        "http.request.method": "GET",
        "url.template": "/api/v1/generations/{id}",
        "rivya.task_id": job.id,
    }
    assert expected_submit.items() <= attributes_of(submit).items()
    assert expected_poll.items() <= attributes_of(poll).items()
    assert attributes_of(wait) == {
        "rivya.model": "z-image",
        "rivya.status": "succeeded",
        "rivya.task_id": job.id,
        "rivya.polls": 1,
    }
    size = next(tmp_path.iterdir()).stat().st_size
    assert attributes_of(download) == {"server.address": "127.0.0.1", "rivya.download.bytes": size}
    assert [span.kind for span in backend.spans()] == [SpanKind.CLIENT] * 2 + [SpanKind.INTERNAL] * 2
    assert {span.status.status_code for span in backend.spans()} == {StatusCode.UNSET}
    for span in backend.spans():
        assert span.start_time is not None
        assert span.end_time is not None
        assert before - 50_000_000 < span.start_time < span.end_time <= after  # the clock has a resolution


async def test_spans_are_children_of_the_callers_span(session: RivyaSession, backend: Backend) -> None:
    async def generate_in_span(name: str) -> tuple[str, int]:
        with backend.tracer.start_as_current_span(name) as span:
            return (await session.generate("z-image", name)).id, span.get_span_context().span_id

    span_ids = dict(await asyncio.gather(*(generate_in_span(f"order {number}") for number in range(20))))
    children = [span for span in backend.spans() if not span.name.startswith("order")]
    assert all(span.parent is not None for span in children)
    with_task_id = [span for span in children if "rivya.task_id" in attributes_of(span)]
    assert {attributes_of(span)["rivya.task_id"] for span in with_task_id} == set(span_ids)
    assert {span.name for span in with_task_id} == {POLLED, "rivya.wait"}
    for span in with_task_id:
        assert span.parent is not None
        assert span.parent.span_id == span_ids[attributes_of(span)["rivya.task_id"]]


async def test_separate_traces_without_a_callers_span(session: RivyaSession, backend: Backend) -> None:
    await session.generate("z-image", "A red kite")
    assert [span.parent for span in backend.spans()] == [None] * 3
    assert len({span.context.trace_id for span in backend.spans()}) == 3


async def test_retry_is_an_event_and_a_resend_count(session: RivyaSession, sandbox: Sandbox, backend: Backend) -> None:
    sandbox.faults.add(route=SUBMIT, status=502, times=2)
    with backend.tracer.start_as_current_span("order"):
        await session.submit("z-image", "A red kite", idempotency_key="order-42")
    attempts = backend.spans(SUBMITTED)
    assert [attributes_of(span).get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert [attributes_of(span).get("error.type") for span in attempts] == [
        "InternalServerError",
        "InternalServerError",
        None,
    ]
    assert [attributes_of(span).get("http.response.status_code") for span in attempts[:2]] == [502, 502]
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    [order] = backend.spans("order")
    assert [event.name for event in order.events] == ["rivya.retry"] * 2
    event = dict(order.events[0].attributes or {})
    assert event.pop("rivya.retry.delay", 0)
    assert event == {
        "http.request.method": "POST",
        "url.template": "/api/v1/generations",
        "error.type": "InternalServerError",
        "http.request.resend_count": 1,
        "rivya.idempotency_key": "order-42",
    }


async def test_rejected_request_has_the_request_id(session: RivyaSession, backend: Backend) -> None:
    with pytest.raises(RivyaError) as raised:
        await session.submit("no-such-model", "A red kite")
    [attempt] = backend.spans(SUBMITTED)
    assert attributes_of(attempt)["rivya.request_id"] == raised.value.request_id is not None


async def test_failed_job_and_deadline_are_failed_waits(backend: Backend) -> None:
    async with Sandbox(speed=SLOW) as slow, open_session(slow, hooks=[Telemetry(**backend.providers)]) as session:
        job = await session.submit("z-image", "A red kite")
        with pytest.raises(WaitTimeoutError):
            await session.wait_for(job, timeout=0.02)
        failed = b'{"id": "%s", "status": "failed", "model": "z-image", "error": {"code": "x", "message": "y"}}'
        slow.faults.add(route=POLL, status=200, body=failed % job.id.encode())
        with pytest.raises(GenerationFailedError):
            await session.wait_for(job)
    late, ended = backend.spans("rivya.wait")
    assert (attributes_of(late)["error.type"], attributes_of(late).get("rivya.status")) == ("WaitTimeoutError", None)
    assert (attributes_of(ended)["error.type"], attributes_of(ended)["rivya.status"]) == (
        "GenerationFailedError",
        "failed",
    )
    assert {span.status.status_code for span in (late, ended)} == {StatusCode.ERROR}


# --- secrets ----------------------------------------------------------------------------------------------------------

SECRET: Final = "c0ffee" * 8
KEY: Final = f"rvya_sk_{SECRET}"
PROMPT: Final = "the unreleased mascot"


async def test_exported_data_has_no_secret(backend: Backend, tmp_path: Path) -> None:
    template = b'{"error": {"code": "internal_error", "message": "%s %s", "requestId": "%s"}}'
    body = template % (PROMPT.encode(), KEY.encode(), KEY.encode())
    async with Sandbox(speed=1e5, api_key=KEY, link_lifetime=60) as sandbox, plain_server() as file_host:
        for route in (SUBMIT, POLL, FILE):
            sandbox.faults.add(route=route, status=500, body=body, times=1)
        telemetry = Telemetry(**backend.providers)
        with backend.tracer.start_as_current_span("order"):
            async with open_session(sandbox, hooks=[telemetry]) as session:
                job = await session.generate("z-image", PROMPT)
                assert "expires=" in job.urls[0]
                await session.download(job, tmp_path)
                await session.download(f"{file_host.url}/hidden-path.bin?signature={SECRET}", tmp_path)
                for link in (f"http://user:{SECRET}@127.0.0.1:1/a.png?signature={SECRET}", f"http://[{SECRET}"):
                    with pytest.raises(RivyaError):
                        await session.download(link, tmp_path)
                await session.chat.completions.create("gpt-5-2-chat", PROMPT)
    exported = backend.everything()
    assert len(backend.spans("rivya.download")) == 4
    assert "InternalServerError" in exported
    assert [secret for secret in (SECRET, PROMPT, "expires=", "signature", "hidden-path") if secret in exported] == []


# --- isolation --------------------------------------------------------------------------------------------------------


async def test_failing_telemetry_changes_nothing(sandbox: Sandbox, backend: Backend, tmp_path: Path) -> None:
    class FailingTelemetry(Telemetry):
        def _span(self, *_: Any, **__: Any) -> None:
            raise ZeroDivisionError

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with open_session(sandbox, hooks=[FailingTelemetry(**backend.providers)]) as session:
        job = await session.generate("z-image", "A red kite")
        await session.download(job, tmp_path)
    assert len(reported) == 4  # submit, poll, wait, download
    assert all(isinstance(context["exception"], ZeroDivisionError) for context in reported)


async def test_one_instance_serves_many_sessions(sandbox: Sandbox, backend: Backend) -> None:
    telemetry = Telemetry(**backend.providers)
    for _ in range(2):
        async with open_session(sandbox, hooks=[telemetry]) as session:
            await session.generate("z-image", "A red kite", poll=PollPolicy(first=0.01, base=0.01, floor=0.01))
    assert len(backend.spans("rivya.wait")) == 2


def test_own_providers_leave_the_global_ones_unchanged(backend: Backend) -> None:
    before = trace.get_tracer_provider(), metrics.get_meter_provider()
    Telemetry(**backend.providers)
    assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == before


GLOBAL: Final = """
import asyncio
from opentelemetry import trace, metrics
from rivya_async import RivyaSession
from rivya_async.otel import Telemetry
from rivya_async.sandbox import Sandbox
from tests.otel.otel_kit import Backend

telemetry, backend = Telemetry(), Backend()
trace.set_tracer_provider(backend.tracer_provider)
metrics.set_meter_provider(backend.meter_provider)

async def main():
    async with Sandbox() as sandbox:
        async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url, hooks=[telemetry]) as session:
            await session.credits.retrieve()

asyncio.run(main())
print([span.name for span in backend.spans()], sorted(backend.points()))
backend.close()
"""


async def test_uses_global_providers_that_are_set_later() -> None:
    code, out, err = await run_script(GLOBAL)
    assert (code, err) == (0, "")
    assert out.strip() == "['GET /api/v1/credits'] ['http.client.request.duration']"


WITHOUT: Final = """
import sys
sys.modules["opentelemetry"] = None
import rivya_async
from rivya_async.session import RivyaSession
try:
    import rivya_async.otel
except ImportError as error:
    print(error)
"""


async def test_import_error_names_the_extra() -> None:
    code, out, err = await run_script(WITHOUT)
    assert (code, err) == (0, "")
    assert "pip install 'rivya-async[otel]'" in out
