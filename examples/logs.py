"""Logs of the session in the log of a program: warnings of the session, and each request at the level DEBUG.

RIVYA_API_KEY=... python examples/logs.py "A red kite"
"""

import asyncio
import logging
import sys

from rivya_async import RivyaSession

logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
logging.getLogger("rivya_async").setLevel(logging.DEBUG)  # before the first call of the session


async def main(prompt: str) -> None:
    async with RivyaSession() as session:
        job = await session.generate("z-image", prompt)
        logging.getLogger("pictures").info("ended: %s", job.id)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
