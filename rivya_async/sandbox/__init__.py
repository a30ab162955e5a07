"""A faithful server of our own on loopback, with faults on demand and a record of all that it received.

    async with Sandbox(speed=1000) as sandbox:
        ...  # talk to sandbox.base_url with sandbox.api_key

Point the client at `base_url`. Nothing is bought and nothing leaves the machine; results are real files.
"""

from .fault import Fault
from .faults import Faults
from .keys import ALL_SCOPES
from .received import Received, Request, Upload
from .server import Sandbox
from .world import FAIL_MARKER, World

__all__ = ["ALL_SCOPES", "FAIL_MARKER", "Fault", "Faults", "Received", "Request", "Sandbox", "Upload", "World"]
