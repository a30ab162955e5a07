"""The resources `webhooks` and `webhook_events`: endpoints, their deliveries, and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from .._core.errors import ResponseDecodeError, RivyaError
from .._core.http.retry import definitely_not_processed, outcome_is_ambiguous
from .._core.types.record import RecordList
from .._core.webhooks import operations

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable

    from .._core.http.operations import Operation
    from .._core.webhooks.records import WebhookDelivery, WebhookEndpoint, WebhookEvent
    from .._engine.engine import Engine

T = TypeVar("T")


class Webhooks:
    """The webhook endpoints of the account. Needs the scope `webhooks:manage`."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def create(self, name: str, url: str, event_types: Iterable[str]) -> WebhookEndpoint:
        """Creates an endpoint for ended jobs. Only this record contains its `signing_secret`.

        The event types are `generation.succeeded` and `generation.failed`. The service requires https and a public
        host.

        No idempotency key is documented for this call. It is retried only if the service has definitely not processed
        it: nothing was sent, 425, 429, or the API is disabled. An ambiguous outcome is raised: `OutcomeUnknownError`,
        `InternalServerError`, or `ResponseDecodeError` for a response that cannot be decoded. Then read `list` before
        you create it again. `rotate_secret` replaces a lost secret. Cancelling is ambiguous too: the `CancelledError`
        has a note.

        Raises `BadRequestError` (code `webhook_url_rejected`) for a URL that the service rejects.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         endpoint = await session.webhooks.create("Prod", "https://8.8.8.8/rivya", ["generation.succeeded"])
        ...         return endpoint.status, endpoint.signing_secret[:6], (await session.webhooks.list()) == [endpoint]
        >>> asyncio.run(main())
        ('active', 'whsec_', False)
        """
        return await self._call(
            operations.create_webhook(name, url, event_types),
            "The endpoint may have been created: read webhooks.list() before you create it again.",
        )

    async def list(self, limit: int | None = None) -> builtins.list[WebhookEndpoint]:
        """Returns endpoints, newest first: at most `limit`, or the service's default. Safe to cancel.

        Raises what any read can raise. The order and `limit` are assumptions.
        """
        return RecordList([*await self._engine().executor.execute(operations.list_webhooks(limit))])

    async def retrieve(self, endpoint_id: str) -> WebhookEndpoint:
        """Returns an endpoint without its secret. Safe to cancel.

        Raises `NotFoundError`, and what any read can raise.
        """
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
        """Changes the given fields of an endpoint. `status` is `active` or `disabled`.

        The accepted fields are an assumption. The call is idempotent, so it is retried through every transient fault.
        After cancellation the change may or may not be applied. Raises as `create` does.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         endpoint = await session.webhooks.create("Prod", "https://8.8.8.8/rivya", ["generation.failed"])
        ...         return (await session.webhooks.update(endpoint.id, status="disabled")).is_active
        >>> asyncio.run(main())
        False
        """
        changes = {"name": name, "url": url, "event_types": event_types, "status": status}
        return await self._engine().executor.execute(operations.update_webhook(endpoint_id, **changes))

    async def delete(self, endpoint_id: str) -> WebhookEndpoint:
        """Revokes an endpoint permanently and returns it.

        The call is retried through every transient fault, so `NotFoundError` may mean that an earlier attempt has
        revoked the endpoint. That the service returns the endpoint is an assumption.
        """
        return await self._engine().executor.execute(operations.delete_webhook(endpoint_id))

    async def rotate_secret(self, endpoint_id: str) -> WebhookEndpoint:
        """Returns the endpoint with a new `signing_secret`. Only this record contains it.

        That the old secret becomes invalid at once is an assumption. Retried as `create` is. After an ambiguous error
        or a cancellation the old secret may be invalid and the new one lost: rotate it again.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         endpoint = await session.webhooks.create("Prod", "https://8.8.8.8/rivya", ["generation.failed"])
        ...         return (await session.webhooks.rotate_secret(endpoint.id)).signing_secret == endpoint.signing_secret
        >>> asyncio.run(main())
        False
        """
        return await self._call(
            operations.rotate_secret(endpoint_id),
            "The old secret may be invalid and the new one lost: rotate it again.",
        )

    async def test(self, endpoint_id: str) -> WebhookDelivery:
        """Sends a test event to an endpoint and returns its delivery. Retried as `create` is.

        The event (a `generation.succeeded`) and the response (its delivery) are assumptions.
        """
        return await self._call(
            operations.test_webhook(endpoint_id),
            "The event may have been sent: read webhooks.deliveries(endpoint_id).",
        )

    async def deliveries(self, endpoint_id: str, limit: int | None = None) -> builtins.list[WebhookDelivery]:
        """Returns the deliveries of an endpoint, newest first. Raises what any read can raise. Safe to cancel.

        The order, `limit` and the shape are assumptions.
        """
        return RecordList([*await self._engine().executor.execute(operations.list_deliveries(endpoint_id, limit))])

    async def _call(self, operation: Operation[T], advice: str) -> T:
        """Executes an operation that is not idempotent. Adds the advice to ambiguous errors and to cancellations."""
        try:
            return await self._engine().executor.execute(operation)
        except RivyaError as error:
            if isinstance(error, ResponseDecodeError) or (
                outcome_is_ambiguous(error) and not definitely_not_processed(error)
            ):
                error.message = f"{error.message} {advice}"
                error.args = (error.message,)
            raise
        except BaseException as error:
            error.add_note(advice)
            raise


class WebhookEvents:
    """Events of the account that webhooks report. Needs the scope `webhooks:manage`."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def list(self, limit: int | None = None) -> builtins.list[WebhookEvent]:
        """Returns events, newest first: at most `limit`, or the service's default. Safe to cancel.

        Raises what any read can raise. The order, `limit` and the shape are assumptions.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         job = await session.generate("z-image", "A red kite")
        ...         (event,) = await session.webhook_events.list()
        ...         return event.type, event.generation == job
        >>> asyncio.run(main())
        ('generation.succeeded', True)
        """
        return RecordList([*await self._engine().executor.execute(operations.list_events(limit))])
