"""Spans and metrics for OpenTelemetry, of whatever the hooks of a session are told.

RivyaSession(hooks=[Telemetry()])
"""

try:
    import opentelemetry.metrics
    import opentelemetry.trace  # noqa: F401 - whether it is there, before anything of ours fails for want of it
except ImportError as error:
    raise ImportError("spans and metrics need OpenTelemetry: pip install 'rivya-async[otel]'") from error

from .telemetry import Telemetry

__all__ = ["Telemetry"]
