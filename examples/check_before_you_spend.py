"""Prompts from stdin, one per line, validated before the purchase, with a limit of credits.

    python examples/check_before_you_spend.py kling-2-6 500 duration=5 sound=false < prompts.txt

Needs RIVYA_API_KEY; RIVYA_BASE_URL selects another origin, such as a sandbox.
"""

import asyncio
import sys

from rivya_async import GenerationRequest, InvalidRequestError, RivyaSession, SpendLimitError


async def main(model: str, budget: float, params: dict[str, str]) -> None:
    async with RivyaSession(max_spend=budget) as session:
        requests = (GenerationRequest(model, line.strip(), params=params) for line in sys.stdin)
        refused = 0
        async for outcome in session.map(requests, check=True):
            if isinstance(outcome.error, SpendLimitError):
                refused += 1
            elif isinstance(outcome.error, InvalidRequestError):
                for problem in outcome.error.problems:
                    print("wrong:", problem.message)
            else:
                print(outcome.unwrap().id, outcome.request.prompt)
        print(f"{session.spend.total} credits spent, {refused} prompts left for another day")


if __name__ == "__main__":
    given = dict(pair.split("=", 1) for pair in sys.argv[3:])
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), given))
