"""Session hooks that produce OpenTelemetry spans and metrics."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation, get_meter, get_meter_provider
from opentelemetry.trace import SpanKind, StatusCode, get_current_span, get_tracer, get_tracer_provider

from .._core.errors import APIStatusError, GenerationFailedError
from .._core.types.generations import Status
from .._core.types.purchase_cost import GENERATIONS_PATH
from .._engine.hooks import Hooks
from .suppression import SuppressingTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from .._engine.hooks import AttemptDetails, DownloadDetails, PollDetails, RetryDetails, WaitDetails

    Attributes = Mapping[str, str | int | float]

SCOPE: Final = "rivya_async"
VERSION: Final = version("rivya-async")

REQUEST_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Histogram bounds in seconds from the semantic conventions; the OpenTelemetry SDK's defaults suit milliseconds."""

JOB_BOUNDS: Final = (0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 3600)
"""Histogram bounds in seconds for jobs and large files."""

FLUSH_TIMEOUT: Final = 5_000
"""Milliseconds for the export of spans or metrics at the end of a process."""

LITERAL_SEGMENTS: Final = frozenset(
    {
        *("api", "v1", "openapi.json", "models", "generations", "files", "credits"),
        *("chat", "completions", "stream", "sessions"),
        *("webhooks", "rotate-secret", "test", "deliveries", "webhook-events"),
    }
)
"""The segments of the API's paths that are not ids (contract section 1)."""


class Telemetry(Hooks):
    """Hooks that produce spans and metrics; one instance may serve all sessions of a process.

    Without `tracer_provider` and `meter_provider` the global ones are used, even if they are set later. `queue_depth`
    (jobs that wait for a worker) and `rate_limit` (requests per second that may be sent) are read at each collection
    of metrics, perhaps in another thread; None and infinity are not reported. Pass each function to one `Telemetry`
    only: OpenTelemetry never removes a gauge.

    Spans are created when the operation has ended, as children of the span that is current at the call: submits and
    other requests, waits and downloads. A poll serves all waits for its job; it is a child of the first one's span.
    Without a current span each is a trace of its own; `rivya.task_id` and `rivya.idempotency_key` connect them.
    Cancelled operations emit no span; their finished attempts do. A retry is an event of the caller's span, and the
    `http.request.resend_count` of the next attempt.

    Names follow the semantic conventions of HTTP clients. Other HTTP instrumentation, such as that of aiohttp, ignores
    the requests of the session: each is reported once, with its key and its job.

    No span or metric contains an API key, a prompt, a body, an error text, or more of a link than its host. Idempotency
    keys and ids are attributes of spans, never of metrics.

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
        rate_limit: Callable[[], float | None] | None = None,
    ) -> None:
        self._providers = (tracer_provider, meter_provider)
        self._tracer = get_tracer(SCOPE, VERSION, tracer_provider)
        meter = get_meter(SCOPE, VERSION, meter_provider)
        self._requests = _create_histogram(meter, "http.client.request.duration", "Requests", REQUEST_BOUNDS)
        self._waits = _create_histogram(meter, "rivya.wait.duration", "Waits for jobs", JOB_BOUNDS)
        self._downloads = _create_histogram(meter, "rivya.download.duration", "Downloads of files", JOB_BOUNDS)
        self._bytes = meter.create_counter("rivya.download.bytes", "By", "Received bytes of files")
        self._polls = meter.create_counter("rivya.polls", "{poll}", "Polls of waiting jobs")
        self._retries = meter.create_counter("rivya.retries", "{retry}", "Requests that were sent again")
        self._rejections = meter.create_counter("rivya.rejections", "{rejection}", "Requests that the service rejected")
        _create_gauge(meter, "rivya.queue.depth", "{job}", "Jobs that wait for a worker", queue_depth)
        _create_gauge(meter, "rivya.rate_limit", "{request}/s", "Requests that may be sent", rate_limit)

    def wrap_transport(self, transport: Any) -> Any:
        """Returns a transport whose requests other HTTP instrumentation ignores."""
        return SuppressingTransport(transport)

    def flush(self) -> None:
        """Exports the spans and metrics that the providers hold back. Blocks for at most five seconds each."""
        tracer_provider, meter_provider = self._providers
        for provider in (tracer_provider or get_tracer_provider(), meter_provider or get_meter_provider()):
            flush = getattr(provider, "force_flush", None)  # only the providers of the SDK have it
            if flush is not None:
                flush(FLUSH_TIMEOUT)

    def on_attempt(self, details: AttemptDetails) -> None:
        """Emits a client span and a duration; counts an error response."""
        error, template = details.error, url_template(details.path)
        address, port = server_of(details.base_url)
        status = error.status if isinstance(error, APIStatusError) else details.status
        attributes = _attributes(
            error,
            {
                "http.request.method": details.method,
                "url.template": template,
                "server.address": address,
                "server.port": port,
                "http.response.status_code": status,
            },
        )
        self._requests.record(details.elapsed, attributes)
        if isinstance(error, APIStatusError):
            self._rejections.add(1, attributes)
        ids = _attributes(
            None,
            {
                "url.full": details.base_url + details.path.partition("?")[0],
                "http.request.resend_count": details.number - 1 or None,
                "rivya.task_id": polled_task_id(details.path),
                "rivya.idempotency_key": details.idempotency_key,
                "rivya.request_id": None if error is None else error.request_id,
            },
        )
        self._span(f"{details.method} {template}", details.elapsed, {**attributes, **ids}, SpanKind.CLIENT)

    def on_retry(self, details: RetryDetails) -> None:
        """Counts the retry and adds an event to the caller's span."""
        names = {"http.request.method": details.method, "url.template": url_template(details.path)}
        attributes = _attributes(details.error, names)
        self._retries.add(1, attributes)
        span = get_current_span()
        if span.is_recording():
            facts = {
                "http.request.resend_count": details.number - 1,
                "rivya.retry.delay": details.delay,
                "rivya.idempotency_key": details.idempotency_key,
            }
            span.add_event("rivya.retry", {**attributes, **_attributes(None, facts)})

    def on_poll(self, details: PollDetails) -> None:
        """Counts the poll; its request has a span already."""
        self._polls.add(1, _attributes(details.error, {"rivya.status": details.status}))

    def on_wait(self, details: WaitDetails) -> None:
        """Emits a span and a duration; a failed job is an error."""
        attributes = _attributes(details.error, {"rivya.model": details.model, "rivya.status": details.status})
        if details.status == Status.FAILED:
            attributes.setdefault("error.type", GenerationFailedError.__name__)
        self._waits.record(details.elapsed, attributes)
        ids: dict[str, Any] = {"rivya.task_id": details.task_id, "rivya.polls": details.polls}
        self._span("rivya.wait", details.elapsed, {**attributes, **ids})

    def on_download(self, details: DownloadDetails) -> None:
        """Emits a span and a duration, and counts the bytes."""
        attributes = _attributes(details.error, {"server.address": details.host or None})
        self._downloads.record(details.elapsed, attributes)
        self._bytes.add(details.received_bytes, attributes)
        self._span("rivya.download", details.elapsed, {**attributes, "rivya.download.bytes": details.received_bytes})

    def _span(self, name: str, elapsed: float, attributes: Attributes, kind: SpanKind = SpanKind.INTERNAL) -> None:
        """Emits a span that ends now. Its status has no description: error texts may quote the request."""
        end = time.time_ns()
        span = self._tracer.start_span(name, kind=kind, attributes=attributes, start_time=end - round(elapsed * 1e9))
        if "error.type" in attributes:
            span.set_status(StatusCode.ERROR)
        span.end(end)


def url_template(path: str) -> str:
    """Returns the path without its query, and with `{id}` for each segment that is an id."""
    segments = path.partition("?")[0].split("/")
    return "/".join(each if not each or each in LITERAL_SEGMENTS else "{id}" for each in segments)


@lru_cache(maxsize=16)
def server_of(base_url: str) -> tuple[str | None, int | None]:
    """Returns the host and the port of a base URL."""
    parts = urlsplit(base_url)
    return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def polled_task_id(path: str) -> str | None:
    """Returns the id of the job that a request reads; None for other requests."""
    parent, _, name = path.partition("?")[0].rpartition("/")
    return unquote(name) if parent == GENERATIONS_PATH else None


def _attributes(error: Exception | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that are not None, with the class of the error."""
    found = {**values, "error.type": None if error is None else type(error).__name__}
    return {name: value for name, value in found.items() if value is not None}


def _create_histogram(meter: Meter, name: str, description: str, bounds: Sequence[float]) -> Histogram:
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=bounds)


def _create_gauge(
    meter: Meter, name: str, unit: str, description: str, read: Callable[[], float | None] | None
) -> None:
    if read is None:
        return

    def observe(_: CallbackOptions) -> Sequence[Observation]:
        value = read()
        return [] if value is None or not math.isfinite(value) else [Observation(value)]

    meter.create_observable_gauge(name, [observe], unit, description)
