"""Checks the real service against the API contract: `nox -s live`. Nothing is bought without --spend."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from .account_checks import fetch_balance
from .model_checks import find_cheapest_model, find_priced_model
from .runner import ALL_CHECKS, CheckResult, run_checks, summarize
from .service import Inconclusive, Service
from .transports import http_service_factory


def main() -> int:
    """Prints the report. Returns 1 if a check differs, 2 without an API key."""
    parser = argparse.ArgumentParser(prog="nox -s live --", description=__doc__)
    parser.add_argument("--spend", action="store_true", help="also buy: the cheapest images and chat turns")
    spend = parser.parse_args().spend
    key = os.environ.get("RIVYA_API_KEY")
    if not key:
        print("RIVYA_API_KEY is not set: no request was sent to the service.", file=sys.stderr)
        return 2
    return asyncio.run(report(os.environ.get("RIVYA_BASE_URL") or "https://rivya.ai", key, spend=spend))


async def report(base_url: str, key: str, *, spend: bool) -> int:
    """Runs the permitted checks and prints each result."""
    results: list[CheckResult] = []
    checks = [check for check in ALL_CHECKS if spend or not check.may_spend]
    async with http_service_factory(base_url, key)() as service:
        cost = await _estimate_cost(service, spend=spend)
        print(f"{len(checks)} of {len(ALL_CHECKS)} checks of {base_url}. {cost}", flush=True)
        before = await _fetch_balance_or_none(service)
        async for result in run_checks(service, checks):
            results.append(result)
            print(result.line, flush=True)
        after = await _fetch_balance_or_none(service)
    print(summarize(results))
    if before is not None and after is not None:
        print(f"The balance was {before:,.12g} credits and is {after:,.12g}.")
    return int(any(result.outcome == "differs" for result in results))


async def _estimate_cost(service: Service, *, spend: bool) -> str:
    if not spend:
        return "Nothing is bought: the others may cost credits, and run with --spend."
    max_images = sum(check.max_images for check in ALL_CHECKS)
    max_chat_turns = sum(check.max_chat_turns for check in ALL_CHECKS)
    try:
        image, chat = await find_cheapest_model(service, "image"), await find_cheapest_model(service, "chat")
        priced, param, value = await find_priced_model(service)
    except (AssertionError, Inconclusive):
        return "Their cost is unknown."
    maximum = max_images * image["base_credits"] + max_chat_turns * chat["base_credits"]
    price = f"about {maximum:,.12g} credits if nothing is rejected, far less if all hold"
    return (
        f"They buy of {image['id']} and {chat['id']}: {price}. They also buy of {priced.id} once for "
        f"{priced.estimate_credits()} and once with {param}={value}: {priced.estimate_credits('', {param: value})}."
    )


async def _fetch_balance_or_none(service: Service) -> float | None:
    try:
        return await fetch_balance(service)
    except (AssertionError, Inconclusive):
        return None


if __name__ == "__main__":
    sys.exit(main())
