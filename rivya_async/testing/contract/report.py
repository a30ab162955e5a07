"""Checks that are carried out one after the other, and a line for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Literal

import attrs

from .check import Check
from .service import CannotTell, Service

Verdict = Literal["holds", "differs", "could not be told"]


@attrs.frozen
class Finding:
    """What came of a check."""

    check: Check
    verdict: Verdict
    told: str = ""

    @property
    def line(self) -> str:
        """Such as "holds  documented 9  balance.shape  The balance is ...", with a second line for what differs."""
        check = self.check
        first = f"{self.verdict:<18}{check.mark:<11} {check.section:<6}{check.name:<40}{check.statement}"
        return f"{first}\n{'':18}{self.told}" if self.told else first


async def examine(service: Service, checks: Iterable[Check]) -> AsyncIterator[Finding]:
    """Carry out these checks on an open service, in order; no failure ends the run.

    >>> async def main():
    ...     async with contract.in_memory(FakeTransport(lambda request: {"current_credits": 7}))() as service:
    ...         found = [finding async for finding in contract.examine(service, contract.balance.checks)]
    ...     print(contract.summary(found))
    >>> asyncio.run(main())
    2 hold, 0 differ, 0 could not be told.
    """
    for check in checks:
        try:
            await check.hold(service)
        except AssertionError as error:
            yield Finding(check, "differs", str(error))
        except CannotTell as error:
            yield Finding(check, "could not be told", str(error))
        else:
            yield Finding(check, "holds")


def summary(findings: Sequence[Finding]) -> str:
    """How many of each."""
    counts = Counter(finding.verdict for finding in findings)
    wrong = Counter(finding.check.mark for finding in findings if finding.verdict == "differs")
    told = f"{counts['holds']} hold, {counts['differs']} differ, {counts['could not be told']} could not be told."
    return f"{told} Of those that differ: {', '.join(f'{n} {mark}' for mark, n in wrong.items())}." if wrong else told
