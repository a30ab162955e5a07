"""The invariants, checked at each request and response, after each step, and at the end of each session."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import attrs

from rivya_async import PollPolicy, RateLimit, RateLimitError, ResponseDecodeError, RetryPolicy, RivyaSession
from rivya_async._core.http.error_responses import read_error
from rivya_async._core.http.messages import Request, Response
from rivya_async._core.http.operations import read_generation
from rivya_async._core.http.retry import poll_error_is_transient
from rivya_async._core.polling.adaptive.duration_histogram import DECAY
from rivya_async._core.types.generations import Generation
from rivya_async._engine.polling.poller import MAX_TIMER_SLACK
from rivya_async._engine.polling.wait_deadline import FINAL_POLL_LEAD

from .simulator import SimulationFailure, Simulator

if TYPE_CHECKING:
    from .network import SimulatedTransport
    from .service import Service

GENERATIONS: Final = "/api/v1/generations"
MAX_SKIPS: Final = 10
"""Polls of which one is sent at least, while webhooks are expected."""

TIME_TOLERANCE: Final = 1e-3


def _is_poll(request: Request) -> bool:
    """Returns True for a poll of the current task, and False for a read of a job, as a download sends it."""
    task = asyncio.current_task()
    is_poller = task is not None and getattr(task.get_coro(), "__qualname__", "") == "Poller._run_worker"
    return is_poller and request.method == "GET" and request.path.startswith(f"{GENERATIONS}/")


def _has_failed(outcome: Response | Exception | None) -> bool:
    """Returns True for a poll without a record: a success with another body counts too."""
    if not isinstance(outcome, Response) or not outcome.is_success:
        return outcome is not None
    try:
        read_generation(outcome)
    except ResponseDecodeError:
        return True
    return False


@attrs.define
class _PolledJob:
    """The polls of one job by one session."""

    waits: int = 0
    last_sent: float | None = None
    last_answer: float | None = None
    is_in_flight: bool = False
    last_outcome: Response | Exception | None = None
    waiting_since: float | None = None
    may_be_verified: int = 0
    """Polls that contradicting webhooks may add."""


@attrs.define
class SessionMonitor:
    """The limits of one session, and the state of its polls."""

    session: RivyaSession
    poll: PollPolicy
    retry: RetryPolicy
    rate_limit: RateLimit | None
    max_reserved: float | None = None
    has_webhooks: bool = False
    jobs: dict[str, _PolledJob] = attrs.field(factory=dict)
    full_at: float = float("-inf")
    held_since: float = float("-inf")
    held_until: float = float("-inf")
    deadlines: list[float] = attrs.field(factory=list)
    """The deadlines of current and earlier waits."""
    disturbed_until: float = float("-inf")
    failures: int = 0
    settled: set[str] = attrs.field(factory=set)
    """Jobs whose end a webhook has reported to this session."""
    seen_open: dict[str, str] = attrs.field(factory=dict)
    """The models of the own jobs that a poll has shown open."""
    checked_reserved: float = -1.0
    checked_final: float = -1.0

    def job(self, task_id: str) -> _PolledJob:
        return self.jobs.setdefault(task_id, _PolledJob())


class Monitor:
    """All checks of one simulation."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.service: Service
        self.sessions: dict[SimulatedTransport, SessionMonitor] = {}
        self.max_purchases: Callable[[str], int] = lambda _: 1
        """The number of purchases that the caller wants for a prompt."""
        self._checked_purchases = 0

    # --- requests -----------------------------------------------------------------------------------------------------

    def on_request(self, transport: SimulatedTransport, request: Request) -> None:
        monitor = self.sessions.get(transport)
        if monitor is None:
            return
        self._check_rate(monitor, request, transport.process.paused_until)
        if _is_poll(request):
            self._check_poll(monitor, request.path.rpartition("/")[2], transport.process.paused_until)

    def _check_rate(self, monitor: SessionMonitor, request: Request, paused_until: float) -> None:
        now, limit = self._simulator.now, monitor.rate_limit
        known_since = max(monitor.held_since, paused_until)  # a stopped process reads the response when it goes on
        if known_since + TIME_TOLERANCE < now < monitor.held_until - TIME_TOLERANCE:
            raise self._failure("requests keep a Retry-After", f"{request} at {now}, held until {monitor.held_until}")
        if limit is None:
            return
        wait = monitor.full_at - (limit.burst - 1.0) / limit.per_second - now
        was_paused = now - paused_until < 2.0 / limit.per_second  # a request that was granted before is sent now
        if wait > TIME_TOLERANCE:
            if not was_paused:
                raise self._failure("requests keep the rate limit", f"{request.path} {wait} s too early")
            return  # its token is that of the time before the stop
        monitor.full_at = max(monitor.full_at, now) + 1.0 / limit.per_second

    def _check_poll(self, monitor: SessionMonitor, task_id: str, paused_until: float) -> None:
        now, job, policy = self._simulator.now, monitor.job(task_id), monitor.poll
        if task_id in monitor.settled:
            raise self._failure("a job is not polled after its webhook", f"{task_id} at {now}")
        if job.is_in_flight:
            raise self._failure("one poll of a job at a time", f"{task_id} at {now}")
        if job.last_sent is not None and now - job.last_sent < policy.floor - MAX_TIMER_SLACK - TIME_TOLERANCE:
            is_last_poll = any(-1.0 <= deadline - now <= FINAL_POLL_LEAD + 0.1 for deadline in monitor.deadlines)
            if not is_last_poll and not job.may_be_verified:
                gap = now - job.last_sent
                raise self._failure("no poll earlier than the floor", f"{task_id} after {gap:.3f} s, {job}")
            if not is_last_poll:
                job.may_be_verified -= 1
        self._check_envelope(monitor, task_id, job, paused_until)
        job.last_sent, job.is_in_flight = now, True

    def _check_envelope(self, monitor: SessionMonitor, task_id: str, job: _PolledJob, paused_until: float) -> None:
        now, policy = self._simulator.now, monitor.poll
        purchase, is_paused = self.service.purchases.get(task_id), paused_until > (job.last_answer or 0.0)
        if (
            is_paused
            or purchase is None
            or job.last_answer is None
            or job.waiting_since is None
            or now < monitor.disturbed_until
        ):
            return
        begin = max(job.last_answer, job.waiting_since)
        cap = max(policy.cap, 0.1 * (now - purchase.at)) + policy.floor
        longest = cap * (MAX_SKIPS if monitor.has_webhooks else 1)
        if _has_failed(job.last_outcome):
            longest = max(longest, monitor.retry.cap)
        if policy.adaptive or monitor.rate_limit is not None:  # the first waits for similar jobs, the second for tokens
            return
        if now - begin > longest + 1.0:
            raise self._failure(
                "no poll later than the envelope", f"{task_id} after {now - begin:.3f} s, not {longest}"
            )

    def on_response(self, transport: SimulatedTransport, request: Request, outcome: Response | Exception) -> None:
        monitor = self.sessions.get(transport)
        if monitor is None:
            return
        now = self._simulator.now
        is_failure = isinstance(outcome, Exception) or outcome.status >= 500
        monitor.failures = monitor.failures + 1 if is_failure else 0
        if monitor.failures >= 15:  # the breaker may be open
            monitor.disturbed_until = max(monitor.disturbed_until, now + 120.0)
        if isinstance(outcome, Response) and outcome.status == 429:
            error = read_error(outcome, now)
            assert isinstance(error, RateLimitError)
            engine: Any = monitor.session._engine
            ignores = request.idempotency_key is not None and engine._limiter.rate_controller.ignores_purchases
            if error.retry_after is not None and outcome.headers.get("Date") is None and not ignores:
                monitor.held_since = now
                monitor.held_until = max(monitor.held_until, now + min(error.retry_after, monitor.retry.cap))
            monitor.disturbed_until = max(monitor.disturbed_until, now + 120.0)
        if request.method == "GET" and request.path.startswith(f"{GENERATIONS}/"):
            job = monitor.job(request.path.rpartition("/")[2])
            job.last_answer, job.is_in_flight = now, False
            job.last_outcome = outcome
            if isinstance(outcome, Response) and self._ends_wait(outcome):
                job.last_sent = None  # a later wait polls at once
            if monitor.poll.adaptive and isinstance(outcome, Response) and outcome.is_success:
                self._note_open(monitor, outcome)

    def _ends_wait(self, response: Response) -> bool:
        """Returns True for the end of a job, and for errors with which a wait ends. The next wait is a new one."""
        if response.is_success:
            return b'"succeeded"' in response.body or b'"failed"' in response.body
        return not poll_error_is_transient(read_error(response, self._simulator.now))

    def _note_open(self, monitor: SessionMonitor, response: Response) -> None:
        with suppress(ResponseDecodeError):
            record = read_generation(response)
            is_own = any(cost.task_id == record.id for cost in monitor.session.spend.values())
            if is_own and record.status in {"queued", "processing"} and record.id in self.service.purchases:
                monitor.seen_open[record.id] = record.model

    def on_settled(self, monitor: SessionMonitor, generation: Generation) -> None:
        """A webhook that a session has taken."""
        if generation.is_terminal and (generation.failed or generation.urls):
            monitor.settled.add(generation.id)

    def on_cancelled(self, transport: SimulatedTransport, request: Request, *, was_answered: bool) -> None:
        """A request whose caller no longer waits for it, perhaps just after the response."""
        monitor = self.sessions.get(transport)
        if monitor is not None and was_answered:
            monitor.held_until = float("-inf")
        if monitor is not None and request.method == "GET" and request.path.startswith(f"{GENERATIONS}/"):
            task_id = request.path.rpartition("/")[2]
            monitor.job(task_id).is_in_flight = False
            if was_answered:
                monitor.seen_open.pop(task_id, None)

    def on_webhook(self, generation: Generation) -> None:
        for monitor in self.sessions.values():
            monitor.job(generation.id).may_be_verified += 2

    # --- waits --------------------------------------------------------------------------------------------------------

    def begin_wait(self, monitor: SessionMonitor, task_id: str, deadline: float | None) -> None:
        job = monitor.job(task_id)
        if not job.waits:
            job.waiting_since = self._simulator.now
        job.waits += 1
        if deadline is not None:
            monitor.deadlines.append(deadline)

    def end_wait(self, monitor: SessionMonitor, task_id: str) -> None:
        job = monitor.job(task_id)
        job.waits -= 1
        if not job.waits:
            job.waiting_since = None

    # --- after each step ----------------------------------------------------------------------------------------------

    def check_step(self) -> None:
        """Checks the purchases and the credits."""
        if len(self.service.purchases) != self._checked_purchases:
            self._checked_purchases = len(self.service.purchases)
            self._check_purchases(self.service)
        for monitor in self.sessions.values():
            self._check_credits(monitor)

    def _check_purchases(self, service: Service) -> None:
        if duplicates := service.request_log_duplicates():
            raise self._failure("no key bought twice", f"{dict(duplicates)}")
        prompts = Counter(purchase.task.prompt for purchase in service.purchases.values())
        for prompt, count in prompts.items():
            if count > self.max_purchases(prompt):
                keys = [each.key for each in service.purchases.values() if each.task.prompt == prompt]
                raise self._failure("no job bought twice", f"{prompt!r} under the keys {keys}")

    def _check_credits(self, monitor: SessionMonitor) -> None:
        ledger = monitor.session._preflight.ledger
        if ledger.reserved == monitor.checked_reserved and ledger.final == monitor.checked_final:
            return
        monitor.checked_reserved, monitor.checked_final = ledger.reserved, ledger.final
        open_costs = sum(cost.reserved for cost in ledger.costs.values() if cost.final is None)
        pending = sum(each.price for each in ledger._pending.values())
        if ledger.reserved != open_costs + pending:
            raise self._failure("credits held equal credits open", f"{ledger.reserved} and {open_costs} + {pending}")
        if ledger.final != sum(cost.final for cost in ledger.costs.values() if cost.final is not None):
            raise self._failure("credits held equal credits open", f"final: {ledger.final}")
        if monitor.max_reserved is not None and ledger.reserved > monitor.max_reserved:
            raise self._failure("the cap is kept", f"{ledger.reserved} of {monitor.max_reserved}")

    # --- at the end of a session --------------------------------------------------------------------------------------

    def check_closed(self, transport: SimulatedTransport) -> None:
        """Checks that a closed session has left nothing, and that its ledger agrees with the service."""
        monitor = self.sessions.pop(transport)
        self._check_ledger(monitor.session, transport)
        self._check_durations(monitor)
        engine: Any = monitor.session._engine
        if engine is None:
            return
        leaks = {
            "requests in flight": transport.in_flight,
            "timers": len(engine._timers) + len(engine.wait_registry._poller._clock),
            "slots": engine._limiter._limit - engine._limiter._free,
            "queued calls": len(engine._limiter._call_queue),
            "queued polls": len(engine._limiter._poll_queue),
            "poll workers": len(engine.wait_registry._poller.workers),
            "waits": len(engine.wait_registry._active),
            "back-offs": sum(len(executor._backoffs) for executor in engine._executors),
            "an open transport": not transport.is_closed,
        }
        if found := {name: count for name, count in leaks.items() if count}:
            raise self._failure("a closed session leaves nothing", f"{found}")

    def _check_ledger(self, session: RivyaSession, transport: SimulatedTransport) -> None:
        ledger = session._preflight.ledger
        for task_id, purchase in self.service.purchases.items():
            if purchase.sender is transport and purchase.key not in ledger.costs:
                raise self._failure("credits held equal credits open", f"{task_id} under {purchase.key} is not counted")
        open_ids = {job.task_id for job in session.open_jobs}
        costs = {cost.task_id: (key, cost) for key, cost in ledger.costs.items() if cost.task_id is not None}
        counted = {task_id for task_id, (_, cost) in costs.items() if cost.final is None}
        if counted != open_ids:
            raise self._failure("credits held equal credits open", f"counted {counted}, open {open_ids}")
        for task_id, (key, cost) in costs.items():
            bought = self.service.purchases.get(task_id)
            if bought is None or bought.key != key:
                raise self._failure("the ledger holds purchases of the service", f"{task_id} under {key}")
            task = bought.task
            expected = 0 if task.failure is not None else task.reserved_credits
            if cost.final is not None and cost.final != expected:
                raise self._failure("credits held equal credits open", f"{task_id} costs {expected}, not {cost.final}")
            if cost.final is None and cost.reserved != task.reserved_credits:
                raise self._failure("credits held equal credits open", f"{task_id} holds {cost.reserved}")

    def _check_durations(self, monitor: SessionMonitor) -> None:
        """Checks that the learned durations count the jobs that polls have shown open, not only those that ended."""
        expected = Counter(monitor.seen_open.values())
        for name, histogram in monitor.session.durations._histograms.items():
            if expected[name]:
                histogram.merge_pending()
                jobs = math.log(1.0 - (1.0 - DECAY) * histogram.opened[0]) / math.log(DECAY)
                if jobs < expected[name] - 0.1:
                    raise self._failure("durations count open jobs", f"{jobs:.2f} of {expected[name]} of {name}")

    def _failure(self, invariant: str, problem: str) -> SimulationFailure:
        self._simulator.fail(invariant, problem)  # the product may catch the exception
        return SimulationFailure(invariant, problem)
