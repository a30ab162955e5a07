"""Records and jobs as text for people and as JSON for programs. Pure."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._core.model import Model
    from .._core.records import Amount, Generation
    from .jobs import Job, JobList


def one_line(text: str) -> str:
    """The text on one line and without control characters, which a terminal would obey."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def seconds(value: float | None) -> str:
    """A duration for people: `0.6 s`, `42 s`, `3:07 min`; empty if there is none."""
    if value is None:
        return ""
    if value < 9.95:  # noqa: PLR2004 - below it a tenth matters
        return f"{value:.1f} s"
    if value < 59.5:  # noqa: PLR2004 - as above, a minute
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02} min"


def credits_text(amount: Amount) -> str:
    """An amount with its unit."""
    return f"{amount:,} credit{'' if amount == 1 else 's'}"


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def estimate_text(model: Model, price: int | None, count: int) -> str:
    """What so many jobs of this model will cost, as far as the catalogue says."""
    jobs = plural(count, "job")
    if price is not None:
        return f"{jobs} of {model.id}: about {credits_text(price * count)}."
    least = "" if model.base_credits is None else f", from {credits_text(model.base_credits)} each"
    return (
        f"{jobs} of {model.id}: the catalogue does not say what it costs ({model.billing_type or 'no price'}{least})."
    )


def generation_json(record: Generation) -> dict[str, Any]:
    """A generation in the words of the API, with the members that we do not know, and its duration in seconds."""
    return {
        "id": record.id,
        "status": record.status,
        "model": record.model,
        "reserved_credits": record.reserved_credits,
        "final_credits": record.final_credits,
        "created_at": record.created_at.isoformat() if record.created_at else None,
        "updated_at": record.updated_at.isoformat() if record.updated_at else None,
        "duration": record.duration.total_seconds() if record.duration is not None else None,
        "result": {"primary_url": record.urls[0], "urls": list(record.urls)} if record.urls else None,
        "error": {"code": record.error.code, "message": record.error.message} if record.error else None,
        **record.extra,
    }


def job_json(job: Job) -> dict[str, Any]:
    """A job whose end is known: its record, what it was asked for and where its files are."""
    asked: dict[str, Any] = {}
    if job.request is not None:
        asked = {
            "prompt": job.request.prompt,
            "params": dict(job.request.params),
            "idempotency_key": job.request.idempotency_key,
            "estimated_credits": job.estimated_credits,
        }
    record = generation_json(job.generation) if job.generation else {}
    return {**record, **asked, "files": [str(path) for path in job.files]}


def model_json(model: Model) -> dict[str, Any]:
    """A model in the words of the API, with the members that we do not know."""
    value = attrs.asdict(model)
    value.update(value.pop("extra"))
    for param in value["params"]:
        param.update(param.pop("extra"))
    return value


def job_lines(job: Job) -> list[str]:
    """What is said of a job that ended well: a line, and one for each file or link."""
    if job.generation is None:
        return []
    record = job.generation
    took = seconds(record.duration.total_seconds() if record.duration is not None else job.seconds)
    head = "  ".join(
        one_line(part) for part in (record.id, record.status, record.model, credits_text(job.credits), took)
    )
    return [head, *(f"  {place}" for place in job.files or map(one_line, record.urls))]


def value_text(value: Any) -> str:
    """A param's value as `-p KEY=VALUE` takes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def command_of(job: Job) -> str:
    """The command that repeats the purchase of a job, under its key."""
    if job.request is None:
        return ""
    request = job.request
    params = [part for key, value in request.params.items() for part in ("-p", f"{key}={value_text(value)}")]
    prompt = [] if request.prompt is None else [request.prompt]
    guard = ["--"] if request.prompt is not None and request.prompt.startswith("-") else []
    key = ["--key", request.idempotency_key] if request.idempotency_key else []
    check = [] if job.is_checked else ["--no-check"]
    return shlex.join(["rivya", "generate", *params, *key, *check, *guard, request.model, *prompt])


def farewell(job_list: JobList, *, is_embedded: bool) -> list[str]:
    """What to know after an interruption, line by line."""
    lines = ["rivya: interrupted"]
    if is_embedded:
        return [*lines, "The sandbox and its jobs are gone; nothing was bought."]
    if job_list.open:
        lines.append("Bought and not finished here (the work goes on):")
        lines += [f"  {job.task_id}  {one_line(job.model)}  {one_line(job.status)}" for job in job_list.open]
        lines.append(f"Come back with: {_wait_command(job_list)}")
    if job_list.unknown:
        lines.append(
            "Sent and not answered, so perhaps bought; repeat them under their keys, then nothing is paid twice:"
        )
        lines += [f"  {command_of(job)}" for job in job_list.unknown]
    if job_list.again:
        lines.append("Sent, so perhaps bought, and not answered to its end; ask again under the same key:")
        lines.append(f"  {job_list.again}")
    return lines


def farewell_json(job_list: JobList, *, is_embedded: bool) -> dict[str, Any]:
    """The same for programs."""
    told: dict[str, Any] = {"type": "Interrupted", "message": "interrupted", "open": [], "unknown": []}
    if is_embedded:
        return told
    told["open"] = [{"task_id": job.task_id, "model": job.model, "status": job.status} for job in job_list.open]
    told["unknown"] = [
        {"idempotency_key": job.key, "model": job.model, "next": command_of(job)} for job in job_list.unknown
    ]
    if job_list.open:
        told["next"] = _wait_command(job_list)
    elif job_list.again:
        told["next"] = job_list.again
    return told


def _wait_command(job_list: JobList) -> str:
    folder = ["-o", job_list.folder] if job_list.folder else []
    return shlex.join(["rivya", "wait", *_ids(job_list.open), *folder])


def _ids(jobs: Iterable[Job]) -> list[str]:
    return [job.task_id for job in jobs if job.task_id is not None]
