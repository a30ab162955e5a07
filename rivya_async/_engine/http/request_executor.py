"""Runs one logical call: its attempts, the back-off between them, and the feedback to the rate controller."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from ..._core.errors import APIStatusError, RateLimitError, ResponseDecodeError, RivyaError
from ..._core.http.error_responses import CLASS_BY_CODE, add_response, read_error
from ..._core.http.retry import (
    AttemptState,
    GiveUp,
    RetryAfterDelay,
    decide_retry,
    definitely_not_processed,
    indicates_outage,
    retry_delay,
)
from ..._core.masking import MASK, mask_secrets
from ..hooks import AttemptDetails, RetryDetails, notify
from ..logs import ServiceLog
from ..timer_queue import Wakeup
from .call_errors import CancellationContext, mask_error, may_have_been_processed, to_attempt_error, to_call_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from contextvars import Context

    from ..._core.config import Config
    from ..._core.http.messages import Request, RequestOptions, Response
    from ..._core.http.operations import Operation
    from ..._core.limits.rate_controller import RateController
    from ..._core.policies import RetryPolicy
    from ..environment import Environment
    from ..hooks import Hooks
    from ..timer_queue import TimerQueue
    from .request_limiter import Limiter, RequestLimiter
    from .transport import Transport

T = TypeVar("T")


class _Attempt(Generic[T]):
    """The attempts of one operation."""

    __slots__ = ("_executor", "_operation", "_send", "limiter")

    def __init__(
        self,
        executor: RequestExecutor,
        operation: Operation[T],
        send: Callable[[Request], Awaitable[Response]] | None,
        limiter: RequestLimiter,
    ) -> None:
        self._executor = executor
        self._operation = operation
        self._send = send
        self.limiter = limiter

    def __call__(self, number: int) -> Awaitable[T]:
        return self._executor.send_once(self._operation, number=number, send=self._send, limiter=self.limiter)


class RequestExecutor:
    """Runs calls, uploads, streams and downloads under one retry policy.

    A call is bounded by the session's limiter; a caller may pass another limiter and another way to send.
    """

    def __init__(
        self,
        transport: Transport,
        limiter: RequestLimiter,
        timers: TimerQueue,
        *,
        config: Config,
        retry: RetryPolicy,
        environment: Environment,
        hooks: Sequence[Hooks],
        options: RequestOptions | None = None,
    ) -> None:
        self.retry = retry
        self._options = options
        self.environment = environment
        self.hooks = hooks
        self._transport = transport
        self._limiter = limiter
        self._timers = timers
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._backoffs: set[Wakeup] = set()
        self._closing = False
        self._secrets = () if config.api_key is None else (config.api_key,)
        self._log = ServiceLog()

    def execute(
        self,
        operation: Operation[T],
        *,
        deadline: float | None = None,
        send: Callable[[Request], Awaitable[Response]] | None = None,
        limiter: RequestLimiter | None = None,
        admission: Limiter | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Sends until there is a response, a reason to give up, or `deadline` (on the loop's clock) is near.

        No attempt begins after the deadline; an attempt in flight is not cancelled by it. Cancelling drops the
        attempt. Every error has the idempotency key: as an attribute, or in a note if it is not a `RivyaError`.
        `send` replaces the transport's own; `limiter` replaces the session's. `admission` is a limiter of this call
        around it, which may decide about retries.

        Returns the coroutine of `run`: one around it, and a closure, would cost half a KiB per queued call.
        """
        attempt = _Attempt(self, operation, send, limiter or self._limiter)
        return self.run(attempt, admission or attempt.limiter, request=operation.request, deadline=deadline)

    async def run(
        self,
        attempt: Callable[[int], Awaitable[T]],
        limiter: Limiter,
        *,
        request: Request | None = None,
        deadline: float | None = None,
        progress: Callable[[], int] | None = None,
        previous_attempts: int = 0,
    ) -> T:
        """Calls `attempt` with its number until it succeeds or the retry policy gives up.

        Without `request` the attempt is a plain read of which no retry hook is called. `progress` counts what need not
        be done again: after an attempt that raised it, attempts and elapsed time count from the start.
        """
        started = self._loop.time()
        ambiguous = False
        error: RivyaError | None = None
        sent = counted = previous_attempts
        reached = 0
        with CancellationContext(request):
            while True:
                has_slot, queued_at = False, self._loop.time()
                try:
                    if request is not None:
                        self._check_api_key(request)
                    await limiter.acquire(deadline=deadline)
                    has_slot = True
                    started += self._loop.time() - queued_at  # the wait for a slot is not counted as elapsed
                    sent, counted = sent + 1, counted + 1
                    try:
                        return await attempt(sent)
                    finally:
                        limiter.release()
                except RivyaError as caught:
                    error = to_attempt_error(caught, request, sent, self._secrets)
                    if not has_slot:  # a rejected call would be rejected again
                        raise to_call_error(error, ambiguous=ambiguous) from error.__cause__
                    if progress is not None and progress() > reached:
                        started, counted, reached = self._loop.time(), 1, progress()
                    state = AttemptState(counted, self._loop.time() - started, ambiguous)
                    ambiguous = ambiguous or may_have_been_processed(request, error)
                    by_limiter = limiter.decide(error)
                    decision = by_limiter or self._decide(error, request, state, deadline, limiter.rate_controller)
                    if isinstance(decision, GiveUp):
                        raise to_call_error(error, ambiguous=ambiguous) from error.__cause__
                    self._notify_retry(request, sent, decision, error)
                    if by_limiter is not None:  # the attempt does not count, and `acquire` waits
                        counted -= 1
                        continue
                    await self._back_off(decision.delay)
                    if self._closing and request is None:
                        raise
                finally:
                    error = None  # breaks the reference cycle between the error and its traceback

    async def send_once(
        self,
        operation: Operation[T],
        *,
        number: int = 1,
        context: Context | None = None,
        send: Callable[[Request], Awaitable[Response]] | None = None,
        limiter: RequestLimiter | None = None,
    ) -> T:
        """Sends exactly once, from a slot that the caller took and releases. Raises the error of the attempt.

        Hooks run in `context`, if it is given.
        """
        request = operation.request
        if self._options is not None:
            request = attrs.evolve(request, options=self._options)
        self._check_api_key(request)
        started = self._loop.time()
        response: Response | None = None
        try:
            response = await (send or self._transport.send)(request)
            if not response.is_success:
                raise self._read_error(response)
            result = self._decode(operation, response)
        except RivyaError as error:
            mask_error(error, self._secrets)
            is_jobs_limit = isinstance(error, RateLimitError) and request.idempotency_key is not None
            if not (is_jobs_limit and self._limiter.rate_controller.ignores_purchases):
                self._update_rate_controller(limiter or self._limiter, started, error)
            self._notify_attempt(request, number, started, response, error=error, context=context)
            raise
        self._update_rate_controller(limiter or self._limiter, started, None)
        if self.hooks:
            self._notify_attempt(request, number, started, response, error=None, context=context)
        return result

    def mask_api_key(self, text: str) -> str:
        """Returns the text without the API key: some services repeat the key that they refuse."""
        return mask_secrets(text, self._secrets)

    def close(self) -> None:
        """Begins no further attempt and ends every back-off."""
        self._closing = True
        for backoff in self._backoffs:
            backoff.fire()

    def _decide(
        self,
        error: RivyaError,
        request: Request | None,
        state: AttemptState,
        deadline: float | None,
        controller: RateController | None,
    ) -> RetryAfterDelay | GiveUp:
        if self._closing:
            return GiveUp("the session is closing")
        now = self._loop.time()
        has_token = controller is None or controller.has_retry_token(now)
        repeatable = (
            request is None
            or request.is_repeatable
            or (not request.accepts_idempotency_key and definitely_not_processed(error))
        )
        u = self.environment.uniform()
        decision = decide_retry(self.retry, error, state, repeatable=repeatable, u=u, has_retry_token=has_token)
        if isinstance(decision, GiveUp):
            return decision
        if deadline is not None and now + decision.delay >= deadline:
            return GiveUp("the deadline comes before the next attempt")
        if controller is not None and has_token:
            controller.take_retry_token(now)
        return decision

    def _check_api_key(self, request: Request) -> None:
        """Raises `ConfigurationError` where the request needs an API key and there is none."""
        if request.needs_api_key and self._config.api_key is None:
            self._config.require_api_key()

    def _mask_body(self, response: Response) -> Response:
        """Returns the response without the API key, which a record must not show either."""
        for secret in self._secrets:
            if (key := secret.encode()) in response.body:
                response = attrs.evolve(response, body=response.body.replace(key, MASK.encode()))
        return response

    def _decode(self, operation: Operation[T], response: Response) -> T:
        """Returns the result. Errors have the text of the response, and show it if it is a page or an error.

        Raises the error of a 2xx response that has a code of the API in place of a record.
        """
        response = self._mask_body(response)
        try:
            return operation.decode(response)
        except ResponseDecodeError as error:
            if self._read_error(response).code in CLASS_BY_CODE:
                raise self._read_error(response) from None  # not in a local variable: its text may hold a secret
            add_response(error, response, self._secrets)
            raise

    def _read_error(self, response: Response) -> APIStatusError:
        return read_error(response, self.environment.wall_time(), self._secrets)

    def _update_rate_controller(self, limiter: RequestLimiter, sent_at: float, error: RivyaError | None) -> None:
        """Reports the outcome of a request to the rate controller of its limiter."""
        controller, now = limiter.rate_controller, self._loop.time()
        controller.has_reached_api |= error is None or (isinstance(error, APIStatusError) and error.has_envelope)
        if isinstance(error, RateLimitError):
            hold = retry_delay(
                self.retry, controller.consecutive_rejections, self.environment.uniform(), error.retry_after
            )
            controller.on_rate_limited(now, sent_at, hold, error.retry_after)
            self._log.on_rate_limited(now, error, hold)
        elif error is not None and indicates_outage(error):
            was_down = controller.is_down
            controller.on_failure(now, sent_at, self.environment.uniform())
            if controller.is_down and not was_down:
                self._log.on_outage(error)
            limiter.reject_calls_in_outage()
        elif error is None or isinstance(error, APIStatusError | ResponseDecodeError):
            outage = controller.outage_duration(now) if controller.is_down else 0.0
            if controller.on_success(now, sent_at):
                self._log.on_recovery(outage)
                limiter.dispatch()  # the outage is over

    def _notify_attempt(
        self,
        request: Request,
        number: int,
        started: float,
        response: Response | None,
        *,
        error: RivyaError | None,
        context: Context | None,
    ) -> None:
        if self.hooks:
            request_id = None if error is None else error.request_id  # the envelope's
            if request_id is None and response is not None:
                request_id = response.request_id
            details = AttemptDetails(
                request.method,
                request.path,
                number,
                self._loop.time() - started,
                request.idempotency_key,
                error,
                status=None if response is None else response.status,
                headers={} if response is None else response.headers,
                request_id=request_id,
                base_url=self._config.base_url,
            )
            notify(self.hooks, "on_attempt", details, context)

    def _notify_retry(self, request: Request | None, sent: int, decision: RetryAfterDelay, error: RivyaError) -> None:
        if self.hooks and request is not None:
            details = RetryDetails(
                request.method, request.path, sent + 1, decision.delay, request.idempotency_key, error
            )
            notify(self.hooks, "on_retry", details)

    async def _back_off(self, delay: float) -> None:
        """Sleeps for `delay` seconds, or until the executor is closed."""
        wakeup = Wakeup(self._loop)
        timer = self._timers.call_at(self._loop.time() + delay, wakeup)
        self._backoffs.add(wakeup)
        try:
            await wakeup
        finally:
            self._timers.cancel(timer)
            self._backoffs.discard(wakeup)
