"""One logical call: its key, its attempts, the pauses between them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from ..._core.errors import (
    APIStatusError,
    IdempotencyConflictError,
    OutcomeUnknownError,
    RateLimitError,
    RequestNotSentError,
    ResponseDecodeError,
    RivyaError,
)
from ..._core.http.error_responses import read_error
from ..._core.http.operations import Operation
from ..._core.http.retry import (
    AttemptState,
    GiveUp,
    RetryAfterDelay,
    decide_retry,
    definitely_not_processed,
    indicates_outage,
    outcome_is_ambiguous,
    retry_delay,
)
from ..hooks import AttemptDetails, RetryDetails, notify
from ..timer_queue import Wakeup

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from contextvars import Context
    from types import TracebackType

    from ..._core.config import Config
    from ..._core.http.messages import Request, Response
    from ..._core.policies import RetryPolicy
    from ..environment import Environment
    from ..hooks import Hooks
    from ..timer_queue import TimerQueue
    from .request_limiter import RequestLimiter
    from .transport import RequestSender

T = TypeVar("T")


class RequestExecutor:
    """Sends what an endpoint says through the gate, and repeats it as the retry law allows."""

    def __init__(
        self,
        transport: RequestSender,
        gate: RequestLimiter,
        scheduler: TimerQueue,
        *,
        settings: Config,
        retry: RetryPolicy,
        ambient: Environment,
        hooks: Sequence[Hooks],
    ) -> None:
        self.retry = retry
        self.environment = ambient
        self.hooks = hooks
        self._transport = transport
        self._limiter = gate
        self._timers = scheduler
        self._config = settings
        self._loop = asyncio.get_running_loop()
        self._backoffs: set[Wakeup] = set()
        self._closing = False

    async def execute(self, endpoint: Operation[T], *, deadline: float | None = None) -> T:
        """Send until there is an answer, a reason to stop, or the deadline (on the loop's clock) is near.

        What acts carries a key, minted once before the first attempt. No attempt begins after the deadline; one on its
        way is not cut. Cancelling drops the attempt. What is raised carries the key: as a note if it is not our error.
        """
        return (await self.execute_counted(endpoint, deadline=deadline))[0]

    def execute_counted(
        self, endpoint: Operation[T], *, deadline: float | None = None
    ) -> Coroutine[Any, Any, tuple[T, int]]:
        """`call`, and how many requests it took."""
        return self._run_attempts(self._with_idempotency_key(endpoint), deadline)

    async def send_once(self, endpoint: Operation[T], *, number: int = 1, context: Context | None = None) -> T:
        """Send exactly once, from a place of the gate that the sender gives back; raises what came of it.

        Hooks hear of it in `context`, if it is not the sender's own affair.
        """
        request = endpoint.request
        self._check_api_key(request)
        began = self._loop.time()
        try:
            response = await self._transport.send(request)
            if not response.is_success:
                raise read_error(self._mask_api_key(response), self.environment.wall_time())
            answer = endpoint.decode(response)
        except RivyaError as error:
            self._update_rate_controller(began, error)
            self._notify_attempt(request, number, began, error, context)
            raise
        self._update_rate_controller(began, None)
        self._notify_attempt(request, number, began, None, context)
        return answer

    def close(self) -> None:
        """Begin no further attempt and end every pause."""
        self._closing = True
        for pause in self._backoffs:
            pause.fire()
        self._limiter.close()

    async def aclose(self) -> None:
        """Close, and let what is in flight come to its end."""
        self.close()
        await self._limiter.aclose()

    def _with_idempotency_key(self, endpoint: Operation[T]) -> Operation[T]:
        request = endpoint.request
        if request.idempotency_key is not None or not request.needs_idempotency_key:
            return endpoint
        return attrs.evolve(
            endpoint, request=attrs.evolve(request, idempotency_key=self.environment.new_idempotency_key())
        )

    async def _run_attempts(self, endpoint: Operation[T], deadline: float | None) -> tuple[T, int]:
        request = endpoint.request
        began = came = self._loop.time()
        doubt = False
        sent = 0
        with _CancellationContext(request):
            while True:
                has_place = False
                try:
                    self._check_api_key(request)
                    await self._limiter.acquire(deadline=deadline)
                    has_place = True
                    began += self._loop.time() - came  # what is waited for a place is no attempt's fault
                    sent += 1
                    try:
                        return await self.send_once(endpoint, number=sent), sent
                    finally:
                        self._limiter.release()
                except RivyaError as error:
                    error.attempts, error.idempotency_key = sent, request.idempotency_key
                    if not has_place:  # whoever was turned away and asks again is turned away again
                        raise _final_error(error, doubt=doubt) from None
                    attempts = AttemptState(sent, self._loop.time() - began, doubt)
                    doubt = doubt or _may_have_been_processed(request, error)
                    decision = self._decide(error, request, attempts, deadline)
                    if isinstance(decision, GiveUp):
                        raise _final_error(error, doubt=doubt) from None
                    self._notify_retry(request, sent, decision, error)
                await self._back_off(decision.delay)
                came = self._loop.time()

    def _decide(
        self, error: RivyaError, request: Request, attempts: AttemptState, deadline: float | None
    ) -> RetryAfterDelay | GiveUp:
        if self._closing:
            return GiveUp("the session is closing")
        budget, now = self._limiter.rate_controller, self._loop.time()
        in_haste = budget.has_retry_token(now)
        u = self.environment.uniform()
        repeatable = request.is_repeatable or (not request.accepts_idempotency_key and definitely_not_processed(error))
        decision = decide_retry(self.retry, error, attempts, repeatable=repeatable, u=u, has_retry_token=in_haste)
        if isinstance(decision, GiveUp):
            return decision
        if deadline is not None and now + decision.delay >= deadline:
            return GiveUp("the deadline comes before the next attempt")
        if in_haste:
            budget.take_retry_token(now)
        return decision

    def _notify_retry(self, request: Request, sent: int, decision: RetryAfterDelay, error: RivyaError) -> None:
        if self.hooks:
            details = RetryDetails(
                request.method, request.path, sent + 1, decision.delay, request.idempotency_key, error
            )
            notify(self.hooks, "on_retry", details)

    def _check_api_key(self, request: Request) -> None:
        if request.needs_api_key:
            self._config.require_api_key()

    def _update_rate_controller(self, sent_at: float, error: RivyaError | None) -> None:
        """Let the session's budget learn from what came of a request."""
        budget, now = self._limiter.rate_controller, self._loop.time()
        if isinstance(error, RateLimitError):
            hold = retry_delay(self.retry, budget.consecutive_rejections, self.environment.uniform(), error.retry_after)
            budget.on_rate_limited(now, sent_at, hold, error.retry_after)
        elif error is not None and indicates_outage(error):
            budget.on_failure(now, sent_at, self.environment.uniform())
            self._limiter.reject_calls_in_outage()
        elif (error is None or isinstance(error, APIStatusError | ResponseDecodeError)) and budget.on_success(
            now, sent_at
        ):
            self._limiter.dispatch()  # it is back

    def _mask_api_key(self, response: Response) -> Response:
        """A refusal as it may be shown: some services repeat the key that they refuse."""
        key = self._config.api_key
        return response if key is None else attrs.evolve(response, body=response.body.replace(key.encode(), b"***"))

    def _notify_attempt(
        self, request: Request, number: int, began: float, error: RivyaError | None, context: Context | None
    ) -> None:
        if self.hooks:
            elapsed = self._loop.time() - began
            key = request.idempotency_key
            details = AttemptDetails(request.method, request.path, number, elapsed, key, error)
            notify(self.hooks, "on_attempt", details, context)

    async def _back_off(self, delay: float) -> None:
        """Sleep, unless the session is closed meanwhile."""
        pause = Wakeup(self._loop)
        entry = self._timers.call_at(self._loop.time() + delay, pause)
        self._backoffs.add(pause)
        try:
            await pause
        finally:
            self._timers.cancel(entry)
            self._backoffs.discard(pause)


class _CancellationContext:
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


def _may_have_been_processed(request: Request, error: RivyaError) -> bool:
    """Whether what failed so may have been carried out all the same."""
    if request.is_safe or not outcome_is_ambiguous(error):
        return False
    return request.idempotency_key is not None or not definitely_not_processed(error)


def _final_error(error: RivyaError, *, doubt: bool) -> RivyaError:
    """The error to raise: what the last attempt met says nothing of an earlier one that may have acted."""
    if not doubt or outcome_is_ambiguous(error):
        return error
    if not isinstance(error, RequestNotSentError | RateLimitError | IdempotencyConflictError):
        error.add_note("an earlier attempt of the same call may have acted")
        return error
    return OutcomeUnknownError(
        f"an earlier attempt may have acted, and the last one failed: {error.message}",
        idempotency_key=error.idempotency_key,
        request_id=error.request_id,
        attempts=error.attempts,
    )
