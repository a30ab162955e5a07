"""A chat on the terminal: prints each response as it arrives, and continues after an interrupted stream.

RIVYA_API_KEY=... python examples/chat.py gpt-5-2-chat < messages.txt
"""

import asyncio
import sys

from rivya_async import RivyaSession, StreamInterruptedError


async def main(model: str) -> None:
    session_id = None
    async with RivyaSession() as session:
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                async with session.chat.completions.stream(model, line.strip(), session_id=session_id) as stream:
                    async for delta in stream:
                        print(delta, end="", flush=True)
                session_id = stream.completion.session_id
                print()
            except StreamInterruptedError as error:
                print(f"\n[{error}]")
                if error.session_id is not None:  # the turn is bought: its session may have the whole answer
                    session_id = error.session_id
                    print((await session.chat.sessions.retrieve(session_id)).messages[-1].content)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
