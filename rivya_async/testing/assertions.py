"""Assertions about the purchases that a sandbox received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..sandbox import Sandbox

MAX_LISTED: Final = 10
"""Keys or task ids that an assertion message lists."""


def assert_no_double_purchase(sandbox: Sandbox) -> None:
    """Raises AssertionError if an idempotency key made two purchases in one account on one route.

    >>> async def main():
    ...     async with Sandbox(speed=1000) as sandbox:
    ...         async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
    ...             await session.submit("z-image", "A red kite", idempotency_key="order-1")
    ...             await session.submit("z-image", "A red kite", idempotency_key="order-1")
    ...         assert_no_double_purchase(sandbox)
    ...         return sandbox.request_log.purchases
    >>> asyncio.run(main())
    1
    """
    repeated = sandbox.request_log.duplicate_purchases
    _fail_if_any("purchased more than once", [f"{key!r} {count} times" for key, count in repeated.items()])


def assert_all_settled(sandbox: Sandbox) -> None:
    """Raises AssertionError if neither a poll nor a webhook has reported the end of a purchased job.

    >>> async def main():
    ...     async with Sandbox(speed=1000) as sandbox:
    ...         async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
    ...             job = await session.submit("z-image", "A red kite")
    ...         try:
    ...             assert_all_settled(sandbox)
    ...         except AssertionError as error:
    ...             return str(error) == f"1 purchased, end not reported: {job.id}"
    >>> asyncio.run(main())
    True
    """
    _fail_if_any("purchased, end not reported", sandbox.unobserved_tasks)


def spent_credits(sandbox: Sandbox) -> int:
    """Returns the credits that the main account has spent or reserved. Failed jobs return their credits.

    >>> async def main():
    ...     async with Sandbox(speed=1000) as sandbox:
    ...         async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
    ...             await session.submit("z-image", "A red kite")
    ...         return spent_credits(sandbox)
    >>> asyncio.run(main())
    1
    """
    return sandbox.spent


def _fail_if_any(problem: str, items: list[str]) -> None:
    if items:
        more = f", and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
        raise AssertionError(f"{len(items)} {problem}: {', '.join(items[:MAX_LISTED])}{more}")
