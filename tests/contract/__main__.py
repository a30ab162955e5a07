"""Hold the real service to the contract: `nox -s live`. Nothing is bought without --spend."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from rivya_async.testing.contract import ALL, CannotTell, Finding, Service, examine, over_http, summary
from rivya_async.testing.contract.balance import balance
from rivya_async.testing.contract.models import cheapest


def main() -> int:
    """Print the report; 1 if anything differs, 2 without a key."""
    parser = argparse.ArgumentParser(prog="nox -s live --", description=__doc__)
    parser.add_argument("--spend", action="store_true", help="also buy: the cheapest image and the cheapest chat turns")
    spend = parser.parse_args().spend
    key = os.environ.get("RIVYA_API_KEY")
    if not key:
        print("RIVYA_API_KEY holds no key: the real service was not asked.", file=sys.stderr)
        return 2
    return asyncio.run(report(os.environ.get("RIVYA_BASE_URL") or "https://rivya.ai", key, spend=spend))


async def report(base_url: str, key: str, *, spend: bool) -> int:
    """Carry out all checks that may be, and print what came of each."""
    findings: list[Finding] = []
    checks = [check for check in ALL if spend or not check.spends]
    async with over_http(base_url, key)() as service:
        print(f"{len(checks)} of {len(ALL)} checks of {base_url}. {await _price(service, spend=spend)}", flush=True)
        before = await _balance(service)
        async for finding in examine(service, checks):
            findings.append(finding)
            print(finding.line, flush=True)
        after = await _balance(service)
    print(summary(findings))
    if before is not None and after is not None:
        print(f"The balance was {before:,.12g} credits and is {after:,.12g}.")
    return int(any(finding.verdict == "differs" for finding in findings))


async def _price(service: Service, *, spend: bool) -> str:
    if not spend:
        return "Nothing is bought: the others may cost credits, and run with --spend."
    images, turns = sum(check.images for check in ALL), sum(check.turns for check in ALL)
    try:
        image, turn = await cheapest(service, "image"), await cheapest(service, "chat")
    except (AssertionError, CannotTell):
        return "What they cost could not be told."
    most = images * image["base_credits"] + turns * turn["base_credits"]
    price = f"about {most:,.12g} credits if nothing is refused, far less if all hold"
    return f"They buy of {image['id']} and {turn['id']}: {price}."


async def _balance(service: Service) -> float | None:
    try:
        return await balance(service)
    except (AssertionError, CannotTell):
        return None


if __name__ == "__main__":
    sys.exit(main())
