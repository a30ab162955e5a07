"""Records and jobs as text for people and as JSON for programs. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from .._core.terminal_text import UNSAFE, to_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._core.types.generations import Amount, Generation
    from .jobs import Job, JobList


def format_duration(value: float | None) -> str:
    """Returns a duration as `0.6 s`, `42 s` or `3:07 min`; an empty text for None."""
    if value is None:
        return ""
    if value < 9.95:  # noqa: PLR2004 - below it a tenth matters
        return f"{value:.1f} s"
    if value < 59.5:  # noqa: PLR2004 - a minute, rounded
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02} min"


def pluralize(count: Amount, noun: str) -> str:
    """Returns the count with its unit."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_credits(amount: Amount) -> str:
    """Returns the amount with its unit."""
    return pluralize(amount, "credit")


def format_param_value(value: Any) -> str:
    """Returns a param's value as `-p KEY=VALUE` takes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def record_to_json(value: Any) -> Any:
    """Returns a record in the words of the API, with the members that this library does not know.

    >>> from rivya_async import ChatMessage
    >>> record_to_json(ChatMessage("Hello", extra={"mood": "calm"}))
    {'mood': 'calm', 'content': 'Hello', 'role': 'assistant', 'id': None, 'created_at': None}
    """
    if attrs.has(type(value)):
        members = {field.name: record_to_json(getattr(value, field.name)) for field in attrs.fields(type(value))}
        return members.pop("extra", {}) | members
    if isinstance(value, Mapping):
        return {key: record_to_json(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [record_to_json(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def generation_to_json(record: Generation) -> dict[str, Any]:
    """Returns a generation in the words of the API, with its duration in seconds."""
    value: dict[str, Any] = record_to_json(record)
    urls = list(record.urls)
    value.setdefault("duration", record.duration.total_seconds() if record.duration is not None else None)
    value["result"] = {"primary_url": urls[0], "urls": urls} if urls else None
    return value


def job_to_json(job: Job) -> dict[str, Any]:
    """Returns a finished job: its record, its request and the paths of its files."""
    request: dict[str, Any] = {}
    if job.request is not None:
        request = {
            "prompt": job.request.prompt,
            "params": dict(job.request.params),
            "idempotency_key": job.request.idempotency_key,
            "estimated_credits": job.estimated_credits,
        }
    record = generation_to_json(job.generation) if job.generation else {}
    return {**record, **request, "replayed": job.replayed, "files": [str(path) for path in job.files]}


def format_job(job: Job) -> list[str]:
    """Returns the lines of a job that succeeded: one for the job, one for each file or link."""
    if job.generation is None:
        return []
    record = job.generation
    took = format_duration(record.duration.total_seconds() if record.duration is not None else job.seconds)
    cost = f"{format_credits(job.credits)}, bought earlier" if job.replayed else format_credits(job.credits)
    parts = (record.id, record.status, record.model, cost, took)
    return ["  ".join(map(to_one_line, parts)), *(f"  {place}" for place in job.files or map(to_one_line, record.urls))]


def purchase_command(job: Job) -> str:
    """Returns the command that repeats the purchase of a job under its key."""
    if job.request is None:
        return ""
    request = job.request
    options = [part for key, value in request.params.items() for part in ("-p", f"{key}={format_param_value(value)}")]
    if request.idempotency_key:
        options += ["--key", request.idempotency_key]
    if not job.is_checked:
        options.append("--no-check")
    return shell_command("generate", options, request.model, request.prompt)


def shell_command(name: str, options: Sequence[str], *arguments: str | None) -> str:
    """Returns a command for a shell, also if an argument begins like an option. Arguments that are None are left out.

    >>> shell_command("wait", [], "task_1; id", "-x")
    "rivya wait -- 'task_1; id' -x"
    """
    given = [each for each in arguments if each is not None]
    guard = ["--"] if any(each.startswith("-") for each in given) else []
    return " ".join(map(_quote, ["rivya", *name.split(), *options, *guard, *given]))


def _quote(word: str) -> str:
    """Returns the word for a POSIX shell; `$'...'` where it holds characters that a terminal obeys."""
    if not UNSAFE.search(word):
        return shlex.quote(word)
    escaped = word.replace("\\", r"\\").replace("'", r"\'")
    return (
        "$'"
        + UNSAFE.sub(
            lambda match: "".join(f"\\x{byte:02x}" for byte in match.group().encode(errors="replace")), escaped
        )
        + "'"
    )


def interrupt_summary_to_json(jobs: JobList, *, is_embedded: bool) -> dict[str, Any]:
    """Returns the open jobs, the purchases in doubt, and the command to type next, if there is one."""
    value: dict[str, Any] = {"type": "Interrupted", "message": "interrupted", "open": [], "unknown": []}
    if is_embedded:
        return value
    value["open"] = [{"task_id": job.task_id, "model": job.model, "status": job.status} for job in jobs.open]
    value["unknown"] = [
        {"idempotency_key": job.key, "model": job.model, "next": purchase_command(job)} for job in jobs.unknown
    ]
    if jobs.open:
        value["next"] = wait_command(jobs.open, jobs.target)
    elif jobs.again:
        value["next"] = jobs.again
    return value


def wait_command(jobs: Iterable[Job], target: str | None) -> str:
    """Returns the command that waits for these jobs and saves their files."""
    options, ids = ["-o", target] if target else [], [to_one_line(str(job.task_id)) for job in jobs]
    if any(each.startswith("-") for each in ids):
        return shell_command("wait", options, *ids)
    return shell_command("wait", [*ids, *options])


def lost_output_to_json(jobs: JobList, error: OSError) -> dict[str, Any]:
    """Returns the jobs of a command whose results could not be written, and the command that shows them again."""
    value: dict[str, Any] = {"type": "OutputError", "message": f"stdout cannot be written: {error.strerror}"}
    known = [job for job in jobs if job.task_id is not None]
    if known:
        value["jobs"] = [
            {"task_id": job.task_id, "model": job.model, "status": job.status, "files": list(map(str, job.files))}
            for job in known
        ]
        value["next"] = wait_command(known, None)
    return value


def format_lost_output(jobs: JobList, error: OSError) -> str:
    """Returns the lines for the same facts."""
    value = lost_output_to_json(jobs, error)
    lines = [f"rivya: {value['message']}"]
    lines += [
        "  " + "  ".join(map(to_one_line, [job["task_id"], job["status"], job["model"], *job["files"]]))
        for job in value.get("jobs", ())
    ]
    if "next" in value:
        lines.append(f"Show the results again with: {value['next']}")
    return "\n".join(lines)


def format_interrupt_summary(jobs: JobList, *, is_embedded: bool) -> str:
    """Returns the lines that end an interrupted command."""
    value = interrupt_summary_to_json(jobs, is_embedded=is_embedded)
    lines = ["rivya: interrupted"]
    if is_embedded:
        lines.append("The sandbox and its jobs are gone; nothing was bought.")
    if value["open"]:
        lines.append("Bought and not finished here (the jobs continue at the service):")
        lines += ["  " + "  ".join(map(to_one_line, job.values())) for job in value["open"]]
        lines.append(f"Come back with: {value['next']}")
    if value["unknown"]:
        lines.append("Sent without a response, so possibly bought. Repeat under the same key: nothing is paid twice.")
        lines += [f"  {job['next']}" for job in value["unknown"]]
    if jobs.again and not is_embedded:
        lines.append("Sent without a complete response, so possibly bought. Repeat under the same key:")
        lines.append(f"  {jobs.again}")
    return "\n".join(lines)
