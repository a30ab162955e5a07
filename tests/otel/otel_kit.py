"""A backend for telemetry tests: providers of the OpenTelemetry SDK that keep their data in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Backend:
    """The spans and metrics of one test."""

    def __init__(self) -> None:
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self._spans = InMemorySpanExporter()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._metrics = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._metrics], shutdown_on_exit=False)
        self.tracer = self.tracer_provider.get_tracer("test")

    @property
    def providers(self) -> dict[str, Any]:
        """For `Telemetry(**providers)`."""
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    def spans(self, name: str | None = None) -> Sequence[ReadableSpan]:
        """The ended spans, in the order of their ends."""
        return [span for span in self._spans.get_finished_spans() if name is None or span.name == name]

    def points(self) -> Mapping[str, list[Any]]:
        """The data points of each metric by name."""
        data = self._metrics.get_metrics_data()
        resources = [] if data is None else data.resource_metrics
        metrics = [metric for resource in resources for scope in resource.scope_metrics for metric in scope.metrics]
        return {metric.name: list(metric.data.data_points) for metric in metrics}

    def total(self, name: str, **attributes: str) -> float:
        """The sum of a counter over the points that have these attributes."""
        expected = {key.replace("_", "."): value for key, value in attributes.items()}
        points = self.points().get(name, [])
        return float(sum(point.value for point in points if expected.items() <= dict(point.attributes).items()))

    def everything(self) -> str:
        """All exported data as text."""
        data = self._metrics.get_metrics_data()
        return "\n".join([*(span.to_json() for span in self.spans()), "" if data is None else data.to_json()])

    def close(self) -> None:
        """Shuts down both providers."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span."""
    return dict(span.attributes or {})
