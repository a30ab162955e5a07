"""A run with a budget: the session refuses each job that would exceed it, before anything is sent.

RIVYA_API_KEY=... python examples/budget.py 20 < prompts.txt
"""

import asyncio
import sys

from rivya_async import GenerationRequest, RateLimit, RivyaSession, SpendLimitError


async def main(max_spend: float) -> None:
    requests = [GenerationRequest("z-image", prompt) for line in sys.stdin if (prompt := line.strip())]
    limits = RateLimit(20, burst=5)  # requests per second; without it the session learns the limit from 429s
    async with RivyaSession(max_spend=max_spend, rate_limit=limits) as session:
        outcomes = [outcome async for outcome in session.map(requests, max_in_flight=10)]
    refused = [outcome for outcome in outcomes if isinstance(outcome.error, SpendLimitError)]
    print(f"{session.spend.final} credits spent, {len(refused)} prompts over budget")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
