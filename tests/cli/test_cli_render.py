from __future__ import annotations

import io
import json
import shlex

import pytest
from rich.console import Console

from rivya_async._core.catalogue.model import Model
from rivya_async._core.catalogue.model_param import ModelParam
from rivya_async._core.errors import GenerationFailedError
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.types.generations import Generation, GenerationResult
from rivya_async._jobs.transitions import JobState
from rivya_async.cli.commands.demo import DEMO_JOBS
from rivya_async.cli.commands.generations import job_key
from rivya_async.cli.jobs import Job, JobList
from rivya_async.cli.progress import render_jobs
from rivya_async.cli.render import (
    format_duration,
    format_interrupt_summary,
    format_job,
    generation_to_json,
    interrupt_summary_to_json,
    purchase_command,
    record_to_json,
)
from tests.cli.cli_kit import parse


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (187, "3:07 min"),
    ],
)
def test_format_duration(value: float | None, text: str) -> None:
    assert format_duration(value) == text


@pytest.mark.parametrize(
    "prompt", ["A cat", 'It\'s "quoted"; $HOME `x`\nand a second line', "-n starts like an option", None]
)
def test_purchase_command_repeats_the_purchase(prompt: str | None) -> None:
    params = {"aspect_ratio": "16:9", "seed": 7, "dialogue": [{"voice": "Adam", "text": "a=b"}]}
    job = Job(1, GenerationRequest("z-image", prompt, params=params, idempotency_key="order-42"))
    program, *arguments = shlex.split(purchase_command(job))
    assert program == "rivya"
    parsed = parse(*arguments)
    assert arguments[0] == "generate"
    assert (parsed["model"], parsed["prompt"], parsed["key"]) == ("z-image", prompt, "order-42")
    assert parsed["pairs"] == (
        ("aspect_ratio", "16:9"),
        ("seed", "7"),
        ("dialogue", '[{"voice": "Adam", "text": "a=b"}]'),
    )


def job_list() -> JobList:
    request = GenerationRequest("z-image", "A cat", idempotency_key="key-1")
    done = Job(1, request, task_id="task_1", state=JobState.DOWNLOADED, began=1.0, ended=2.0)
    opened = Job(2, request, task_id="task_2", state=JobState.SUBMITTED, began=1.0)
    opened.generation = Generation(id="task_2", status="processing", model="z-image")
    saving = Job(3, request, task_id="task_3", state=JobState.SUCCEEDED, began=1.0)
    unknown = Job(4, request, state=JobState.INTENT, began=1.0)
    return JobList([done, opened, saving, unknown, Job(5, request)], target="my out")


def test_interrupt_summary_names_open_and_unknown_jobs() -> None:
    text = format_interrupt_summary(job_list(), is_embedded=False)
    assert "rivya wait task_2 task_3 -o 'my out'" in text
    assert "rivya generate --key key-1 z-image 'A cat'" in text
    assert "task_1" not in text
    value = interrupt_summary_to_json(job_list(), is_embedded=False)
    assert [job["task_id"] for job in value["open"]] == ["task_2", "task_3"]
    assert [job["idempotency_key"] for job in value["unknown"]] == ["key-1"]


def test_interrupt_summary_omits_jobs_of_an_embedded_sandbox() -> None:
    assert "task_2" not in format_interrupt_summary(job_list(), is_embedded=True)
    assert interrupt_summary_to_json(job_list(), is_embedded=True)["open"] == []


def test_records_have_api_json_form() -> None:
    record = Generation(
        id="t", status="succeeded", model="m", result=GenerationResult("u", ("u", "v")), extra={"later": 1}
    )
    assert generation_to_json(record)["result"] == {"primary_url": "u", "urls": ["u", "v"]}
    assert generation_to_json(record)["later"] == 1
    model = Model(id="m", params=(ModelParam(key="k", type="text", extra={"new": 2}),), extra={"later": 1})
    assert json.loads(json.dumps(record_to_json(model)))["params"][0]["new"] == 2
    assert record_to_json(model)["later"] == 1
    assert "extra" not in json.dumps(record_to_json(model))


def test_succeeded_job_shows_its_links() -> None:
    record = Generation(
        id="t", status="succeeded", model="m", final_credits=1, result=GenerationResult("u", ("u", "v"))
    )
    assert format_job(Job(1, generation=record)) == ["t  succeeded  m  1 credit  ", "  u", "  v"]


def test_keys_of_several_jobs_are_numbered() -> None:
    assert [job_key("order", n, 2) for n in (1, 2)] == ["order-1", "order-2"]
    assert job_key("order", 1, 1) == "order"
    assert job_key(None, 1, 2) != job_key(None, 2, 2)


def jobs_in_every_state() -> list[Job]:
    jobs = [
        Job(number, GenerationRequest(model, prompt, params=params, idempotency_key="key"))
        for number, (model, prompt, params) in enumerate(DEMO_JOBS, 1)
    ]
    for job, status in zip(jobs, ["queued", "processing", "succeeded", "failed", "a status of tomorrow"], strict=False):
        job.task_id = f"task_{job.number:020}"
        job.generation = Generation(id=job.task_id, status=status, model=job.model, reserved_credits=5, final_credits=5)
        job.state, job.began = JobState.SUBMITTED, 1.0
    jobs[2].state, jobs[2].ended = JobState.DOWNLOADED, 4.0
    jobs[3].error, jobs[3].ended = GenerationFailedError("x"), 5.0
    return jobs


@pytest.mark.parametrize("width", [40, 60, 80, 104, 113, 114, 200])
def test_live_table_fits_the_terminal(width: int) -> None:
    jobs = jobs_in_every_state()
    console = Console(width=width, file=io.StringIO(), force_terminal=False, record=True)
    console.print(render_jobs(jobs, width=width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    if width >= 80:
        header = next(line for line in lines if "status" in line)
        assert {"#", "status", "model", "prompt", "time", "credits"} <= set(header.split())
        assert ("task" in header.split()) is (width >= 104)
        assert any("2 of 11" in line and "1 failed" in line for line in lines)


def test_live_table_shows_open_jobs_first() -> None:
    request = GenerationRequest("z-image", "A cat")
    jobs = [Job(number, request, began=1.0, ended=2.0 if number <= 90 else None) for number in range(1, 101)]
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(render_jobs(jobs, width=80))
    text = console.export_text()
    assert " 100 " in text
    assert "90 of 100" in text
    assert len(text.splitlines()) < 40
