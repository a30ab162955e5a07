"""What hooks are told, as spans and metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.metrics import get_meter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span, get_tracer

from .._core.errors import APIStatusError, GenerationFailedError
from .._core.http.messages import USER_AGENT
from .._core.types.generations import Status
from .._engine.hooks import Hooks
from .instruments import Instruments
from .route import task_of, template_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from .._core.errors import RivyaError
    from .._engine.hooks import AttemptDetails, DownloadDetails, PollDetails, RetryDetails, WaitDetails

    Value = str | int | float

SCOPE = "rivya_async"
VERSION = USER_AGENT.rpartition("/")[2]


class Telemetry(Hooks):
    """Hooks that make spans and metrics of what a session does; one may serve all sessions of a process.

    Without `tracer_provider` and `meter_provider` it uses the global ones, whenever they are set. `queue_depth` and
    `budget` are read whenever metrics are collected, perhaps in another thread: jobs that wait for a worker, and
    requests per second that may go out. None, and an infinite budget, tell nothing. Pass each to one `Telemetry` only:
    OpenTelemetry keeps a gauge for good.

    Spans are made when what they tell of is over, as children of the span that is current where the call was made:
    submits and other requests, waits and downloads. A poll serves all who wait for its job; it is a child of the span
    of the first. Where no span is current each is a trace of its own, and `rivya.task_id` and `rivya.idempotency_key`
    tell what belongs together. What is cancelled leaves no span. A retry is an event of the caller's span and the
    `http.request.resend_count` of the next.

    Nothing of it holds an API key, a prompt, a body, the text of an error, or more of a link than its host. Keys of
    purchases and ids are told in spans, never in metrics.

    >>> async def main():
    ...     async with Sandbox() as sandbox:
    ...         async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url, hooks=[Telemetry()]) as session:
    ...             return (await session.submit("z-image", "A red kite")).status
    >>> asyncio.run(main())
    'queued'
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        queue_depth: Callable[[], int | None] | None = None,
        budget: Callable[[], float | None] | None = None,
    ) -> None:
        self._tracer = get_tracer(SCOPE, VERSION, tracer_provider)
        self._instruments = Instruments(get_meter(SCOPE, VERSION, meter_provider))
        if queue_depth is not None:
            self._instruments.observe("rivya.queue.depth", "{job}", "Jobs that wait for a worker", queue_depth)
        if budget is not None:
            self._instruments.observe("rivya.budget.rate", "{request}/s", "Requests that may go out", budget)

    def on_attempt(self, details: AttemptDetails) -> None:
        """A client span and a duration; a counted refusal if it is one."""
        error, template = details.error, template_of(details.path)
        told = _known(
            {
                "http.request.method": details.method,
                "url.template": template,
                "http.response.status_code": error.status if isinstance(error, APIStatusError) else None,
                "error.type": _kind_of(error),
            }
        )
        self._instruments.requests.record(details.elapsed, told)
        if isinstance(error, APIStatusError):
            self._instruments.refusals.add(1, told)
        more: Mapping[str, Value | None] = {
            "http.request.resend_count": details.number - 1 or None,
            "rivya.task_id": task_of(details.path),
            "rivya.idempotency_key": details.idempotency_key,
            "rivya.request_id": None if error is None else error.request_id,
        }
        self._span(f"{details.method} {template}", details.elapsed, told | _known(more), SpanKind.CLIENT)

    def on_retry(self, details: RetryDetails) -> None:
        """A count, and an event of the span that the call was made in."""
        told = _known(
            {
                "http.request.method": details.method,
                "url.template": template_of(details.path),
                "error.type": _kind_of(details.error),
            }
        )
        self._instruments.retries.add(1, told)
        span = get_current_span()
        if span.is_recording():
            more: Mapping[str, Value | None] = {
                "http.request.resend_count": details.number - 1,
                "rivya.retry.delay": details.delay,
                "rivya.idempotency_key": details.idempotency_key,
            }
            span.add_event("rivya.retry", told | _known(more))

    def on_poll(self, details: PollDetails) -> None:
        """A count: its request has a span already."""
        told = _known({"rivya.status": details.status, "error.type": _kind_of(details.error)})
        self._instruments.polls.add(1, told)

    def on_wait(self, details: WaitDetails) -> None:
        """A span and a duration; a job that failed is an error."""
        failed = GenerationFailedError.__name__ if details.status == Status.FAILED else None
        told = _known(
            {
                "rivya.model": details.model,
                "rivya.status": details.status,
                "error.type": _kind_of(details.error) or failed,
            }
        )
        self._instruments.waits.record(details.elapsed, told)
        more: Mapping[str, Value] = {"rivya.task_id": details.task_id, "rivya.polls": details.polls}
        self._span("rivya.wait", details.elapsed, {**told, **more})

    def on_download(self, details: DownloadDetails) -> None:
        """A span, a duration and the bytes."""
        told = _known({"server.address": details.host or None, "error.type": _kind_of(details.error)})
        self._instruments.downloads.record(details.elapsed, told)
        self._instruments.downloaded.add(details.received_bytes, told)
        self._span("rivya.download", details.elapsed, {**told, "rivya.download.bytes": details.received_bytes})

    def _span(self, name: str, elapsed: float, told: Mapping[str, Value], kind: SpanKind = SpanKind.INTERNAL) -> None:
        """A span that ends now. Its status says that it failed, never why: texts of errors may quote the request."""
        ended = time.time_ns()
        span = self._tracer.start_span(name, kind=kind, attributes=told, start_time=ended - round(elapsed * 1e9))
        if "error.type" in told:
            span.set_status(StatusCode.ERROR)
        span.end(ended)


def _known(values: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value is not None}


def _kind_of(error: RivyaError | None) -> str | None:
    return None if error is None else type(error).__name__
