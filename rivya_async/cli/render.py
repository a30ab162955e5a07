"""Records and jobs as text for people and as JSON for programs. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from .._core.types.generations import Amount, Generation
    from .jobs import Job, JobList


def to_one_line(text: str) -> str:
    """Returns the text on one line, without the control characters that a terminal obeys."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


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
    return {**record, **request, "files": [str(path) for path in job.files]}


def format_job(job: Job) -> list[str]:
    """Returns the lines of a job that succeeded: one for the job, one for each file or link."""
    if job.generation is None:
        return []
    record = job.generation
    took = format_duration(record.duration.total_seconds() if record.duration is not None else job.seconds)
    parts = (record.id, record.status, record.model, format_credits(job.credits), took)
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
    return join_command("generate", options, request.model, request.prompt)


def join_command(name: str, options: list[str], model: str, text: str | None) -> str:
    """Returns a command for a shell, also if the text begins like an option."""
    guard = ["--"] if text is not None and text.startswith("-") else []
    return shlex.join(["rivya", name, *options, *guard, model, *([] if text is None else [text])])


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
        folder = ["-o", jobs.folder] if jobs.folder else []
        value["next"] = shlex.join(["rivya", "wait", *(str(job.task_id) for job in jobs.open), *folder])
    elif jobs.again:
        value["next"] = jobs.again
    return value


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
