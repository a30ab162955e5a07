"""A dramatiq actor. A message that is delivered again sends the same idempotency key.

The example runs its worker itself, on a broker in memory: replace it by the broker of your project.

RIVYA_API_KEY=... python examples/dramatiq_app.py "A red kite" "A blue whale"
"""

import sys

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import CurrentMessage

from rivya_async.blocking import BlockingSession

broker = StubBroker(middleware=[*StubBroker().middleware, CurrentMessage()])
dramatiq.set_broker(broker)
session = BlockingSession()


@dramatiq.actor(max_retries=3, time_limit=660_000)
def make_picture(prompt: str) -> None:
    message = CurrentMessage.get_current_message()
    key = None if message is None else f"dramatiq-{message.message_id}"
    print(*session.download(session.generate("z-image", prompt, idempotency_key=key, timeout=600), "pictures/"))


if __name__ == "__main__":
    for prompt in sys.argv[1:]:
        make_picture.send(prompt)
    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.start()
    broker.join(make_picture.queue_name, fail_fast=True)
    worker.stop()
    session.close()
