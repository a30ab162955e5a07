"""What a test wants to know of a sandbox when its code has run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..sandbox import Sandbox

SHOWN: Final = 10
"""Keys or jobs that a message names."""


def assert_no_double_purchase(sandbox: Sandbox) -> None:
    """AssertionError, with the keys, if an idempotency key has bought more than once: of one account, by one route.

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
    again = sandbox.request_log.duplicate_purchases
    _fail_if("bought more than once", [f"{key!r} {count} times" for key, count in again.items()])


def assert_all_settled(sandbox: Sandbox) -> None:
    """AssertionError, with the task ids, if a job was bought whose end nobody was told, by a poll or by a webhook.

    >>> async def main():
    ...     async with Sandbox(speed=1000) as sandbox:
    ...         async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
    ...             job = await session.submit("z-image", "A red kite")
    ...         try:
    ...             assert_all_settled(sandbox)
    ...         except AssertionError as error:
    ...             return str(error) == f"1 bought, and its end told to nobody: {job.id}"
    >>> asyncio.run(main())
    True
    """
    tasks = sandbox.unobserved_tasks
    _fail_if("bought, and its end told to nobody", tasks)


def spent_credits(sandbox: Sandbox) -> int:
    """What the main account has spent or still holds for open jobs, in credits; a failed job has given it back.

    >>> async def main():
    ...     async with Sandbox(speed=1000) as sandbox:
    ...         async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
    ...             await session.submit("z-image", "A red kite")
    ...         return spent_credits(sandbox)
    >>> asyncio.run(main())
    1
    """
    return sandbox.spent


def _fail_if(what: str, told: list[str]) -> None:
    if told:
        more = f", and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        raise AssertionError(f"{len(told)} {what}: {', '.join(told[:SHOWN])}{more}")
