from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import rivya, run_against
from tests.media_kit import media


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=500) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for extension in ("png", "mp4", "mp3"):
        (tmp_path / f"kite.{extension}").write_bytes(media(extension))
    (tmp_path / "page.png").write_text("<html>")
    return tmp_path


async def test_uploads_and_shows_files(sandbox: Sandbox, folder: Path) -> None:
    sent = await run_against("files", "upload", "kite.png", "kite.mp4", "--json", sandbox=sandbox, cwd=folder)
    assert (sent.code, sent.err) == (0, "")
    assert [(line["name"], line["kind"]) for line in sent.results] == [("kite.png", "image"), ("kite.mp4", "video")]
    assert sent.results[1]["duration_token"].startswith("dur_")
    shown = await run_against("files", "show", sent.results[1]["id"], "--json", sandbox=sandbox)
    assert shown.results == sent.results[1:]


async def test_upload_prints_line_with_link(sandbox: Sandbox, folder: Path) -> None:
    ended = await run_against("files", "upload", "kite.mp3", "--kind", "audio", sandbox=sandbox, cwd=folder)
    head, link = ended.out.splitlines()
    assert head.startswith("file_")
    assert "audio/mpeg" in head
    assert "1.0 s" in head
    assert link.startswith(f"  {sandbox.base_url}/files/")
    assert "dur_" not in ended.out


async def test_invalid_file_does_not_stop_others(sandbox: Sandbox, folder: Path) -> None:
    names = ("page.png", "kite.png", "missing.png")
    ended = await run_against("files", "upload", *names, "--json", sandbox=sandbox, cwd=folder)
    assert ended.code == 2
    assert [line["name"] for line in ended.results] == ["kite.png"]
    assert len(ended.errors) == 2
    assert sandbox.request_log.uploads == 1


async def test_file_is_checked_against_model(sandbox: Sandbox, folder: Path) -> None:
    ended = await run_against("files", "upload", "kite.mp4", "--model", "qwen-image", sandbox=sandbox, cwd=folder)
    assert (ended.code, ended.out) == (2, "")
    assert "qwen-image takes no file of kind 'video', only image" in ended.err


async def test_generate_uploads_references(sandbox: Sandbox, folder: Path) -> None:
    ended = await run_against(
        "generate", "wan-2-6", "x", "--reference", "kite.mp4", "-n", "3", "--json", sandbox=sandbox, cwd=folder
    )
    assert ended.code == 0
    assert len(ended.results) == 3
    assert (sandbox.request_log.uploads, sandbox.request_log.purchases) == (1, 3)


async def test_too_many_references_send_nothing(sandbox: Sandbox, folder: Path) -> None:
    files = ("--reference", "kite.png", "--reference", "kite.mp4")
    ended = await run_against("generate", "wan-2-6", "x", *files, sandbox=sandbox, cwd=folder)
    assert ended.code == 2
    assert "takes at most 1 reference" in ended.err
    assert (sandbox.request_log.uploads, sandbox.request_log.purchases) == (0, 0)


async def test_missing_reference_buys_nothing(sandbox: Sandbox, folder: Path) -> None:
    ended = await run_against("generate", "qwen-image", "x", "--reference", "no.png", sandbox=sandbox, cwd=folder)
    assert ended.code == 2
    assert "no.png" in ended.err
    assert sandbox.request_log.purchases == 0


def test_uploads_to_embedded_sandbox(folder: Path) -> None:
    assert rivya("files", "upload", "kite.png", "--sandbox", cwd=folder).code == 0
    assert rivya("files", "show", "file_1", "--sandbox", "--json").error["code"] == "not_found"
    assert rivya("files", "show", "file_1", "--kind", "image", "--sandbox").code == 2
    assert rivya("files").code == 2
