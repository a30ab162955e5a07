"""Have ended jobs told to a URL, once; then see what its receiver did not take, and catch up.

RIVYA_API_KEY=... python examples/webhooks.py https://hooks.example.org/rivya
"""

import asyncio
import sys

from rivya_async import OutcomeUnknownError, RivyaSession, WebhookEndpoint


async def endpoint_at(session: RivyaSession, url: str) -> WebhookEndpoint:
    """The endpoint of this URL. There is no key to repeat a create under: after a doubt, look again."""
    for endpoint in await session.webhooks.list(limit=100):
        if endpoint.url == url and endpoint.is_active:
            return endpoint
    try:
        endpoint = await session.webhooks.create("Prod", url, ["generation.succeeded", "generation.failed"])
    except OutcomeUnknownError:
        made = [each for each in await session.webhooks.list() if each.url == url and each.is_active]
        if not made:
            raise
        endpoint = await session.webhooks.rotate_secret(made[0].id)  # its secret was in the answer that was lost
    print(f"keep this, it is told only once: {endpoint.signing_secret}")
    return endpoint


async def main(url: str) -> None:
    async with RivyaSession() as session:
        endpoint = await endpoint_at(session, url)
        tried = await session.webhooks.test(endpoint.id)
        print(f"a test was {tried.status}: {tried.error or tried.response_status}")
        taken = {each.event_id for each in await session.webhooks.deliveries(endpoint.id, limit=100) if each.succeeded}
        for event in await session.webhook_events.list(limit=100):
            if event.id not in taken and event.generation:
                print(f"missed: {event.generation.id} {event.generation.status}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
