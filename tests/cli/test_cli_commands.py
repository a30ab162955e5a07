from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import COMMAND, SUBMIT, environment, ids, rivya, run_against


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=500) as running:
        yield running


def submitted_bodies(sandbox: Sandbox) -> list[dict[str, object]]:
    return [json.loads(request.body or b"") for request in sandbox.request_log if request.route == SUBMIT]


# --- generate -------------------------------------------------------------------------------------------------------


async def test_generate_buys_and_downloads_each_job(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    ended = await run_against(
        "generate", "qwen2-image", "A red kite", "-p", "image_size=16:9", "-p", "seed=7", "-n", "3",
        "-o", str(folder), "--json", sandbox=sandbox,
    )  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    assert len(ids(ended.results)) == 3
    assert sandbox.request_log.purchases == 3
    assert len(sandbox.request_log.idempotency_keys) == 3
    assert (
        submitted_bodies(sandbox)
        == [{"model": "qwen2-image", "prompt": "A red kite", "params": {"image_size": "16:9", "seed": 7}}] * 3
    )
    for line in ended.results:
        (path,) = line["files"]
        with Image.open(path) as picture:
            assert picture.width > picture.height
        assert line["idempotency_key"] in sandbox.request_log.idempotency_keys
        assert line["params"] == {"image_size": "16:9", "seed": 7}


async def test_generate_prints_one_line_per_job(sandbox: Sandbox) -> None:
    ended = await run_against("generate", "z-image", "A red kite", "-n", "2", sandbox=sandbox)
    assert ended.code == 0
    heads = [line for line in ended.out.splitlines() if not line.startswith(" ")]
    assert [line.split()[1:4] for line in heads] == [["succeeded", "z-image", "1"]] * 2
    assert "  http://127.0.0.1" in ended.out
    assert sandbox.api_key not in ended.out + ended.err


async def test_generate_accepts_params_without_prompt(sandbox: Sandbox) -> None:
    lines = '[{"voice": "Adam", "text": "Hello."}]'
    ended = await run_against(
        "generate", "elevenlabs-dialogue-v3", "-p", f"dialogue={lines}", "--json", sandbox=sandbox
    )
    assert ended.code == 0
    assert submitted_bodies(sandbox) == [{"model": "elevenlabs-dialogue-v3", "params": {"dialogue": json.loads(lines)}}]


async def test_same_key_repeats_the_purchases(sandbox: Sandbox) -> None:
    command = ("generate", "z-image", "A red kite", "-n", "2", "--key", "order-42", "--json")
    first = await run_against(*command, sandbox=sandbox)
    second = await run_against(*command, sandbox=sandbox)
    assert ids(first.results) == ids(second.results)
    assert sandbox.request_log.purchases_by_key == {"order-42-1": 1, "order-42-2": 1}
    clash = await run_against("generate", "z-image", "Another", "--key", "order-42-1", "--json", sandbox=sandbox)
    assert (clash.code, clash.error["code"]) == (2, "idempotency_conflict")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("z-imag", "A kite"), "z-image"),
        (("z-image", "A kite", "-p", "aspectRatio=16:9"), "'aspect_ratio'"),
        (("z-image", "A kite", "-p", "aspect_ratio=16:8"), "'16:9'"),
        (("elevenlabs-turbo-2-5", "Hello"), "voice is required, such as 'TX3LPaxmHKxFdv7VOQHJ'"),
        (("gpt-5-2-chat", "Hello"), "chat model"),
        (("z-image",), "prompt is required"),
        (("z-image", "A kite", "-p", "a=1", "-p", "aspect_ratio=x"), "has 2 problems"),
        (("seedream-3-0", "A kite", "-p", "guidance_scale=2.55"), "in steps of 0.1"),
        (("elevenlabs-dialogue-v3", "-p", "dialogue=[oops"), "must be JSON"),
    ],
)
async def test_invalid_input_gets_suggestion_and_buys_nothing(
    sandbox: Sandbox, arguments: tuple[str, ...], expected: str
) -> None:
    ended = await run_against("generate", *arguments, "-n", "5", sandbox=sandbox)
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err
    assert ended.err.count("\n") == 1
    assert sandbox.request_log.count(SUBMIT) == 0


async def test_param_without_value_buys_nothing(sandbox: Sandbox) -> None:
    ended = await run_against("generate", "z-image", "A kite", "-p", "aspect_ratio", sandbox=sandbox)
    assert (ended.code, ended.out) == (2, "")
    assert "KEY=VALUE" in ended.err
    assert sandbox.request_log.count(SUBMIT) == 0


async def test_price_is_shown_before_purchase(sandbox: Sandbox) -> None:
    ended = await run_against("generate", "z-image", "A kite", "-n", "3", sandbox=sandbox)
    assert ended.err.splitlines()[0] == "3 jobs of z-image: about 3 credits."
    ended = await run_against("generate", "elevenlabs-sound-effect-v2", "A door", sandbox=sandbox)
    expected = (
        "1 job of elevenlabs-sound-effect-v2: the catalogue does not say what it costs (METERED, from 3 credits each)."
    )
    assert ended.err.splitlines()[0] == expected
    ended = await run_against("generate", "z-image", "A kite", "--json", sandbox=sandbox)
    assert (ended.err, ended.results[0]["estimated_credits"]) == ("", 1)


async def test_no_check_buys_without_validation(sandbox: Sandbox) -> None:
    arguments = ("generate", "seedream-3-0", "A kite", "-p", "novelty=1", "-p", "guidance_scale=2.55", "--no-check")
    ended = await run_against(*arguments, "--json", sandbox=sandbox)
    assert (ended.code, ended.err) == (0, "")
    assert [body["params"] for body in submitted_bodies(sandbox)] == [{"novelty": "1", "guidance_scale": 2.55}]
    sandbox.faults.add(route="GET /api/v1/models", status=404)
    ended = await run_against("generate", "z-image", "A kite", "--no-check", "--json", sandbox=sandbox)
    assert (ended.code, ended.results[0]["estimated_credits"]) == (0, None)
    ended = await run_against("generate", "z-image", "A kite", "--json", sandbox=sandbox)
    assert ended.code == 2
    assert sandbox.request_log.purchases == 2


async def test_repeat_command_keeps_no_check(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=SUBMIT, status=500, retry_after=0, times=5)
    ended = await run_against("generate", "z-image", "A kite", "-p", "new=1", "--no-check", "--json", sandbox=sandbox)
    (key,) = sandbox.request_log.idempotency_keys
    assert ended.error["next"] == f"rivya generate -p new=1 --key {key} --no-check z-image 'A kite'"


async def test_invalid_folder_is_reported_before_purchase(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = await run_against(
        "generate", "z-image", "A kite", "-o", str(tmp_path / "file" / "out"), "--json", sandbox=sandbox
    )
    assert ended.code == 2
    assert "file" in ended.error["message"]
    assert sandbox.request_log.purchases == 0


async def test_failed_job_exits_with_1_and_others_continue(sandbox: Sandbox) -> None:
    sandbox.service_state.failure_rate = 0.5
    ended = await run_against("generate", "z-image", "A kite", "-n", "12", "--json", sandbox=sandbox)
    assert ended.code == 1
    assert {line["status"] for line in ended.results} == {"succeeded", "failed"}
    assert len(ended.results) == 12
    failed = ids([line for line in ended.results if line["status"] == "failed"])
    assert {error["task_id"] for error in ended.errors} == failed
    assert {error["type"] for error in ended.errors} == {"GenerationFailedError"}


async def test_timeout_exits_with_5_and_prints_resume_command() -> None:
    async with Sandbox(speed=0.001) as slow:
        ended = await run_against("generate", "z-image", "A kite", "--timeout", "0.3", sandbox=slow)
        assert (ended.code, ended.out) == (5, "")
        (task_id,) = {request.task_id for request in slow.request_log if request.route == SUBMIT}
        assert f"-> rivya wait {task_id}" in ended.err


async def test_insufficient_credits_exit_with_4() -> None:
    async with Sandbox(speed=500, credits=2) as poor:
        ended = await run_against("generate", "z-image", "A kite", "-n", "3", "--json", sandbox=poor)
        assert ended.code == 4
        assert len(ended.results) == 2
        assert ended.error["code"] == "insufficient_credits"
        assert ended.error["next"] == "rivya credits"


async def test_invalid_keys_exit_with_3(sandbox: Sandbox) -> None:
    for key, code in (
        ("rvya_sk_wrong", "api_key_invalid"),
        (sandbox.add_key(revoked=True), "api_key_revoked"),
        (sandbox.add_key(scopes={"credits:read"}), "api_scope_denied"),
    ):
        ended = await run_against("generate", "z-image", "A kite", "--json", sandbox=sandbox, RIVYA_API_KEY=key)
        assert (ended.code, ended.error["code"]) == (3, code)
        assert key not in ended.out + ended.err


def test_missing_key_sends_nothing_and_suggests_sandbox() -> None:
    ended = rivya("generate", "z-image", "A kite")
    assert (ended.code, ended.out) == (2, "")
    assert "RIVYA_API_KEY" in ended.err
    assert "--sandbox" in ended.err


async def test_unreachable_service_exits_with_6_and_purchase_can_be_repeated(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=SUBMIT, status=500, retry_after=0, times=5)
    ended = await run_against("generate", "z-image", "A kite", "--json", sandbox=sandbox)
    assert ended.code == 6
    (key,) = sandbox.request_log.idempotency_keys
    assert ended.error["idempotency_key"] == key
    assert ended.error["next"] == f"rivya generate --key {key} z-image 'A kite'"


async def test_unusual_key_warning_is_one_line(sandbox: Sandbox) -> None:
    ended = await run_against("generate", "z-image", "A kite", sandbox=sandbox, RIVYA_API_KEY="odd-key")
    assert ended.code == 3
    assert ended.err.splitlines()[0] == "warning: the API key does not begin with 'rvya_sk_'"
    assert "odd-key" not in ended.err


# --- wait -----------------------------------------------------------------------------------------------------------


async def test_wait_resumes_jobs_of_another_process(sandbox: Sandbox, tmp_path: Path) -> None:
    bought = await run_against("generate", "z-image", "A kite", "-n", "2", "--json", sandbox=sandbox)
    ended = await run_against("wait", *ids(bought.results), "-o", str(tmp_path), "--json", sandbox=sandbox)
    assert (ended.code, ended.err) == (0, "")
    assert ids(ended.results) == ids(bought.results)
    assert all(Path(path).exists() for line in ended.results for path in line["files"])
    again = await run_against("wait", *ids(bought.results), "-o", str(tmp_path), sandbox=sandbox)
    assert again.code == 0


def test_embedded_sandbox_rejects_unknown_task() -> None:
    ended = rivya("wait", "task_of_another_account", "--sandbox", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert (ended.error["type"], ended.error["status"]) == ("NotFoundError", 404)


# --- models, credits ------------------------------------------------------------------------------------------------


def test_models_needs_no_key() -> None:
    ended = rivya("models", "--category", "audio", "--sandbox", "--json")
    assert ended.code == 0
    assert {model["category"] for model in ended.results} == {"audio"}
    assert all(param["key"] for model in ended.results for param in model["params"])
    assert ended.err == ""


async def test_models_shows_table_and_params(sandbox: Sandbox) -> None:
    table = await run_against("models", sandbox=sandbox)
    assert table.out.splitlines()[0].split() == ["ID", "NAME", "CATEGORY", "CREDITS", "PARAMS"]
    assert len(table.out.splitlines()) == 59
    one = await run_against("models", "kling-3-0", sandbox=sandbox)
    assert "aspect_ratio  select  16:9     16:9, 9:16, 1:1" in one.out
    assert one.out.startswith("kling-3-0: Kling 3.0, video, from 90 credits\n")
    assert "References: at most 2, image.\n  image: up to 10 MB image/jpeg" in one.out
    assert "Estimate: 90 credits a job" in one.out
    assert (await run_against("models", "show", "kling-3-0", sandbox=sandbox)).out == one.out
    assert not any(request.has_authorization for request in sandbox.request_log)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("happyhorse-1-0", "Alone at most 9 image; beside a video at most 5 image and 1 video."),
        ("elevenlabs-turbo-2-5", "Estimate: none, the price is METERED."),
        ("gpt-5-2-chat", "Can do: web search, images, thoughts.\nReasoning efforts: default, minimal"),
        ("seedream-3-0", "from 1 to 10 by 0.1"),
        ("seedream-3-0", "from 0 to 2147483647"),
    ],
)
async def test_models_shows_limits_and_price(sandbox: Sandbox, model: str, expected: str) -> None:
    assert expected in (await run_against("models", "show", model, sandbox=sandbox)).out
    (line,) = (await run_against("models", "show", model, "--json", sandbox=sandbox)).results
    assert line["id"] == model


@pytest.mark.parametrize("words", [("show",), ("z-image", "sora-2"), ("show", "z-image", "sora-2")])
async def test_models_shows_one_model_at_a_time(sandbox: Sandbox, words: tuple[str, ...]) -> None:
    ended = await run_against("models", *words, sandbox=sandbox)
    assert ended.code == 2
    assert "rivya models show ID" in ended.err


@pytest.mark.parametrize(
    ("arguments", "expected"), [(("kling-3",), "kling-3-0"), (("--category", "vidoe"), "(did you mean 'video'?)")]
)
async def test_suggests_nearest_model_and_category(sandbox: Sandbox, arguments: tuple[str, ...], expected: str) -> None:
    ended = await run_against("models", *arguments, sandbox=sandbox)
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err


async def test_openapi_prints_the_document(sandbox: Sandbox) -> None:
    shown = await run_against("openapi", sandbox=sandbox)
    document = json.loads(shown.out)
    assert document["openapi"] == "3.1.0"
    assert shown.out.count("\n") > 100
    assert (await run_against("openapi", "--json", sandbox=sandbox)).results == [document]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (("--category", "audio", "--max-credits", "10"), {"elevenlabs-sound-effect-v2", "elevenlabs-turbo-2-5"}),
        (("--takes", "audio"), {"wan-2-2-a14b-turbo"}),
        (("--search", "KLING 3"), {"kling-3-0"}),
        (("--search", "no such words"), set()),
        (
            ("--available", "--category", "chat"),
            {"gpt-5-2-chat", "gemini-2-5-flash-chat", "claude-sonnet-4-6-chat"}
            | {"gpt-5-codex-chat", "gpt-5-3-codex-chat", "gpt-5.4-codex-chat"},
        ),
    ],
)
async def test_models_applies_all_filters(sandbox: Sandbox, filters: tuple[str, ...], ids: set[str]) -> None:
    ended = await run_against("models", *filters, "--json", sandbox=sandbox)
    assert ended.code == 0
    assert {line["id"] for line in ended.results} == ids


async def test_learned_prices_are_kept_in_file(sandbox: Sandbox, tmp_path: Path) -> None:
    job = ("generate", "ideogram-v3", "A kite", "-p", "rendering_speed=QUALITY", "--price-file", "prices.json")
    ended = await run_against(*job, "--dry-run", "--json", sandbox=sandbox, cwd=tmp_path)
    assert (ended.results[0]["estimated_credits"], ended.results[0]["kind"]) == (7, "lower_bound")
    assert [*tmp_path.iterdir()] == []
    assert (await run_against(*job, sandbox=sandbox, cwd=tmp_path)).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["prices.json"]
    ended = await run_against(*job, "--dry-run", "-n", "2", sandbox=sandbox, cwd=tmp_path)
    assert ended.out == "2 jobs of ideogram-v3: about 22 credits. Nothing was bought.\n"
    (tmp_path / "prices.json").write_text("{")
    ended = await run_against(*job, sandbox=sandbox, cwd=tmp_path)
    assert (ended.code, sandbox.request_log.purchases) == (2, 1)
    assert "the prices in prices.json cannot be read" in ended.err
    ended = await run_against(*job[:-1], "missing/prices.json", sandbox=sandbox, cwd=tmp_path)
    assert "the prices cannot be saved in missing/prices.json" in ended.err


async def test_dry_run_checks_and_buys_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    job = ("generate", "kling-3-0", "A kite", "-n", "3", "--dry-run")
    ended = await run_against(*job, sandbox=sandbox)
    assert (ended.code, ended.out) == (0, "3 jobs of kling-3-0: about 270 credits. Nothing was bought.\n")
    ended = await run_against(*job, "-p", "duration=10", sandbox=sandbox)
    assert ended.out == (
        "3 jobs of kling-3-0: at least 270 credits (base_credits of the catalogue is 90, and duration=10 may change "
        "the price). Nothing was bought.\n"
    )
    ended = await run_against(*job, "--json", sandbox=sandbox, RIVYA_API_KEY="")
    (result,) = ended.results
    assert (result["model"], result["jobs"], result["estimated_credits"]) == ("kling-3-0", 3, 270)
    assert (result["max_credits"], result["kind"]) == (270, "exact")
    ended = await run_against(*job, "-p", "duratoin=10", "-p", "mode=prp", "--json", sandbox=sandbox)
    assert (ended.code, ended.out) == (2, "")
    assert [(one["where"], one["nearest"]) for one in ended.error["problems"]] == [
        ("params.duratoin", ["duration"]),
        ("params.mode", ["pro"]),
    ]
    (tmp_path / "page.png").write_text("<html>")
    for path in ("missing.png", "page.png"):
        ended = await run_against(*job, "--reference", path, sandbox=sandbox, cwd=tmp_path)
        assert ended.code == 2
    assert (await run_against(*job, "--no-check", sandbox=sandbox)).code == 2
    assert sandbox.request_log.purchases == sandbox.request_log.uploads == 0


async def test_credits_prints_the_balance(sandbox: Sandbox) -> None:
    assert (await run_against("credits", sandbox=sandbox)).out == "1,000,000 credits\n"
    assert (await run_against("credits", "--json", sandbox=sandbox)).results == [{"current_credits": 1_000_000}]


@pytest.mark.parametrize("command", ["models", "generate z-image kite -n 4 -o ."])
async def test_closed_stdout_is_not_an_error(command: str, tmp_path: Path) -> None:
    async with Sandbox(speed=30) as sandbox:
        shell = f"{' '.join(COMMAND)} {command} --json | head -n 1; echo ${{PIPESTATUS[0]}}"
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", shell, env=environment(sandbox), cwd=tmp_path, stdout=PIPE, stderr=PIPE
        )
        out, err = await process.communicate()
        first, code = out.decode().splitlines()
        assert json.loads(first)["id"]
        assert code in {"141", "0"}  # 0 if head took its time to go
        if err:  # the ids of the jobs that stdout did not get
            assert {job["task_id"] for job in json.loads(err)["error"]["jobs"]} == set(sandbox.service_state.tasks)
        assert sandbox.request_log.purchases == len(list(tmp_path.iterdir())) == (4 if "generate" in command else 0)
