"""A script without an event loop.

RIVYA_API_KEY=... python examples/script.py "A red kite" "A blue whale"
"""

import sys

from rivya_async import GenerationRequest
from rivya_async.blocking import BlockingSession


def main() -> None:
    with BlockingSession() as session:
        for outcome in session.map([GenerationRequest("z-image", prompt) for prompt in sys.argv[1:]]):
            if outcome.ok:
                print(*session.download(outcome.unwrap(), "pictures/"))
            else:
                print("failed:", outcome.request.prompt, outcome.error)


if __name__ == "__main__":
    main()
