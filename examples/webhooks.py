"""Registers a webhook for ended jobs, then lists the events that its receiver has missed.

RIVYA_API_KEY=... python examples/webhooks.py https://hooks.example.org/rivya
"""

import asyncio
import sys

from rivya_async import OutcomeUnknownError, RivyaSession, WebhookEndpoint


async def find_or_create_endpoint(session: RivyaSession, url: str) -> WebhookEndpoint:
    """Returns the endpoint of this URL. A create has no idempotency key: after an unknown outcome, list again."""
    for endpoint in await session.webhooks.list(limit=100):
        if endpoint.url == url and endpoint.is_active:
            return endpoint
    try:
        endpoint = await session.webhooks.create("Prod", url, ["generation.succeeded", "generation.failed"])
    except OutcomeUnknownError:
        created = [each for each in await session.webhooks.list() if each.url == url and each.is_active]
        if not created:
            raise
        endpoint = await session.webhooks.rotate_secret(created[0].id)  # the lost response contained its secret
    print(f"store this secret, it is shown only once: {endpoint.signing_secret}")
    return endpoint


async def main(url: str) -> None:
    async with RivyaSession() as session:
        endpoint = await find_or_create_endpoint(session, url)
        delivery = await session.webhooks.test(endpoint.id)
        print(f"a test was {delivery.status}: {delivery.error or delivery.response_status}")
        received = {
            each.event_id for each in await session.webhooks.deliveries(endpoint.id, limit=100) if each.succeeded
        }
        for event in await session.webhook_events.list(limit=100):
            if event.id not in received and event.generation:
                print(f"missed: {event.generation.id} {event.generation.status}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
