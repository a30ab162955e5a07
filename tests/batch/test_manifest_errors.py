"""Mistakes in a manifest: each costs one row or one message, never a purchase."""

from __future__ import annotations

import csv
import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivya_async import ConfigurationError
from rivya_async.batch import Batch, InvalidRow, InvalidRowsError, JobState, Manifest, Row
from rivya_async.batch.manifest import Template
from tests.batch.kit import batch_environment, load_catalogue, read_one_row, read_problem, read_rows, write_manifest

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + bytes(64)
MP3 = b"ID3\x03" + bytes(64)


def line(**fields: Any) -> str:
    return json.dumps({"model": "gpt-image-2", "prompt": "A kite", **fields})


# --- ambiguous JSON ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"model": "z-image", "prompt": "One", "prompt": "Two"}', "it has 'prompt' twice"),
        ('{"model": "z-image", "params": {"seed": 1, "seed": 2}}', "it has 'seed' twice"),
        ('{"model": "z-image", "params": {"seed": 1e999}}', "1e999 is no number"),
        ('{"model": "z-image", "params": {"seed": -Infinity}}', "-Infinity is no number"),
        ('{"model": "z-image" "prompt": "A kite"}', "at column 21"),
        ('  {"model": "z-image",', "at column 23"),
    ],
)
def test_ambiguous_json_is_invalid(tmp_path: Path, text: str, why: str) -> None:
    assert why in read_problem(write_manifest(tmp_path, f"{text}\n", "kites.jsonl"))


@pytest.mark.parametrize("cell", ["[NaN]", '[{""a"": 1, ""a"": 2}]', "[1"])
def test_cell_of_invalid_json_is_text(tmp_path: Path, cell: str) -> None:
    row = read_one_row(write_manifest(tmp_path, f'model,params.text\nz-image,"{cell}"\n'))
    assert row.params == {"text": cell.replace('""', '"')}


def test_text_inside_params_is_text(tmp_path: Path) -> None:
    assert read_one_row(write_manifest(tmp_path, line(params={"text": "[1]"}), "kites.jsonl")).params == {"text": "[1]"}


@pytest.mark.parametrize("text", ['[{"model": "z-image"}]', '\n[\n{"model": "z-image"},\n'])
def test_one_json_array_is_one_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"one JSON array\. Write each row"):
        read_rows(write_manifest(tmp_path, text, "kites.json"))


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken", ['z-image,"A "red" kite"', f"z-image,{'k' * 200_000}", 'z-image,"a"b'], ids=["quotes", "long", "after"]
)
def test_broken_csv_line_is_one_invalid_row(tmp_path: Path, broken: str) -> None:
    first, bad, last = read_rows(write_manifest(tmp_path, f"model,prompt\nz-image,One\n{broken}\nz-image,Two\n"))
    assert isinstance(first, Row)
    assert isinstance(bad, InvalidRow)
    assert isinstance(last, Row)
    assert (bad.line, last.line, last.number) == (3, 4, 3)
    assert "it is no CSV" in bad.problems[0]


@pytest.mark.parametrize("rest", ['z-image,"Two"\n', "z-image,Two\n" * 3, f"{'z-image,Two' * 99}\n" * 999])
def test_unclosed_quote_is_reported_with_its_line(tmp_path: Path, rest: str) -> None:
    """The number of rows inside the quote is unknown, so the rows after it cannot be numbered."""
    path = write_manifest(tmp_path, f'model,prompt\nz-image,One\nz-image,"open\n{rest}')
    with pytest.raises(ConfigurationError, match="opened in line 3"):
        read_rows(path)


def test_truncated_file_ends_with_an_invalid_row(tmp_path: Path) -> None:
    assert "it is no CSV" in read_problem(write_manifest(tmp_path, 'model,prompt\nz-image,One\nz-image,"A red ki'))


def test_ignores_empty_cells_added_by_spreadsheets(tmp_path: Path) -> None:
    text = "\ufeffmodel;prompt;;\r\nz-image;Red;;\r\nz-image;Blue\r\n;;;\r\nz-image;Green;;lost\r\n"
    path = write_manifest(tmp_path, text)
    red, blue, green = Manifest(path)
    assert isinstance(red, Row)
    assert isinstance(blue, Row)
    assert (red.prompt, blue.prompt) == ("Red", "Blue")
    assert isinstance(green, InvalidRow)
    assert (green.line, "it has 4 cells" in str(green.problems)) == (5, True)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("model,promt", "did you mean 'prompt'"),
        (
            "model,notes,colour",
            "'notes' or 'colour': usable are model, .*params.KEY .*begin its name with '_'",
        ),
        ("Model,prompt", "did you mean 'model'"),
        ("model,params.", "'params.'"),
        (f"model,{'k' * 200_000}", "no CSV"),
        ('"model,prompt', "no CSV"),
        ('model,"prom\npt"', "did you mean 'prompt'"),
    ],
)
def test_invalid_header_is_reported_once(tmp_path: Path, header: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read_rows(write_manifest(tmp_path, f"{header}\n" + "z-image,A kite\n" * 3))


def test_field_without_a_column_is_reported_once(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "model,colour,prompt\n" + "z-image,red,A kite\n" * 3)
    fill = {"name": "{color}", "prompt": "{size}"}
    with pytest.raises(
        ConfigurationError, match=r"name: there is no value for \{color\} \(did you mean 'colour'"
    ) as caught:
        read_rows(path, fill=fill)
    assert "size" not in str(caught.value), "every row may have a prompt of its own"


# --- default values ---------------------------------------------------------------------------------------------------


def test_params_of_a_row_override_fill(tmp_path: Path) -> None:
    path = write_manifest(
        tmp_path, f"{line(params={'seed': 1})}\n{line()}\n{line(**{'params.seed': 3})}\n", "kites.jsonl"
    )
    rows = [row for row in read_rows(path, fill={"params.seed": "2"}) if isinstance(row, Row)]
    assert [row.params["seed"] for row in rows] == [1, "2", 3]


def test_filled_param_can_be_a_list(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "_who,model\nAda,x\n")
    row = read_one_row(path, fill={"params.dialogue": '[{{"voice": "{_who}", "text": "Hi"}}]'})
    assert row.params == {"dialogue": [{"voice": "Ada", "text": "Hi"}]}


def test_fill_rejects_params_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"params\.KEY"):
        Manifest(tmp_path / "kites.csv", fill={"params": "{{}}"})


def test_filled_model_is_checked_for_each_row(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "_kind\nimage\nimgae\n")
    good, bad = read_rows(path, fill={"model": "z-{_kind}", "prompt": "A kite"}, models=load_catalogue())
    assert isinstance(good, Row)
    assert isinstance(bad, InvalidRow)


# --- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("https://[x/a.png", "no link"),
        ("file:///etc/a.png", "https://"),
        ("ftp://rivya.ai/a.png", "https://"),
        ("https:///a.png", "https://"),
        ("https://rivya.ai/a.txt?key=secret", "not clear from its ending"),
        (f"{'k' * 5000}.png", "there is no file"),
        ("kite\0.png", "there is no file"),
        (".", "there is no file"),
    ],
)
def test_invalid_reference_is_one_problem_of_one_row(tmp_path: Path, reference: str, why: str) -> None:
    problem = read_problem(
        write_manifest(tmp_path, line(references=[reference]), "kites.jsonl"), models=load_catalogue()
    )
    assert why in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (MP3, "takes no file of kind 'audio'"),
        (b"", "it is empty"),
        (b"Dear kite", "is not a known image"),
        (PNG + bytes(40 * 1024 * 1024), "are more than the"),
    ],
    ids=["sound", "empty", "text", "large"],
)
def test_checks_file_content_before_any_purchase(tmp_path: Path, content: bytes, why: str) -> None:
    write_manifest(tmp_path, content, "kite.png")
    path = write_manifest(tmp_path, line(references=[str(tmp_path / "kite.png")]), "kites.jsonl")
    problem = read_problem(path, models=load_catalogue())
    assert why in problem
    assert "kite.png" in problem


def test_accepts_a_file_that_the_model_takes(tmp_path: Path) -> None:
    write_manifest(tmp_path, PNG, "kite.png")
    path = write_manifest(tmp_path, line(references=[str(tmp_path / "kite.png")]), "kites.jsonl")
    assert read_one_row(path, models=load_catalogue()).references == (str(tmp_path / "kite.png"),)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root can read every file")
def test_reports_an_unreadable_file(tmp_path: Path) -> None:
    write_manifest(tmp_path, PNG, "kite.png").chmod(0)
    path = write_manifest(tmp_path, line(references=[str(tmp_path / "kite.png")]), "kites.jsonl")
    assert "cannot be read" in read_problem(path, models=load_catalogue())


# --- both formats -----------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
plain = texts.filter(lambda text: text[:1].strip() not in {"[", "{"})
members = st.dictionaries(texts, texts, max_size=2)
values = st.one_of(plain, st.lists(st.one_of(texts, members), max_size=2), members)
keys = st.text("abcdefgh_", min_size=1, max_size=8)


@settings(deadline=None)  # a file is written for each example
@given(
    row=st.fixed_dictionaries(
        {"model": st.sampled_from(["z-image", "a|b"]), "prompt": texts, "params": st.dictionaries(keys, values)},
        optional={
            "references": st.lists(texts, min_size=1, max_size=3),
            "client_request_id": texts.filter(lambda text: len(text) <= 128),
            "name": st.text("abcdefgh", min_size=1, max_size=8),
        },
    )
)
def test_row_is_the_same_in_csv_and_json(tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]) -> None:
    cells = {name: value for name, value in row.items() if name != "params"}
    cells |= {f"params.{key}": value for key, value in row["params"].items()}
    file = io.StringIO()
    shown = [value if isinstance(value, str) else json.dumps(value) for value in cells.values()]
    csv.writer(file).writerows([[*cells], shown])
    folder = tmp_path_factory.getbasetemp()
    in_json = read_one_row(write_manifest(folder, json.dumps(row), "both.jsonl"))
    in_csv = read_one_row(write_manifest(folder, file.getvalue(), "both.csv"))
    assert (in_json.digest, in_json.identity) == (in_csv.digest, in_csv.identity)
    assert (in_json.params, in_json.references) == (row["params"], tuple(row.get("references", ())))


@settings(deadline=None)  # a file is written for each example
@given(
    content=st.one_of(st.binary(max_size=300), st.text('model,prompt"\n\r{}[]:1\\u;\t|', max_size=300).map(str.encode))
)
@pytest.mark.parametrize("name", ["any.jsonl", "any.csv"])
def test_any_file_gives_rows_or_one_error(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    path = write_manifest(tmp_path_factory.getbasetemp(), content, name)
    with suppress(ConfigurationError):
        assert all(isinstance(row, Row) or row.problems for row in read_rows(path, models=load_catalogue()))


# --- names ------------------------------------------------------------------------------------------------------------


def test_name_is_unique(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "model,name\nz-image,red\nz-image,blue\nz-image,Red\nz-image,\nz-image,\n")
    rows = read_rows(path)
    assert [row.line for row in rows if isinstance(row, Row)] == [2, 3, 5, 6]
    assert InvalidRow(4, ("it has the name 'Red', and so has line 2: give each its own",)) in rows
    assert read_rows(path) == rows, "each iteration reads the file again"


def test_invalid_row_reserves_its_name(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "model,prompt,name\nz-image,,red\nz-image,A kite,red\n")
    first, second = read_rows(path, models=load_catalogue())
    assert isinstance(first, InvalidRow)
    assert isinstance(second, InvalidRow)
    assert "so has line 2" in second.problems[0]


def test_constant_name_for_all_rows_is_invalid(tmp_path: Path) -> None:
    first, second = read_rows(write_manifest(tmp_path, "model\nz-image\nz-image\n"), fill={"name": "kite"})
    assert isinstance(first, Row)
    assert isinstance(second, InvalidRow)


async def test_name_reused_later_does_not_replace_its_row(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "model,prompt,name\nz-image,A kite,kite\n")
    async with Batch.open(tmp_path / "kites.journal") as batch:
        await batch.add(Manifest(path))
        path.write_text(f"{path.read_text()}z-image,Another,kite\n")
        with pytest.raises(InvalidRowsError, match="line 3: it has the name 'kite', and so has line 2"):
            await batch.add(Manifest(path))
        assert [record.row.prompt async for record in batch.records()] == ["A kite"]


# --- known rows -------------------------------------------------------------------------------------------------------


async def test_known_rows_are_not_checked_again(tmp_path: Path) -> None:
    """Files may be deleted and models withdrawn: the same command resumes paid jobs."""
    photo = write_manifest(tmp_path, PNG, "kite.png")
    first, second = line(references=[str(photo)], name="one"), line(references=[str(photo)], name="two")
    path = write_manifest(tmp_path, f"{first}\n{second}\n", "kites.jsonl")
    withdrawn = {"gpt-image-2": attrs.evolve(load_catalogue()["gpt-image-2"], api_status="coming_soon")}
    async with batch_environment(tmp_path) as env:
        async with Batch.open(env.journal) as batch, env.session() as session:
            await batch.add(Manifest(path, models=load_catalogue()))
            states = [record.state async for record in batch.run(session, max_in_flight=1, max_spend=4)]
            assert states == [JobState.SUCCEEDED, JobState.PLANNED]
        photo.unlink()
        async with Batch.open(env.journal) as batch, env.session() as session:
            for models in (load_catalogue(), withdrawn, {}):
                known = await batch.add(Manifest(path, models=models))
                assert (known.known, known.invalid) == (2, 0)
            (given_up,) = [record async for record in batch.run(session)]
            assert (given_up.state, given_up.row.name, given_up.error_type) == (JobState.DEAD, "two", "InvalidJobError")
            write_manifest(tmp_path, f"{first}\n{line(references=[str(photo)], name='new')}\n", "kites.jsonl")
            with pytest.raises(InvalidRowsError, match="line 2: there is no file"):
                await batch.add(Manifest(path, models=load_catalogue()))
        assert env.purchases == 1


async def test_invalid_row_with_a_known_name_is_invalid(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, line(name="one"), "kites.jsonl")
    async with Batch.open(tmp_path / "kites.journal") as batch:
        await batch.add(Manifest(path, models=load_catalogue()))
        write_manifest(tmp_path, line(name="one", prompt=""), "kites.jsonl")
        with pytest.raises(InvalidRowsError, match="prompt is required"):
            await batch.add(Manifest(path, models=load_catalogue()))


# --- numbered rows ----------------------------------------------------------------------------------------------------


def write_numbered(folder: Path, *prompts: str) -> Manifest:
    return Manifest(write_manifest(folder, "model,prompt\n" + "".join(f"z-image,{prompt}\n" for prompt in prompts)))


async def test_inserted_row_does_not_purchase_the_last_one_twice(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(write_numbered(tmp_path, "A", "B"))
        async with Batch.open(env.journal) as batch:
            with pytest.raises(InvalidRowsError, match="line 4: it is what row 2 was bought for") as caught:
                await batch.add(write_numbered(tmp_path, "New", "A", "B"))
            assert (caught.value.result.new, caught.value.result.invalid) == (0, 1)
            assert batch.counts == {JobState.SUCCEEDED: 2}
            result = await batch.add(write_numbered(tmp_path, "New", "A", "B", "C"), keep_going=True)
            assert (result.new, result.conflicting, result.invalid) == (1, 2, 1)
            assert [record.row.prompt async for record in batch.records()] == ["A", "B", "C"]
        await env.run()
        assert env.purchases == 3


async def test_inserted_row_before_an_open_one_purchases_nothing_twice(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(write_numbered(tmp_path, "A", "B", "C"), max_spend=2, max_in_flight=1)
        assert env.purchases == 2
        async with Batch.open(env.journal) as batch:
            with pytest.raises(InvalidRowsError, match="line 4: it is what row 2 was bought for"):
                await batch.add(write_numbered(tmp_path, "New", "A", "B", "C"))
            assert [record.row.prompt async for record in batch.records()] == ["A", "B", "C"]
            result = await batch.add(write_numbered(tmp_path, "New", "A", "B", "C"), keep_going=True)
            assert (result.new, result.replaced, result.conflicting, result.invalid) == (1, 0, 2, 1)
        await env.run()
        assert sorted(record.row.prompt or "" for record in await env.records()) == ["A", "B", "C"]
        assert env.purchases == 3


async def test_adds_rows_at_the_end_and_rows_with_names(tmp_path: Path) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(write_numbered(tmp_path, "A", "B"))
        async with Batch.open(env.journal) as batch:
            result = await batch.add(write_numbered(tmp_path, "Changed", "B", "B", "C"))
            assert (result.new, result.conflicting, result.invalid) == (2, 1, 0), "an equal row at the end is a new job"
            named = write_manifest(tmp_path, "model,prompt,name\nz-image,A,first\n")
            assert (await batch.add(Manifest(named))).new == 1


@settings(deadline=None)
@given(text=st.text(st.sampled_from('{}!:.[]a"\\ ')), value=texts)
def test_template_renders_any_text_literally(text: str, value: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert Template(f"{doubled}{{a}}").render({"a": value}) == text + value
    with suppress(ConfigurationError):
        assert set(Template(text).render({"a": "x"})) <= set(text) | {"x"}
