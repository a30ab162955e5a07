"""A session behind a proxy whose certificates a company signs itself.

RIVYA_API_KEY=... python examples/proxy.py http://user:password@proxy.example:3128 company-ca.pem
"""

import asyncio
import ssl
import sys

from rivya_async import RivyaSession


async def main(proxy: str, *authorities: str) -> None:
    context = ssl.create_default_context()  # the authorities of the system, and
    for path in authorities:
        context.load_verify_locations(path)  # those of the company
    async with RivyaSession(proxy=proxy, ssl=context) as session:
        print((await session.credits.retrieve()).current_credits)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
