"""One logical call: its key, its attempts, the pauses between them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from .._core.endpoints import Endpoint, read_error
from .._core.errors import (
    Answered,
    DecodeError,
    IdempotencyConflict,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    RivyaError,
)
from .._core.retry import Again, Attempts, Stop, decide, delay_before, did_not_act, is_outage, leaves_doubt
from .hooks import AttemptDetails, RetryDetails, tell
from .scheduler import Alarm

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from contextvars import Context
    from types import TracebackType

    from .._core.message import Request, Response
    from .._core.policies import RetryPolicy
    from .._core.settings import Settings
    from .ambient import Ambient
    from .gate import Gate
    from .hooks import Hooks
    from .scheduler import Scheduler
    from .transport import Sender

T = TypeVar("T")


class Caller:
    """Sends what an endpoint says through the gate, and repeats it as the retry law allows."""

    def __init__(
        self,
        transport: Sender,
        gate: Gate,
        scheduler: Scheduler,
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
        self._scheduler = scheduler
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._pauses: set[Alarm] = set()
        self._closing = False

    async def call(self, endpoint: Endpoint[T], *, deadline: float | None = None) -> T:
        """Send until there is an answer, a reason to stop, or the deadline (on the loop's clock) is near.

        What acts carries a key, minted once before the first attempt. No attempt begins after the deadline; one on its
        way is not cut. Cancelling drops the attempt. What is raised carries the key: as a note if it is not our error.
        """
        return (await self.counted(endpoint, deadline=deadline))[0]

    def counted(self, endpoint: Endpoint[T], *, deadline: float | None = None) -> Coroutine[Any, Any, tuple[T, int]]:
        """`call`, and how many requests it took."""
        return self._attempts(self._with_key(endpoint), deadline)

    async def send(self, endpoint: Endpoint[T], *, number: int = 1, context: Context | None = None) -> T:
        """Send exactly once, from a place of the gate that the sender gives back; raises what came of it.

        Hooks hear of it in `context`, if it is not the sender's own affair.
        """
        request = endpoint.request
        self._check_api_key(request)
        began = self._loop.time()
        try:
            response = await self._transport.send(request)
            if not response.is_success:
                raise read_error(self._without_key(response), self.ambient.wall())
            answer = endpoint.decode(response)
        except RivyaError as error:
            self._heard(began, error)
            self._tell_attempt(request, number, began, error, context)
            raise
        self._heard(began, None)
        self._tell_attempt(request, number, began, None, context)
        return answer

    def close(self) -> None:
        """Begin no further attempt and end every pause."""
        self._closing = True
        for pause in self._pauses:
            pause.fire()
        self._gate.close()

    async def aclose(self) -> None:
        """Close, and let what is in flight come to its end."""
        self.close()
        await self._gate.aclose()

    def _with_key(self, endpoint: Endpoint[T]) -> Endpoint[T]:
        request = endpoint.request
        if request.idempotency_key is not None or not request.wants_key:
            return endpoint
        return attrs.evolve(endpoint, request=attrs.evolve(request, idempotency_key=self.ambient.mint_key()))

    async def _attempts(self, endpoint: Endpoint[T], deadline: float | None) -> tuple[T, int]:
        request = endpoint.request
        began = came = self._loop.time()
        doubt = False
        sent = 0
        with _Noting(request):
            while True:
                has_place = False
                try:
                    self._check_api_key(request)
                    await self._gate.enter(deadline=deadline)
                    has_place = True
                    began += self._loop.time() - came  # what is waited for a place is no attempt's fault
                    sent += 1
                    try:
                        return await self.send(endpoint, number=sent), sent
                    finally:
                        self._gate.leave()
                except RivyaError as error:
                    error.attempts, error.idempotency_key = sent, request.idempotency_key
                    if not has_place:  # whoever was turned away and asks again is turned away again
                        raise _final(error, doubt=doubt) from None
                    attempts = Attempts(sent, self._loop.time() - began, doubt)
                    doubt = doubt or _may_have_acted(request, error)
                    decision = self._decide(error, request, attempts, deadline)
                    if isinstance(decision, Stop):
                        raise _final(error, doubt=doubt) from None
                    self._tell_retry(request, sent, decision, error)
                await self._pause(decision.delay)
                came = self._loop.time()

    def _decide(self, error: RivyaError, request: Request, attempts: Attempts, deadline: float | None) -> Again | Stop:
        if self._closing:
            return Stop("the session is closing")
        budget, now = self._gate.budget, self._loop.time()
        in_haste = budget.has_retry(now)
        u = self.ambient.uniform()
        repeatable = request.is_repeatable or (not request.takes_key and did_not_act(error))
        decision = decide(self.retry, error, attempts, repeatable=repeatable, u=u, in_haste=in_haste)
        if isinstance(decision, Stop):
            return decision
        if deadline is not None and now + decision.delay >= deadline:
            return Stop("the deadline comes before the next attempt")
        if in_haste:
            budget.take_retry(now)
        return decision

    def _tell_retry(self, request: Request, sent: int, decision: Again, error: RivyaError) -> None:
        if self.hooks:
            details = RetryDetails(
                request.method, request.path, sent + 1, decision.delay, request.idempotency_key, error
            )
            tell(self.hooks, "on_retry", details)

    def _check_api_key(self, request: Request) -> None:
        if request.needs_api_key:
            self._settings.required_key()

    def _heard(self, sent_at: float, error: RivyaError | None) -> None:
        """Let the session's budget learn from what came of a request."""
        budget, now = self._gate.budget, self._loop.time()
        if isinstance(error, RateLimited):
            hold = delay_before(self.retry, budget.refusals, self.ambient.uniform(), error.retry_after)
            budget.refused(now, sent_at, hold, error.retry_after)
        elif error is not None and is_outage(error):
            budget.failed(now, sent_at, self.ambient.uniform())
            self._gate.give_up_calls()
        elif (error is None or isinstance(error, Answered | DecodeError)) and budget.granted(now, sent_at):
            self._gate.look()  # it is back

    def _without_key(self, response: Response) -> Response:
        """A refusal as it may be shown: some services repeat the key that they refuse."""
        key = self._settings.api_key
        return response if key is None else attrs.evolve(response, body=response.body.replace(key.encode(), b"***"))

    def _tell_attempt(
        self, request: Request, number: int, began: float, error: RivyaError | None, context: Context | None
    ) -> None:
        if self.hooks:
            elapsed = self._loop.time() - began
            key = request.idempotency_key
            details = AttemptDetails(request.method, request.path, number, elapsed, key, error)
            tell(self.hooks, "on_attempt", details, context)

    async def _pause(self, delay: float) -> None:
        """Sleep, unless the session is closed meanwhile."""
        pause = Alarm(self._loop)
        entry = self._scheduler.at(self._loop.time() + delay, pause)
        self._pauses.add(pause)
        try:
            await pause
        finally:
            self._scheduler.cancel(entry)
            self._pauses.discard(pause)


class _Noting:
    """What is no error of ours, such as a cancellation, leaves with a note of the key that it may have acted under."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, stopped: BaseException | None, traceback: TracebackType | None
    ) -> None:
        request = self._request
        if stopped is not None and not isinstance(stopped, RivyaError) and request.idempotency_key is not None:
            stopped.add_note(
                f"{type(stopped).__name__} during {request.method} {request.path}: it may have acted; "
                f"repeat it under idempotency_key={request.idempotency_key!r}"
            )


def _may_have_acted(request: Request, error: RivyaError) -> bool:
    """Whether what failed so may have been carried out all the same."""
    if request.only_reads or not leaves_doubt(error):
        return False
    return request.idempotency_key is not None or not did_not_act(error)


def _final(error: RivyaError, *, doubt: bool) -> RivyaError:
    """The error to raise: what the last attempt met says nothing of an earlier one that may have acted."""
    if not doubt or leaves_doubt(error):
        return error
    if not isinstance(error, NotSent | RateLimited | IdempotencyConflict):
        error.add_note("an earlier attempt of the same call may have acted")
        return error
    return OutcomeUnknown(
        f"an earlier attempt may have acted, and the last one failed: {error.message}",
        idempotency_key=error.idempotency_key,
        request_id=error.request_id,
        attempts=error.attempts,
    )
