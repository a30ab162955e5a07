"""One logical call: its key, its attempts, the pauses between them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import attrs

from .._core import idempotency
from .._core.endpoints import Endpoint, read_error
from .._core.errors import NotSent, OutcomeUnknown, RateLimited, RivyaError
from .._core.retry import Again, Attempts, Stop, decide, leaves_doubt
from .hooks import AttemptDetails, RetryDetails, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.message import Request
    from .._core.policies import RetryPolicy
    from .._core.settings import Settings
    from .ambient import Ambient
    from .gate import Gate
    from .hooks import Hooks
    from .transport import Transport

T = TypeVar("T")


class Caller:
    """Sends what an endpoint says through the gate, and repeats it as the retry law allows."""

    def __init__(
        self,
        transport: Transport,
        gate: Gate,
        *,
        settings: Settings,
        retry: RetryPolicy,
        ambient: Ambient,
        hooks: Sequence[Hooks],
    ) -> None:
        self.retry = retry
        self.ambient = ambient
        self.hooks = hooks
        self._transport = transport
        self._gate = gate
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._pauses: set[asyncio.Future[None]] = set()
        self._closing = False

    async def call(self, endpoint: Endpoint[T], *, deadline: float | None = None) -> T:
        """Send until there is an answer, a reason to stop, or the deadline (on the loop's clock) is near.

        What acts carries a key, minted once before the first attempt. An attempt on its way is not cut by the deadline.
        Cancelling drops the attempt; the `CancelledError` carries a note with the key.
        """
        endpoint = self._with_key(endpoint)
        try:
            return await self._attempts(endpoint, deadline)
        except asyncio.CancelledError as cancelled:
            if endpoint.request.idempotency_key is not None:
                cancelled.add_note(
                    f"cancelled during {endpoint.request.method} {endpoint.request.path}: it may have acted; "
                    f"repeat it under idempotency_key={endpoint.request.idempotency_key!r}"
                )
            raise

    async def attempt(self, endpoint: Endpoint[T], *, number: int = 1, is_poll: bool = False) -> T:
        """Send exactly once; raises what came of it, with the key that was on it."""
        request = endpoint.request
        if request.needs_api_key:
            self._settings.required_key()
        if not self.hooks:
            return await self._send(endpoint, is_poll=is_poll)
        began = self._loop.time()
        failure: RivyaError | None = None
        try:
            return await self._send(endpoint, is_poll=is_poll)
        except RivyaError as error:
            failure = error
            raise
        finally:
            elapsed = self._loop.time() - began
            key = request.idempotency_key
            tell(self.hooks, "on_attempt", AttemptDetails(request.method, request.path, number, elapsed, key, failure))

    async def aclose(self) -> None:
        """Begin no further attempt, end every pause, and let what is in flight come to its end."""
        self._closing = True
        for pause in self._pauses:
            _end(pause)
        await self._gate.aclose()

    def _with_key(self, endpoint: Endpoint[T]) -> Endpoint[T]:
        request = endpoint.request
        if request.idempotency_key is not None or not idempotency.needs_key(request.method):
            return endpoint
        return attrs.evolve(endpoint, request=attrs.evolve(request, idempotency_key=self.ambient.mint_key()))

    async def _attempts(self, endpoint: Endpoint[T], deadline: float | None) -> T:
        began = self._loop.time()
        doubt = False
        sent = 0
        while True:
            sent += 1
            try:
                return await self.attempt(endpoint, number=sent)
            except RivyaError as error:
                error.attempts = sent
                doubt, decision = self._decide(
                    error, endpoint.request, Attempts(sent, self._loop.time() - began, doubt)
                )
                if isinstance(decision, Stop) or self._is_over(decision, deadline):
                    raise _final(error, doubt=doubt) from None
                self._tell_retry(endpoint.request, sent, decision, error)
            await self._pause(decision.delay)

    def _decide(self, error: RivyaError, request: Request, attempts: Attempts) -> tuple[bool, Again | Stop]:
        repeatable = request.idempotency_key is not None or not idempotency.needs_key(request.method)
        decision = decide(self.retry, error, attempts, repeatable=repeatable, u=self.ambient.uniform())
        return attempts.may_have_acted or leaves_doubt(error), decision

    def _is_over(self, decision: Again, deadline: float | None) -> bool:
        return self._closing or (deadline is not None and self._loop.time() + decision.delay >= deadline)

    def _tell_retry(self, request: Request, sent: int, decision: Again, error: RivyaError) -> None:
        if self.hooks:
            details = RetryDetails(
                request.method, request.path, sent + 1, decision.delay, request.idempotency_key, error
            )
            tell(self.hooks, "on_retry", details)

    async def _send(self, endpoint: Endpoint[T], *, is_poll: bool) -> T:
        request = endpoint.request
        try:
            await self._gate.enter(is_poll=is_poll)
            try:
                response = await self._transport.send(request)
            finally:
                self._gate.leave()
            if response.is_success:
                return endpoint.decode(response)
            raise read_error(response, self.ambient.wall())
        except RivyaError as error:
            error.idempotency_key = request.idempotency_key
            raise

    async def _pause(self, delay: float) -> None:
        """Sleep, unless the session is closed meanwhile."""
        pause = self._loop.create_future()
        timer = self._loop.call_later(delay, _end, pause)
        self._pauses.add(pause)
        try:
            await pause
        finally:
            timer.cancel()
            self._pauses.discard(pause)


def _end(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)


def _final(error: RivyaError, *, doubt: bool) -> RivyaError:
    """The error to raise: an attempt that never left says nothing of an earlier one that may have acted."""
    if not doubt or not isinstance(error, NotSent | RateLimited):
        return error
    return OutcomeUnknown(
        f"an earlier attempt may have acted, and the last one failed: {error.message}",
        idempotency_key=error.idempotency_key,
        request_id=error.request_id,
        attempts=error.attempts,
    )
