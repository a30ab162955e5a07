"""OpenTelemetry spans and metrics of a session.

RivyaSession(hooks=[Telemetry()])
"""

try:
    import opentelemetry.metrics
    import opentelemetry.trace  # noqa: F401 - checked here, before another import of this package fails without it
except ImportError as error:
    raise ImportError("spans and metrics need OpenTelemetry: pip install 'rivya-async[otel]'") from error

from .._core.public_module import set_public_module
from .telemetry import Telemetry

__all__ = ["Telemetry"]

set_public_module(__name__, Telemetry)
