"""What the contract says, as checks: functions of a service, which raise AssertionError where it differs.

No test framework is needed. They run against the sandbox in the tests, and against the real service by `nox -s live`.
"""

from . import balance, chat, errors, files, generations, itself, models, sdk, webhooks
from .check import Check
from .service import CannotTell, Service, connected

ALL = (
    *errors.checks,
    *models.checks,
    *itself.checks,
    *balance.checks,
    *files.checks,
    *generations.checks,
    *chat.checks,
    *webhooks.checks,
    *sdk.checks,
)
"""Every check."""

__all__ = ["ALL", "CannotTell", "Check", "Service", "connected"]
