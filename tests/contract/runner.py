"""All checks of the API contract, run one after the other with one result each."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, Literal

import attrs

from . import (
    account_checks,
    chat_checks,
    file_checks,
    generation_checks,
    model_checks,
    openapi_checks,
    sdk_checks,
    webhook_checks,
)
from .checks import Check
from .service import Inconclusive, Service

ALL_CHECKS: Final = (
    *account_checks.api_key_checks,
    *account_checks.error_checks,
    *model_checks.checks,
    *openapi_checks.checks,
    *account_checks.credit_checks,
    *file_checks.checks,
    *generation_checks.checks,
    *chat_checks.checks,
    *webhook_checks.checks,
    *sdk_checks.checks,
)

Outcome = Literal["holds", "differs", "inconclusive"]


@attrs.frozen
class CheckResult:
    """The outcome of one check."""

    check: Check
    outcome: Outcome
    details: str = ""

    @property
    def line(self) -> str:
        """Report line: outcome, confidence, section, name, statement; a second line holds the details."""
        check = self.check
        first = f"{self.outcome:<18}{check.confidence:<11} {check.section:<6}{check.name:<40}{check.statement}"
        return f"{first}\n{'':18}{self.details}" if self.details else first


async def run_checks(service: Service, checks: Iterable[Check]) -> AsyncIterator[CheckResult]:
    """Runs checks on an open service, in order. A failed check does not end the run."""
    for check in checks:
        try:
            await check.run(service)
        except AssertionError as error:
            yield CheckResult(check, "differs", str(error))
        except Inconclusive as error:
            yield CheckResult(check, "inconclusive", str(error))
        else:
            yield CheckResult(check, "holds")


def summarize(results: Sequence[CheckResult]) -> str:
    """Returns the number of results of each outcome, and the confidence of those that differ."""
    counts = Counter(result.outcome for result in results)
    wrong = Counter(result.check.confidence for result in results if result.outcome == "differs")
    total = f"{counts['holds']} hold, {counts['differs']} differ, {counts['inconclusive']} inconclusive."
    if not wrong:
        return total
    return f"{total} Of those that differ: {', '.join(f'{count} {confidence}' for confidence, count in wrong.items())}."
