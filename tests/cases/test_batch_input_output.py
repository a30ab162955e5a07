"""Manifests as people have them, and folders, journals and exports that behave."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rivya_async import Progress, RivyaSession
from rivya_async._core.errors import ConfigurationError, DownloadError
from rivya_async._core.masking import MAX_MESSAGE_LENGTH
from rivya_async.batch import Batch, InvalidRow, JobState, Manifest, Row, RowRecord
from rivya_async.batch.export import write_csv
from rivya_async.batch.journal_reader import read_summary
from rivya_async.cli.exit_codes import ExitCode
from rivya_async.cli.main import main
from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import COMMAND, environment, run_against

CSV = "model;prompt\nz-image;Grüne Drachen\n"


def rows_of(path: Path, **options: object) -> list[Row | InvalidRow]:
    return list(Manifest(path, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.csv", CSV.encode("utf-16")),
        ("m.csv", CSV.encode("utf-8-sig")),
        ("m.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("m.jsonl.gz", gzip.compress('{"model": "z-image", "prompt": "Grüne Drachen"}'.encode(), mtime=0)),
        ("m.csv", ("sep=;\r\n" + CSV).encode()),
        ("m.csv", ('"sep=;"\n' + CSV).encode("utf-16")),
        ("m", CSV.encode()),
        ("m.txt", b'{"model": "z-image", "prompt": "Gr\xc3\xbcne Drachen"}'),
    ],
)
def test_manifests_of_spreadsheets_are_read(name: str, data: bytes, tmp_path: Path) -> None:
    """B11, B17."""
    path = tmp_path / name
    path.write_bytes(data)
    (row,) = rows_of(path)
    assert isinstance(row, Row)
    assert (row.model, row.prompt) == ("z-image", "Grüne Drachen")
    assert row.line == (1 if "json" in name or name == "m.txt" else 3 if b"s\0e\0p" in data or b"sep" in data else 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04rest", "workbook"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel"),
        (CSV.encode("latin-1"), "Latin-1.*iconv"),
        (CSV.encode("utf-16-le"), "UTF-16 without a BOM"),
        (gzip.compress(CSV.encode(), mtime=0)[:-9], "cannot be read"),
        (b"\x1f\x8bgarbage", "cannot be read"),
        (b"BZh91AY", "bzip2"),
    ],
)
def test_other_files_are_named_with_advice(data: bytes, words: str, tmp_path: Path) -> None:
    """B17."""
    (tmp_path / "m.csv").write_bytes(data)
    with pytest.raises(ConfigurationError, match=words):
        rows_of(tmp_path / "m.csv")


def test_local_references_stay_below_a_root(tmp_path: Path) -> None:
    """S20."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.png").symlink_to("/etc/passwd")
    inside = tmp_path / "in"
    outside = ("/etc/x.png", f"{inside}/../y.png", f"{inside}/link.png")
    references = (*outside, f"{inside}/a.png", "https://a.example/b.png")
    lines = [{"model": "z-image", "references": [each]} for each in references]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = rows_of(tmp_path / "m.jsonl", reference_root=tmp_path / "in")
    assert [isinstance(each, InvalidRow) for each in found] == [True, True, True, False, False]


FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@a",
    "\t=1",
    "\n=1",
    " =1",
    "\r\n=1",
    "\uff1d1",
    "\uff0b1",
    "\u00a0=1",
    "\ufeff=1",
    ";=1",
)


@pytest.mark.parametrize("prompt", FORMULAS)
def test_cells_start_no_formula(prompt: str) -> None:
    """B20."""
    target = io.StringIO()
    write_csv([RowRecord(row=Row(number=1, line=1, model="z-image", prompt=prompt), batch_id="b")], target)
    (cell,) = {row["prompt"] for row in csv.DictReader(io.StringIO(target.getvalue()))}
    assert cell == f"'{prompt}"
    assert target.getvalue().startswith('"number","line"')


def test_a_file_for_excel_begins_with_a_bom(tmp_path: Path) -> None:
    """B20."""
    Batch.open(tmp_path / "a.journal")._journal._lock.close()
    target = tmp_path / "a.csv"
    assert main(["batch", "export", str(tmp_path / "a.journal"), "--format", "csv", "--excel", "-o", str(target)]) == 0
    assert target.read_bytes().startswith(b"\xef\xbb\xbf")


async def test_journals_are_private_and_their_messages_short(tmp_path: Path) -> None:
    """S18, S20."""
    old = os.umask(0)
    try:
        async with Batch.open(tmp_path / "a.journal") as batch:
            await batch.add([Row(number=1, line=1, model="z-image", prompt="A kite")])
            (record,) = [record async for record in batch.records()]
            assert len(batch._journal.update(record, error="x" * 10**7).error or "") <= MAX_MESSAGE_LENGTH
            modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
    finally:
        os.umask(old)
    assert set(modes.values()) == {0o600}
    assert "a.journal.lock" in modes


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs another user")
async def test_a_journal_in_a_read_only_folder_is_read(tmp_path: Path) -> None:
    """B8: after a run, and beside a running one."""
    folder = Path("/tmp") / f"rivya-read-only-{os.getpid()}"
    folder.mkdir()
    code = (
        "import os, sys; from pathlib import Path;"
        "from rivya_async.batch.journal_reader import read_summary, read_records;"
        "os.setgid(65534); os.setuid(65534);"
        "print(read_summary(Path(sys.argv[1]), 0.0).rows, len(list(read_records(Path(sys.argv[1])))))"
    )

    def read() -> str:
        command = [sys.executable, "-c", code, str(folder / "a.journal")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        return done.stdout.strip() or done.stderr

    try:
        async with Batch.open(folder / "a.journal") as batch:
            await batch.add([Row(number=1, line=1, model="z-image", prompt="A kite")])
            for each in folder.iterdir():
                each.chmod(0o644)
            assert read() == "1 1"
        (folder / "a.journal").chmod(0o444)
        assert read() == "1 1"
        assert read_summary(folder / "a.journal", 0.0).rows == 1
    finally:
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()


async def test_a_manifest_of_stdin_needs_a_journal(tmp_path: Path) -> None:
    """B11."""
    async with Sandbox(speed=100) as sandbox:
        line = json.dumps({"model": "z-image", "prompt": "A kite"})

        def run(data: str, *arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*COMMAND, "batch", "run", *arguments], input=data, env=environment(sandbox), cwd=tmp_path,
                capture_output=True, text=True, timeout=50, check=False,
            )  # fmt: skip

        for path in ("-", "/dev/stdin"):
            refused = await asyncio.to_thread(run, line, path)
            assert refused.returncode == 2
            assert "--journal" in refused.stderr
        done = await asyncio.to_thread(run, "model,prompt\nz-image,A kite\n", "-", "--journal", "a.journal")
        assert done.returncode == 0, done.stderr
        assert sandbox.request_log.purchases == 1


async def test_conflicts_end_with_an_error_code(tmp_path: Path) -> None:
    """B12."""
    async with Sandbox(speed=100) as sandbox:
        (tmp_path / "m.csv").write_text("model,prompt\nz-image,One\n")
        assert (await run_against("batch", "run", "m.csv", sandbox=sandbox, cwd=tmp_path)).code == 0
        (tmp_path / "m.csv").write_text("model,prompt\nz-image,New\n")
        ended = await run_against("batch", "run", "m.csv", sandbox=sandbox, cwd=tmp_path)
        assert (ended.code, sandbox.request_log.purchases) == (2, 1)


async def test_unwritable_folders_are_found_before_a_purchase(tmp_path: Path) -> None:
    """B18."""
    async with Sandbox(speed=100) as sandbox:
        (tmp_path / "m.csv").write_text("model,prompt\nz-image,One\n")
        for options in (("-o", "/proc/self"), ("--report", "/proc/self/r.html"), ("--report", "no/r.html")):
            ended = await run_against("batch", "run", "m.csv", *options, sandbox=sandbox, cwd=tmp_path)
            assert ended.code == 2, options
        ended = await run_against("generate", "z-image", "x", "-o", "/proc/self", sandbox=sandbox, cwd=tmp_path)
        assert (ended.code, sandbox.request_log.purchases) == (2, 0)


class FullDiskSession:
    """A session whose downloads meet a full disk."""

    def __init__(self, session: RivyaSession) -> None:
        self._session = session

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    async def download(self, *_: object, **__: object) -> object:
        error = DownloadError("out cannot be written: No space left on device; free disk space", path="out")
        raise error from OSError(28, "No space left on device")


async def test_a_full_disk_halts_the_batch(tmp_path: Path) -> None:
    """B18, and a progress that counts no unsaved row as done (B26)."""
    seen: list[Progress] = []
    async with (
        Sandbox(speed=500) as sandbox,
        RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        Batch.open(tmp_path / "a.journal") as batch,
    ):
        await batch.add([Row(number=n, line=n, model="z-image", prompt=f"Kite {n}") for n in range(1, 31)])
        full = FullDiskSession(session)
        async for _ in batch.run(full, max_in_flight=2, download_to=tmp_path / "out", on_progress=seen.append):  # type: ignore[arg-type]
            pass
        assert isinstance(batch.halted, DownloadError)
        assert sandbox.request_log.purchases <= 6
        assert (seen[0].done, seen[0].open, seen[-1].done, seen[-1].open) == (0, 30, 0, 30)
        async for record in batch.run(session, download_to=tmp_path / "out", on_progress=seen.append):
            assert record.state is JobState.DOWNLOADED
        assert (seen[-1].done, seen[-1].failed, seen[-1].open, seen[-1].total) == (30, 0, 0, 30)
        assert seen[-1].credits == sandbox.spent


@pytest.mark.skipif(sys.platform == "win32", reason="uses a shell")
async def test_a_prompt_comes_from_stdin_or_a_file(tmp_path: Path) -> None:
    """B15, B16."""
    async with Sandbox(speed=100) as sandbox:
        (tmp_path / "p.txt").write_text("A blue kite\n")
        for words, prompt in ((["-"], "A red kite"), (["@p.txt"], "A blue kite"), (["@@home"], "@home")):
            process = await asyncio.create_subprocess_exec(
                *COMMAND, "generate", "z-image", *words, "--json", env=environment(sandbox), cwd=tmp_path,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate(b"A red kite\n")
            assert json.loads(out)["prompt"] == prompt


@pytest.mark.parametrize("words", [["@no-such-file"], ["@empty.txt"]])
def test_a_prompt_file_must_be_readable(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """B15."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    assert main(["generate", "z-image", *words]) == ExitCode.USAGE
    assert "cannot be read" in (err := capsys.readouterr().err) or "is empty" in err
