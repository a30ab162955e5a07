from __future__ import annotations

import io
import json
import shlex

import pytest
from rich.console import Console

from rivya_async._core.errors import GenerationFailed
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.model import Model
from rivya_async._core.model_param import ModelParam
from rivya_async._core.records import Generation, GenerationResult
from rivya_async._jobs.transitions import JobState
from rivya_async.cli.board import drawn
from rivya_async.cli.demo import DEMO_JOBS
from rivya_async.cli.generate import key_of
from rivya_async.cli.grid import Grid
from rivya_async.cli.jobs import Job, JobList
from rivya_async.cli.parser import build_parser
from rivya_async.cli.render import (
    command_of,
    farewell,
    farewell_json,
    generation_json,
    job_lines,
    model_json,
    one_line,
    seconds,
)


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
def test_seconds(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_one_line_leaves_nothing_for_a_terminal_to_obey() -> None:
    assert one_line("a\n\tb \x1b[2J\x07 c") == "a b [2J c"


@pytest.mark.parametrize(
    "prompt", ["A cat", 'It\'s "quoted"; $HOME `x`\nand a second line', "-n starts like an option", None]
)
def test_the_command_of_a_purchase_is_the_same_purchase(prompt: str | None) -> None:
    params = {"aspect_ratio": "16:9", "seed": 7, "dialogue": [{"voice": "Adam", "text": "a=b"}]}
    job = Job(1, GenerationRequest("z-image", prompt, params=params, idempotency_key="order-42"))
    program, *arguments = shlex.split(command_of(job))
    assert program == "rivya"
    parsed = build_parser().parse_args(arguments)
    assert (parsed.command, parsed.model, parsed.prompt, parsed.key) == ("generate", "z-image", prompt, "order-42")
    assert parsed.param == ["aspect_ratio=16:9", "seed=7", 'dialogue=[{"voice": "Adam", "text": "a=b"}]']


def job_list() -> JobList:
    request = GenerationRequest("z-image", "A cat", idempotency_key="key-1")
    done = Job(1, request, task_id="task_1", state=JobState.DOWNLOADED, began=1.0, ended=2.0)
    opened = Job(2, request, task_id="task_2", state=JobState.SUBMITTED, began=1.0)
    opened.generation = Generation(id="task_2", status="processing", model="z-image")
    saving = Job(3, request, task_id="task_3", state=JobState.SUCCEEDED, began=1.0)
    unknown = Job(4, request, state=JobState.INTENT, began=1.0)
    return JobList([done, opened, saving, unknown, Job(5, request)], folder="my out")


def test_the_farewell_names_what_is_open_and_what_is_unknown() -> None:
    text = "\n".join(farewell(job_list(), is_embedded=False))
    assert "rivya wait task_2 task_3 -o 'my out'" in text
    assert "rivya generate --key key-1 z-image 'A cat'" in text
    assert "task_1" not in text
    told = farewell_json(job_list(), is_embedded=False)
    assert [job["task_id"] for job in told["open"]] == ["task_2", "task_3"]
    assert [job["idempotency_key"] for job in told["unknown"]] == ["key-1"]


def test_nobody_is_sent_back_to_a_sandbox_that_is_gone() -> None:
    assert "task_2" not in "\n".join(farewell(job_list(), is_embedded=True))
    assert farewell_json(job_list(), is_embedded=True)["open"] == []


def test_records_become_the_words_of_the_api() -> None:
    record = Generation(
        id="t", status="succeeded", model="m", result=GenerationResult("u", ("u", "v")), extra={"later": 1}
    )
    assert generation_json(record)["result"] == {"primary_url": "u", "urls": ["u", "v"]}
    assert generation_json(record)["later"] == 1
    model = Model(id="m", params=(ModelParam(key="k", type="text", extra={"new": 2}),), extra={"later": 1})
    assert json.loads(json.dumps(model_json(model)))["params"][0]["new"] == 2
    assert model_json(model)["later"] == 1
    assert "extra" not in json.dumps(model_json(model))


def test_a_job_that_ended_well_shows_its_links() -> None:
    record = Generation(
        id="t", status="succeeded", model="m", final_credits=1, result=GenerationResult("u", ("u", "v"))
    )
    assert job_lines(Job(1, generation=record)) == ["t  succeeded  m  1 credit  ", "  u", "  v"]


def test_keys_of_many_jobs_are_the_given_one_numbered() -> None:
    assert [key_of("order", n, 2) for n in (1, 2)] == ["order-1", "order-2"]
    assert key_of("order", 1, 1) == "order"
    assert key_of(None, 1, 2) != key_of(None, 2, 2)


def test_a_plain_grid_is_aligned() -> None:
    grid = Grid(("ID", "N"), [("a", "1"), ("long\nname", "100")], right=frozenset({"N"}))
    assert grid.plain().splitlines() == ["ID           N", "a            1", "long name  100"]


def jobs_of_all_kinds() -> list[Job]:
    jobs = [
        Job(number, GenerationRequest(model, prompt, params=params, idempotency_key="key"))
        for number, (model, prompt, params) in enumerate(DEMO_JOBS, 1)
    ]
    for job, status in zip(jobs, ["queued", "processing", "succeeded", "failed", "a status of tomorrow"], strict=False):
        job.task_id = f"task_{job.number:020}"
        job.generation = Generation(id=job.task_id, status=status, model=job.model, reserved_credits=5, final_credits=5)
        job.state, job.began = JobState.SUBMITTED, 1.0
    jobs[2].state, jobs[2].ended = JobState.DOWNLOADED, 4.0
    jobs[3].error, jobs[3].ended = GenerationFailed("x"), 5.0
    return jobs


@pytest.mark.parametrize("width", [40, 60, 80, 104, 113, 114, 200])
def test_the_live_table_fits_the_terminal(width: int) -> None:
    jobs = jobs_of_all_kinds()
    console = Console(width=width, file=io.StringIO(), force_terminal=False, record=True)
    console.print(drawn(jobs, width=width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    if width >= 80:
        header = next(line for line in lines if "status" in line)
        assert {"#", "status", "model", "prompt", "time", "credits"} <= set(header.split())
        assert ("task" in header.split()) is (width >= 104)
        assert any("2 of 11" in line and "1 failed" in line for line in lines)


def test_of_very_many_jobs_those_under_way_are_shown() -> None:
    request = GenerationRequest("z-image", "A cat")
    jobs = [Job(number, request, began=1.0, ended=2.0 if number <= 90 else None) for number in range(1, 101)]
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(drawn(jobs, width=80))
    text = console.export_text()
    assert " 100 " in text
    assert "90 of 100" in text
    assert len(text.splitlines()) < 40
