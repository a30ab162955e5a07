"""A faithful server of our own on loopback, with faults on demand and a record of all that it received.

    async with Sandbox(speed=1000) as sandbox:
        ...  # talk to sandbox.base_url with sandbox.api_key

Point the client at `base_url`. Nothing is bought and nothing leaves the machine; results are real files.
"""

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
