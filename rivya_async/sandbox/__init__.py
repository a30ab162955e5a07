"""A local server of the public API, with fault injection and a log of the requests that it received.

    async with Sandbox(speed=1000) as sandbox:
        ...  # requests to sandbox.base_url with sandbox.api_key

Purchases cost nothing, no request leaves the machine, and results are real files.
"""

from .._core.public_module import set_public_module
from .api_keys import ALL_SCOPES
from .faults.fault import Fault
from .faults.registry import FaultRegistry
from .request_log import LoggedRequest, LoggedUpload, RequestLog
from .server import Sandbox
from .service_state import FAIL_MARKER, ServiceState

__all__ = [
    "ALL_SCOPES",
    "FAIL_MARKER",
    "Fault",
    "FaultRegistry",
    "LoggedRequest",
    "LoggedUpload",
    "RequestLog",
    "Sandbox",
    "ServiceState",
]

set_public_module(__name__, Fault, FaultRegistry, LoggedRequest, LoggedUpload, RequestLog, Sandbox, ServiceState)
