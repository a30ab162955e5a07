"""N15: `BlockingSession` has the methods of `RivyaSession`, from any thread, after a fork and at exit."""

from __future__ import annotations

import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rivya_async import (
    AttemptDetails,
    ConfigurationError,
    Generation,
    GenerationRequest,
    Hooks,
    NotFoundError,
    RivyaSession,
    SessionClosedError,
    Timeouts,
    WaitTimeoutError,
)
from rivya_async._blocking_loop import Caller
from rivya_async.blocking import BlockingSession
from rivya_async.sandbox import Sandbox
from rivya_async.testing.sandbox_thread import run_in_thread

POLL = "GET /api/v1/generations/{task_id}"
RESOURCES = "generations models files credits openapi webhooks webhook_events chat.completions chat.sessions"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_in_thread(Sandbox(speed=1000)) as running:
        yield running


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[BlockingSession]:
    with BlockingSession(sandbox.api_key, base_url=sandbox.base_url) as opened:
        yield opened
    sandbox.faults.clear()


def public_methods(value: object) -> dict[str, Any]:
    return {
        name: method
        for name, method in inspect.getmembers(type(value), inspect.isroutine)
        if not name.startswith("_") and name not in {"aclose", "close"}
    }


@pytest.mark.parametrize("path", ["", *RESOURCES.split()])
def test_methods_and_signatures_are_those_of_the_session(path: str) -> None:
    blocking: Any = BlockingSession("rvya_sk_" + "0" * 32)
    awaitable: Any = RivyaSession("rvya_sk_" + "0" * 32)
    for name in filter(None, path.split(".")):
        blocking, awaitable = getattr(blocking, name), getattr(awaitable, name)
    internal = {"catalogue", "resolve_references", "start"}
    ours, theirs = public_methods(blocking), public_methods(awaitable)
    assert ours.keys() == theirs.keys() - internal
    for name, method in ours.items():
        assert inspect.signature(method) == inspect.signature(theirs[name])
        assert method.__doc__ == (inspect.getdoc(theirs[name]) or "").partition("\n\n>>> ")[0]


def test_job_is_bought_waited_for_and_saved(session: BlockingSession, tmp_path: Path) -> None:
    threads: list[threading.Thread] = []
    job = session.generate("z-image", "A red kite", on_update=lambda _: threads.append(threading.current_thread()))
    (path,) = session.download(job, tmp_path, on_progress=lambda *_: threads.append(threading.current_thread()))
    assert path.stat().st_size > 0
    assert set(threads) == {threading.current_thread()}
    assert session.spend.total == 1
    assert [each.id for each in session.watch(job.id)] == [job.id]
    assert [each.id for each in session.as_completed(each for each in (job, job.id))] == [job.id]


def test_requests_of_map_are_created_in_the_calling_thread(session: BlockingSession) -> None:
    threads: list[threading.Thread] = []

    def requests() -> Iterator[GenerationRequest]:
        for number in range(7):
            threads.append(threading.current_thread())
            yield GenerationRequest("z-image", f"Kite {number}")

    outcomes = list(session.map(requests(), max_in_flight=3, ordered=True))
    assert [outcome.unwrap().status for outcome in outcomes] == ["succeeded"] * 7
    assert set(threads) == {threading.current_thread()}

    def broken() -> Iterator[GenerationRequest]:
        yield GenerationRequest("z-image", "Kite")
        raise LookupError("the database is gone")

    with pytest.raises(LookupError):
        list(session.map(broken()))


def test_generator_that_is_left_early_frees_its_waits(session: BlockingSession) -> None:
    outcomes = session.map([GenerationRequest("z-image", "Kite")] * 5, max_in_flight=2)
    assert next(outcomes).ok
    outcomes.close()
    assert session.generate("z-image", "A red kite").succeeded


def test_errors_are_those_of_the_session(session: BlockingSession, sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundError):
        session.generations.retrieve("task_none")
    with pytest.raises(ConfigurationError):
        session.submit("")
    sandbox.faults.add(route=POLL, status=503)
    with pytest.raises(WaitTimeoutError) as caught:
        session.generate("z-image", "A red kite", timeout=0.5)
    assert caught.value.task_id
    with pytest.raises(ZeroDivisionError):
        session.generate("z-image", "A red kite", on_update=raise_division_error)


def test_views_share_the_session(session: BlockingSession) -> None:
    view = session.with_options(timeouts=Timeouts(total=5))
    job = view.submit("z-image", "A red kite")
    assert [each.task_id for each in session.open_jobs] == [job.id]
    assert view.models.retrieve("z-image").id == "z-image"
    view.close()
    assert session.wait_for(job).succeeded
    assert session.open_jobs == view.open_jobs == ()


def raise_division_error(_job: Generation) -> None:
    raise ZeroDivisionError


def test_chat_is_streamed(session: BlockingSession) -> None:
    with session.chat.completions.stream("gpt-5-2-chat", "Name a colour.") as stream:
        text = "".join(stream)
        assert text == stream.text == stream.completion.text
    with session.chat.completions.stream("gpt-5-2-chat", "Name a colour.") as stream:
        assert next(iter(stream)) in stream.text
        assert stream.idempotency_key


def test_many_threads_share_a_session(session: BlockingSession) -> None:
    with ThreadPoolExecutor(32) as pool:
        jobs = list(pool.map(lambda number: session.generate("z-image", f"Kite {number}"), range(100)))
    assert len({job.id for job in jobs}) == 100
    assert sum(thread.name == "rivya-session" for thread in threading.enumerate()) == 1


def test_ctrl_c_ends_the_call_and_names_the_job(session: BlockingSession, sandbox: Sandbox) -> None:
    sandbox.faults.add(route=POLL, status=503)
    job = session.submit("z-image", "A red kite")
    interrupt = threading.Thread(target=interrupt_when_polled, args=[sandbox])
    interrupt.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        session.wait_for(job)
    interrupt.join()
    sandbox.faults.clear()
    assert session.wait_for(job).succeeded
    sandbox.faults.add(route=POLL, status=503)
    interrupt = threading.Thread(target=interrupt_when_polled, args=[sandbox])
    interrupt.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        session.generate("z-image", "A red kite")
    interrupt.join()
    assert "task_" in str(caught.value.__notes__)


class InterruptingHooks(Hooks):
    """Hooks of which one raises an interrupt, once."""

    def __init__(self, event: str, interrupt: type[BaseException]) -> None:
        self.interrupt: type[BaseException] | None = interrupt
        setattr(self, event, self.fail)

    def fail(self, _: object) -> None:
        if self.interrupt is not None:
            interrupt, self.interrupt = self.interrupt, None
            raise interrupt("stop")


@pytest.mark.parametrize("interrupt", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("event", ["on_attempt", "on_poll", "on_wait"])
def test_interrupt_of_a_hook_is_raised_by_the_call(
    sandbox: Sandbox, event: str, interrupt: type[BaseException]
) -> None:
    with BlockingSession(
        sandbox.api_key, base_url=sandbox.base_url, hooks=[InterruptingHooks(event, interrupt)]
    ) as session:
        with pytest.raises(interrupt, match="stop") as raised:
            session.generate("z-image", "A red kite")
        jobs = {job.task_id for job in session.open_jobs}
        assert jobs or "task_" in str(raised.value.__notes__)
        assert all(session.wait_for(task_id).succeeded for task_id in jobs)
        assert session.generate("z-image", "A blue whale").succeeded


def test_interrupt_of_a_hook_ends_map(sandbox: Sandbox) -> None:
    hooks = InterruptingHooks("on_poll", SystemExit)
    with BlockingSession(sandbox.api_key, base_url=sandbox.base_url, hooks=[hooks]) as session:
        with pytest.raises(SystemExit):
            list(session.map(GenerationRequest("z-image", f"Kite {n}") for n in range(5)))
        assert all(ended.succeeded for ended in session.as_completed([job.task_id for job in session.open_jobs]))


def test_interrupt_of_an_async_callback_is_raised_by_the_call(session: BlockingSession) -> None:
    async def stop(_: Generation) -> None:
        raise SystemExit("stop")

    with pytest.raises(SystemExit, match="stop"):
        session.generate("z-image", "A red kite", on_update=stop)
    assert all(session.wait_for(job.task_id).succeeded for job in session.open_jobs)


def test_late_interrupt_of_a_hook_is_reported(session: BlockingSession, caplog: pytest.LogCaptureFixture) -> None:
    caller = Caller()
    caller.is_done = True

    async def interrupt() -> None:
        caller.interrupt(SystemExit("stop"))

    vars(session)["_loop"].call(lambda _: interrupt())
    assert session.generate("z-image", "A red kite").succeeded
    assert "a hook raised" in caplog.text


def interrupt_when_polled(sandbox: Sandbox) -> None:
    polls = sandbox.request_log.count(POLL)
    while sandbox.request_log.count(POLL) == polls:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def test_calls_end_when_another_thread_closes_the_session(sandbox: Sandbox) -> None:
    session = BlockingSession(sandbox.api_key, base_url=sandbox.base_url)
    sandbox.faults.add(route=POLL, status=503)
    job = session.submit("z-image", "A red kite")
    with ThreadPoolExecutor() as pool:
        waits = [pool.submit(session.wait_for, job) for _ in range(5)]
        while sandbox.request_log.count(POLL) == 0:
            time.sleep(0.01)
        session.close()
        for wait in waits:
            with pytest.raises(SessionClosedError):
                wait.result()
    sandbox.faults.clear()
    session.close()
    for call in (session.models.list, lambda: session.submit("z-image"), lambda: next(session.watch("task_1"))):
        with pytest.raises(SessionClosedError):
            call()


def test_call_in_a_hook_is_an_error(sandbox: Sandbox) -> None:
    errors: list[Exception] = []

    class Caller(Hooks):
        def on_attempt(self, details: AttemptDetails) -> None:
            try:
                opened.models.list()
            except ConfigurationError as error:
                errors.append(error)

    with BlockingSession(sandbox.api_key, base_url=sandbox.base_url, hooks=[Caller()]) as opened:
        opened.credits.retrieve()
    assert isinstance(errors[0], ConfigurationError)


def test_http_session_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="event loop"):
        BlockingSession(http=object())  # type: ignore[call-arg] # refused for any value


def test_unclosed_session_warns(sandbox: Sandbox) -> None:
    session = BlockingSession(sandbox.api_key, base_url=sandbox.base_url)
    session.credits.retrieve()
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "rivya-session")
    with pytest.warns(ResourceWarning, match="BlockingSession .* was never closed"):  # noqa: PT031 - both drop it
        del session
        gc.collect()
    thread.join(10)
    assert not thread.is_alive()


SCRIPT = """
import os, sys, warnings
warnings.simplefilter("error")
from rivya_async.blocking import BlockingSession
session = BlockingSession()
print(session.generate("z-image", "A red kite").status, flush=True)
"""
FORK = """
child = os.fork()
print(session.generate("z-image", "A blue whale").status, flush=True)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(("code", "lines"), [(SCRIPT, 1), (SCRIPT + FORK, 3)], ids=["exit", "fork"])
def test_process_ends_without_close(sandbox: Sandbox, code: str, lines: int) -> None:
    environment = {**os.environ, "RIVYA_API_KEY": sandbox.api_key, "RIVYA_BASE_URL": sandbox.base_url}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "succeeded\n" * lines)


def test_stop_iteration_of_a_callback_is_raised(session: BlockingSession) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        session.generate("z-image", "A kite", on_update=lambda _: next(iter([])))


def test_call_after_a_failed_start_begins_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with BlockingSession(sandbox.api_key, base_url=sandbox.base_url) as session:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(RuntimeError, match="new thread"):
                session.credits.retrieve()
        assert session.credits.retrieve().current_credits
