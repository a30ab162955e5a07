"""The errors of waits that end before their jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._core.errors import SessionClosedError, WaitTimeoutError

if TYPE_CHECKING:
    from ..._core.types.generations import Generation


def wait_timeout_error(task_ids: list[str], last: Generation | None) -> WaitTimeoutError:
    first, *others = task_ids
    status = f"still {last.status!r}" if last is not None else "still open"
    what = f"{first} is {status}" if not others else f"{len(task_ids)} jobs are still open, {first} among them"
    error = WaitTimeoutError(
        f"{what}. The work goes on and stays paid: wait again with the same task id, here or in another process",
        task_id=first,
        last=last,
    )
    if others:
        error.add_note("open: " + " ".join(task_ids))
    return error


def session_closed_error(task_id: str, last: Generation | None) -> SessionClosedError:
    return SessionClosedError(
        f"the session was closed while {task_id} was waited for. The job goes on: wait for it with another session",
        task_id=task_id,
        last=last,
    )
