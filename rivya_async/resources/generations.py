"""The resource `generations`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._core.errors import ConfigurationError
from .._core.http import operations
from .._core.types.generations import Generation
from .generation_methods import GenerationMethods

if TYPE_CHECKING:
    from .._core.polling.webhook_updates import DeliveryRateEstimator
    from .job_operations import JobOperations


class Generations(GenerationMethods):
    """Jobs: buy them, wait for them, read them."""

    def __init__(self, jobs: JobOperations, delivery_rate: DeliveryRateEstimator) -> None:
        self._jobs = jobs
        self._delivery_rate = delivery_rate

    create = GenerationMethods.submit

    async def retrieve(self, task_id: str) -> Generation:
        """Reads a job once. A failed job is returned, not raised.

        Raises `NotFoundError` for an unknown task and for a task of another account, and what any read can raise. Safe
        to cancel.
        """
        generation = await self._jobs.engine().executor.execute(operations.retrieve_generation(task_id))
        self._jobs.record(generation)
        return generation

    def expect_deliveries(self) -> None:
        """Declares that webhooks will report most ends: polls fall to a third until they do, or do not.

        `WebhookReceiver(secret, session=session)` calls this. While `settle` brings ends, polls fall to a tenth. While
        polls find ends that no webhook has reported within five seconds, they return to the usual rate. May be called
        before the loop runs.

        >>> RivyaSession("rvya_sk_mine").generations.expect_deliveries()
        """
        self._delivery_rate.expect_deliveries()

    def settle(self, generation: Generation) -> bool:
        """Applies the record of a verified webhook; returns whether it says anything new. `WebhookReceiver` calls this.

        A terminal record ends every wait for the job in the same iteration of the loop, without a poll, and frees its
        credits under `max_reserved`. The latest 5,000 ends are remembered, so that later waits end at once. A record of
        an open job is an update. A record that is known, older by its `updated_at`, or less final than the known one
        changes nothing. An end that contradicts the known record (a success without files, or an older record) is
        verified by a poll.

        It does not wait and sends nothing itself. Raises `ConfigurationError` for anything but a `Generation`, for a
        closed session, and outside of the session's event loop. From another thread, pass the record with
        `loop.call_soon_threadsafe(session.generations.settle, generation)`.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         job = await session.submit("z-image", "A red kite")
        ...         wait = asyncio.create_task(session.wait_for(job, timeout=600))
        ...         ended = await session.generations.retrieve(job.id)     # here it would come from event.generation
        ...         session.generations.settle(ended)
        ...         return (await wait).status
        >>> asyncio.run(main())
        'succeeded'
        """
        if not isinstance(generation, Generation):
            raise ConfigurationError(f"settle takes the Generation of a webhook event, not {generation!r:.80}")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "settle is for the session's event loop: from another thread, call "
                "loop.call_soon_threadsafe(session.generations.settle, generation)"
            ) from None
        is_new = self._jobs.engine().wait_registry.ingest_webhook(generation)
        if is_new:
            self._jobs.record(generation)
        return is_new
