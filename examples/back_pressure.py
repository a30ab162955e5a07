"""A source of any length, twenty jobs at a time: `map` reads the next request when a job has ended.

RIVYA_API_KEY=... python examples/back_pressure.py < prompts.txt
"""

import asyncio
import sys
from collections.abc import Iterator

from rivya_async import GenerationRequest, RivyaSession


def requests() -> Iterator[GenerationRequest]:
    """One request per line of standard input, read as it is needed."""
    for number, line in enumerate(sys.stdin, 1):
        if prompt := line.strip():
            yield GenerationRequest("z-image", prompt, client_request_id=f"line-{number}")


async def main() -> None:
    async with RivyaSession() as session:
        async for outcome in session.map(requests(), max_in_flight=20):
            if outcome.ok:
                print("done", outcome.request.client_request_id, outcome.unwrap().urls[0])
            else:
                print("lost", outcome.request.client_request_id, outcome.error)


if __name__ == "__main__":
    asyncio.run(main())
