"""The nouns `webhooks` and `webhook_events`: where the service tells of ended jobs, and what it has told."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from .._core.errors import ResponseDecodeError, RivyaError
from .._core.http.retry import definitely_not_processed, outcome_is_ambiguous
from .._core.webhooks import operations

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable

    from .._core.http.operations import Operation
    from .._core.webhooks.records import WebhookDelivery, WebhookEndpoint, WebhookEvent
    from .._engine.engine import Engine

T = TypeVar("T")


class Webhooks:
    """The endpoints of the account. Needs the scope `webhooks:manage` (contract section 11)."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def create(self, name: str, url: str, event_types: Iterable[str]) -> WebhookEndpoint:
        """Have ended jobs told to a URL; the record holds the `signing_secret`, which is told only this once.

        The event types are `generation.succeeded` and `generation.failed`. The service wants https and a public host.

        No idempotency key is documented for it. So it is repeated where the service has certainly not acted: nothing
        was sent, 425, 429, or the API is switched off. A doubt is raised: `OutcomeUnknownError`, a
        `InternalServerError`, or a `ResponseDecodeError` for an answer that cannot be read. Then look into `list`
        before creating it again: an endpoint whose secret was lost gets another by `rotate_secret`. Cancelling it
        leaves the same doubt, and a note of it.

        Raises `ValidationFailed` (code `webhook_url_rejected`) for a URL that the service does not take.

        >>> async def told(session):
        ...     endpoint = await session.webhooks.create("Prod", "https://8.8.8.8/rivya", ["generation.succeeded"])
        ...     return endpoint.status, endpoint.signing_secret[:6], (await session.webhooks.list()) == [endpoint]
        >>> in_sandbox(told)
        ('active', 'whsec_', False)
        """
        return await self._call(
            operations.create_webhook(name, url, event_types),
            "The endpoint may have been made: look into webhooks.list() before you create it again.",
        )

    async def list(self, limit: int | None = None) -> builtins.list[WebhookEndpoint]:
        """Endpoints, the newest first; at most `limit`, or as many as the service gives. Safe to cancel.

        Raises what any read can raise. The order and `limit` are assumptions.
        """
        return [*await self._engine().executor.execute(operations.list_webhooks(limit))]

    async def retrieve(self, endpoint_id: str) -> WebhookEndpoint:
        """One endpoint, without its secret. Raises `NotFoundError`, and what any read can raise. Safe to cancel."""
        return await self._engine().executor.execute(operations.retrieve_webhook(endpoint_id))

    async def update(
        self,
        endpoint_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        event_types: Iterable[str] | None = None,
        status: str | None = None,
    ) -> WebhookEndpoint:
        """Change what is given; the rest stays. `status` is `active` or `disabled`.

        Which members the service takes is an assumption. Doing it twice does no more than once, so it is repeated
        through every transient fault; cancelling it leaves open whether it was done. Raises as `create` does.

        >>> async def pause(session):
        ...     endpoint = await session.webhooks.create("Prod", "https://8.8.8.8/rivya", ["generation.failed"])
        ...     return (await session.webhooks.update(endpoint.id, status="disabled")).is_active
        >>> in_sandbox(pause)
        False
        """
        changes = {"name": name, "url": url, "event_types": event_types, "status": status}
        return await self._engine().executor.execute(operations.update_webhook(endpoint_id, **changes))

    async def delete(self, endpoint_id: str) -> WebhookEndpoint:
        """Revoke an endpoint for good and return it; nothing is delivered to it any more.

        It is repeated through every transient fault: should the service no longer know the endpoint, `NotFoundError`
        may mean that an attempt before has revoked it. That it answers the endpoint is an assumption.
        """
        return await self._engine().executor.execute(operations.delete_webhook(endpoint_id))

    async def rotate_secret(self, endpoint_id: str) -> WebhookEndpoint:
        """A new `signing_secret`, told only this once. That the old one dies at once is an assumption.

        Repeated as `create` is. After a doubt, or when it was cancelled, the old secret may be dead and the new one
        lost: rotate again.

        >>> async def rotate(session):
        ...     endpoint = await session.webhooks.create("Prod", "https://8.8.8.8/rivya", ["generation.failed"])
        ...     return (await session.webhooks.rotate_secret(endpoint.id)).signing_secret == endpoint.signing_secret
        >>> in_sandbox(rotate)
        False
        """
        return await self._call(
            operations.rotate_secret(endpoint_id),
            "The old secret may be dead and the new one lost: rotate it again.",
        )

    async def test(self, endpoint_id: str) -> WebhookDelivery:
        """Have an invented event sent to an endpoint, and hear how it went. Repeated as `create` is.

        What is sent and what is answered are assumptions: a `generation.succeeded`, and its delivery.
        """
        return await self._call(
            operations.test_webhook(endpoint_id),
            "The event may have been sent: look into webhooks.deliveries(endpoint_id).",
        )

    async def deliveries(self, endpoint_id: str, limit: int | None = None) -> builtins.list[WebhookDelivery]:
        """What was sent to an endpoint, the newest first. Raises what any read can raise. Safe to cancel.

        The order, `limit` and the shape are assumptions.
        """
        return [*await self._engine().executor.execute(operations.list_deliveries(endpoint_id, limit))]

    async def _call(self, endpoint: Operation[T], advice: str) -> T:
        """The answer to what must not act twice; what leaves a doubt, a cancellation too, also says what to do."""
        try:
            return await self._engine().executor.execute(endpoint)
        except RivyaError as error:
            if isinstance(error, ResponseDecodeError) or (
                outcome_is_ambiguous(error) and not definitely_not_processed(error)
            ):
                error.message = f"{error.message} {advice}"
                error.args = (error.message,)
            raise
        except BaseException as stopped:
            stopped.add_note(advice)
            raise


class WebhookEvents:
    """What happened on the account that webhooks tell of. Needs the scope `webhooks:manage`."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def list(self, limit: int | None = None) -> builtins.list[WebhookEvent]:
        """Events, the newest first; at most `limit`, or as many as the service gives. Safe to cancel.

        Raises what any read can raise. The order, `limit` and the shape are assumptions.

        >>> async def missed(session):
        ...     job = await session.generate("z-image", "A red kite")
        ...     (event,) = await session.webhook_events.list()
        ...     return event.type, event.generation == job
        >>> in_sandbox(missed)
        ('generation.succeeded', True)
        """
        return [*await self._engine().executor.execute(operations.list_events(limit))]
