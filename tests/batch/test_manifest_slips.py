"""Slips in a manifest that could cost money, or the whole file, and cost one row or one message."""

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
from rivya_async.batch import BadRow, BadRows, Batch, Manifest, Row, State
from rivya_async.batch.template import Template
from tests.batch.batch_kit import bench
from tests.batch.manifest_kit import catalogue, problem_of, read, the_row, written

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + bytes(64)
MP3 = b"ID3\x03" + bytes(64)


def line(**fields: Any) -> str:
    return json.dumps({"model": "gpt-image-2", "prompt": "A kite", **fields})


# --- JSON that could be meant in two ways, or cannot be sent ----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"model": "z-image", "prompt": "One", "prompt": "Two"}', "'prompt' stands in it twice"),
        ('{"model": "z-image", "params": {"seed": 1, "seed": 2}}', "'seed' stands in it twice"),
        ('{"model": "z-image", "params": {"seed": 1e999}}', "1e999 is no number"),
        ('{"model": "z-image", "params": {"seed": -Infinity}}', "-Infinity is no number"),
        ('{"model": "z-image" "prompt": "A kite"}', "at column 21"),
        ('  {"model": "z-image",', "at column 23"),
    ],
)
def test_what_json_leaves_open_is_no_row(tmp_path: Path, text: str, why: str) -> None:
    assert why in problem_of(written(tmp_path, f"{text}\n", "kites.jsonl"))


@pytest.mark.parametrize("cell", ["[NaN]", '[{""a"": 1, ""a"": 2}]', "[1"])
def test_a_cell_that_is_no_good_json_is_text(tmp_path: Path, cell: str) -> None:
    row = the_row(written(tmp_path, f'model,params.text\nz-image,"{cell}"\n'))
    assert row.params == {"text": cell.replace('""', '"')}


def test_text_inside_params_is_text(tmp_path: Path) -> None:
    assert the_row(written(tmp_path, line(params={"text": "[1]"}), "kites.jsonl")).params == {"text": "[1]"}


@pytest.mark.parametrize("text", ['[{"model": "z-image"}]', '\n[\n{"model": "z-image"},\n'])
def test_one_json_array_is_told_once(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="one JSON array: write each row"):
        read(written(tmp_path, text, "kites.json"))


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken", ['z-image,"A "red" kite"', f"z-image,{'k' * 200_000}", 'z-image,"a"b'], ids=["quotes", "long", "after"]
)
def test_a_broken_line_of_csv_is_one_bad_row(tmp_path: Path, broken: str) -> None:
    first, bad, last = read(written(tmp_path, f"model,prompt\nz-image,One\n{broken}\nz-image,Two\n"))
    assert isinstance(first, Row)
    assert isinstance(bad, BadRow)
    assert isinstance(last, Row)
    assert (bad.line, last.line, last.number) == (3, 4, 3)
    assert "it is no CSV" in bad.problems[0]


@pytest.mark.parametrize("rest", ['z-image,"Two"\n', "z-image,Two\n" * 3, f"{'z-image,Two' * 99}\n" * 999])
def test_a_quote_that_swallows_rows_is_told_with_its_line(tmp_path: Path, rest: str) -> None:
    """How many rows it swallowed is not known, so the rows after it have no number by which to be known again."""
    path = written(tmp_path, f'model,prompt\nz-image,One\nz-image,"open\n{rest}')
    with pytest.raises(ConfigurationError, match="opened in line 3"):
        read(path)


def test_a_file_that_is_cut_off_ends_with_a_bad_row(tmp_path: Path) -> None:
    assert "it is no CSV" in problem_of(written(tmp_path, 'model,prompt\nz-image,One\nz-image,"A red ki'))


def test_lines_that_a_spreadsheet_has_filled_up_are_whole(tmp_path: Path) -> None:
    text = "\ufeffmodel;prompt;;\r\nz-image;Red;;\r\nz-image;Blue\r\n;;;\r\nz-image;Green;;lost\r\n"
    path = written(tmp_path, text)
    red, blue, green = Manifest(path)
    assert isinstance(red, Row)
    assert isinstance(blue, Row)
    assert (red.prompt, blue.prompt) == ("Red", "Blue")
    assert isinstance(green, BadRow)
    assert (green.line, "it has 4 cells" in str(green.problems)) == (5, True)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("model,promt", "did you mean 'prompt'"),
        ("model,notes,colour", "there is no column 'notes' or 'colour' .*for you alone begin with '_'"),
        ("Model,prompt", "did you mean 'model'"),
        ("model,params.", "'params.'"),
        (f"model,{'k' * 200_000}", "no CSV"),
        ('"model,prompt', "no CSV"),
        ('model,"prom\npt"', "did you mean 'prompt'"),
    ],
)
def test_a_wrong_header_is_told_once_and_not_for_each_row(tmp_path: Path, header: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read(written(tmp_path, f"{header}\n" + "z-image,A kite\n" * 3))


def test_a_field_that_is_no_column_is_told_once(tmp_path: Path) -> None:
    path = written(tmp_path, "model,colour,prompt\n" + "z-image,red,A kite\n" * 3)
    fill = {"name": "{color}", "prompt": "{size}"}
    with pytest.raises(
        ConfigurationError, match=r"name: there is no value for \{color\} \(did you mean 'colour'"
    ) as told:
        read(path, fill=fill)
    assert "size" not in str(told.value), "every row may have a prompt of its own"


# --- what fills rows --------------------------------------------------------------------------------------------------


def test_what_a_row_has_in_params_is_not_filled_in_again(tmp_path: Path) -> None:
    path = written(tmp_path, f"{line(params={'seed': 1})}\n{line()}\n{line(**{'params.seed': 3})}\n", "kites.jsonl")
    rows = [row for row in read(path, fill={"params.seed": "2"}) if isinstance(row, Row)]
    assert [row.params["seed"] for row in rows] == [1, "2", 3]


def test_a_filled_param_can_be_a_list(tmp_path: Path) -> None:
    path = written(tmp_path, "_who,model\nAda,x\n")
    row = the_row(path, fill={"params.dialogue": '[{{"voice": "{_who}", "text": "Hi"}}]'})
    assert row.params == {"dialogue": [{"voice": "Ada", "text": "Hi"}]}


def test_params_are_filled_in_one_by_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"params\.KEY"):
        Manifest(tmp_path / "kites.csv", fill={"params": "{{}}"})


def test_a_filled_in_model_is_looked_up_for_each_row(tmp_path: Path) -> None:
    path = written(tmp_path, "_kind\nimage\nimgae\n")
    good, bad = read(path, fill={"model": "z-{_kind}", "prompt": "A kite"}, models=catalogue())
    assert isinstance(good, Row)
    assert isinstance(bad, BadRow)


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
def test_what_cannot_be_referred_to_is_one_problem_of_one_row(tmp_path: Path, reference: str, why: str) -> None:
    told = problem_of(written(tmp_path, line(references=[reference]), "kites.jsonl"), models=catalogue())
    assert why in told
    assert "secret" not in told


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
def test_a_file_is_looked_into_before_anything_is_bought(tmp_path: Path, content: bytes, why: str) -> None:
    written(tmp_path, content, "kite.png")
    path = written(tmp_path, line(references=[str(tmp_path / "kite.png")]), "kites.jsonl")
    told = problem_of(path, models=catalogue())
    assert why in told
    assert "kite.png" in told


def test_a_file_that_the_model_takes_is_no_problem(tmp_path: Path) -> None:
    written(tmp_path, PNG, "kite.png")
    path = written(tmp_path, line(references=[str(tmp_path / "kite.png")]), "kites.jsonl")
    assert the_row(path, models=catalogue()).references == (str(tmp_path / "kite.png"),)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    written(tmp_path, PNG, "kite.png").chmod(0)
    path = written(tmp_path, line(references=[str(tmp_path / "kite.png")]), "kites.jsonl")
    assert "cannot be read" in problem_of(path, models=catalogue())


# --- both forms -------------------------------------------------------------------------------------------------------

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
def test_a_row_is_the_same_in_both_forms(tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]) -> None:
    cells = {name: value for name, value in row.items() if name != "params"}
    cells |= {f"params.{key}": value for key, value in row["params"].items()}
    file = io.StringIO()
    shown = [value if isinstance(value, str) else json.dumps(value) for value in cells.values()]
    csv.writer(file).writerows([[*cells], shown])
    folder = tmp_path_factory.getbasetemp()
    in_json = the_row(written(folder, json.dumps(row), "both.jsonl"))
    in_csv = the_row(written(folder, file.getvalue(), "both.csv"))
    assert (in_json.digest, in_json.identity) == (in_csv.digest, in_csv.identity)
    assert (in_json.params, in_json.references) == (row["params"], tuple(row.get("references", ())))


@settings(deadline=None)  # a file is written for each example
@given(
    content=st.one_of(st.binary(max_size=300), st.text('model,prompt"\n\r{}[]:1\\u;\t|', max_size=300).map(str.encode))
)
@pytest.mark.parametrize("name", ["any.jsonl", "any.csv"])
def test_whatever_a_file_holds_it_is_rows_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = written(tmp_path_factory.getbasetemp(), content, name)
    with suppress(ConfigurationError):
        assert all(isinstance(row, Row) or row.problems for row in read(path, models=catalogue()))


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_name_stands_once(tmp_path: Path) -> None:
    path = written(tmp_path, "model,name\nz-image,red\nz-image,blue\nz-image,Red\nz-image,\nz-image,\n")
    rows = read(path)
    assert [row.line for row in rows if isinstance(row, Row)] == [2, 3, 5, 6]
    assert BadRow(4, ("it has the name 'Red', and so has line 2: give each its own",)) in rows
    assert read(path) == rows, "each reading begins anew"


def test_a_row_that_cannot_be_bought_has_its_name_all_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, "model,prompt,name\nz-image,,red\nz-image,A kite,red\n")
    first, second = read(path, models=catalogue())
    assert isinstance(first, BadRow)
    assert isinstance(second, BadRow)
    assert "so has line 2" in second.problems[0]


def test_a_name_that_is_filled_in_for_all_rows_is_no_name(tmp_path: Path) -> None:
    first, second = read(written(tmp_path, "model\nz-image\nz-image\n"), fill={"name": "kite"})
    assert isinstance(first, Row)
    assert isinstance(second, BadRow)


async def test_a_name_that_is_given_again_later_does_not_replace_its_row(tmp_path: Path) -> None:
    path = written(tmp_path, "model,prompt,name\nz-image,A kite,kite\n")
    async with Batch.open(tmp_path / "kites.journal") as batch:
        await batch.add(Manifest(path))
        path.write_text(f"{path.read_text()}z-image,Another,kite\n")
        with pytest.raises(BadRows, match="line 3: it has the name 'kite', and so has line 2"):
            await batch.add(Manifest(path))
        assert [record.row.prompt async for record in batch.records()] == ["A kite"]


# --- what was bought already ------------------------------------------------------------------------------------------


async def test_what_the_journal_has_is_not_judged_again(tmp_path: Path) -> None:
    """Files may be gone since, and models withdrawn: the same command carries on what is paid for."""
    photo = written(tmp_path, PNG, "kite.png")
    begun, planned = line(references=[str(photo)], name="one"), line(references=[str(photo)], name="two")
    path = written(tmp_path, f"{begun}\n{planned}\n", "kites.jsonl")
    withdrawn = {"gpt-image-2": attrs.evolve(catalogue()["gpt-image-2"], api_status="coming_soon")}
    async with bench(tmp_path) as on:
        async with Batch.open(on.journal) as batch, on.session() as session:
            await batch.add(Manifest(path, models=catalogue()))
            states = [record.state async for record in batch.run(session, max_in_flight=1, max_spend=4)]
            assert states == [State.SUCCEEDED, State.PLANNED]
        photo.unlink()
        async with Batch.open(on.journal) as batch, on.session() as session:
            for models in (catalogue(), withdrawn, {}):
                known = await batch.add(Manifest(path, models=models))
                assert (known.known, known.bad) == (2, 0)
            (given_up,) = [record async for record in batch.run(session)]
            assert (given_up.state, given_up.row.name, given_up.error_code) == (State.DEAD, "two", "invalid")
            written(tmp_path, f"{begun}\n{line(references=[str(photo)], name='new')}\n", "kites.jsonl")
            with pytest.raises(BadRows, match="line 2: there is no file"):
                await batch.add(Manifest(path, models=catalogue()))
        assert on.purchases == 1


async def test_a_bad_row_with_the_name_of_one_that_is_known_is_bad(tmp_path: Path) -> None:
    path = written(tmp_path, line(name="one"), "kites.jsonl")
    async with Batch.open(tmp_path / "kites.journal") as batch:
        await batch.add(Manifest(path, models=catalogue()))
        written(tmp_path, line(name="one", prompt=""), "kites.jsonl")
        with pytest.raises(BadRows, match="prompt is required"):
            await batch.add(Manifest(path, models=catalogue()))


# --- rows that are known by their number ------------------------------------------------------------------------------


def numbered(folder: Path, *prompts: str) -> Manifest:
    return Manifest(written(folder, "model,prompt\n" + "".join(f"z-image,{prompt}\n" for prompt in prompts)))


async def test_a_row_that_is_put_in_between_does_not_have_the_last_one_bought_twice(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await on.carry(numbered(tmp_path, "A", "B"))
        async with Batch.open(on.journal) as batch:
            with pytest.raises(BadRows, match="line 4: it is what row 2 was bought for") as told:
                await batch.add(numbered(tmp_path, "New", "A", "B"))
            assert (told.value.planned.new, told.value.planned.bad) == (0, 1)
            assert batch.counts == {State.SUCCEEDED: 2}
            planned = await batch.add(numbered(tmp_path, "New", "A", "B", "C"), keep_going=True)
            assert (planned.new, planned.conflicting, planned.bad) == (1, 2, 1)
            assert [record.row.prompt async for record in batch.records()] == ["A", "B", "C"]
        await on.carry()
        assert on.purchases == 3


async def test_nor_one_that_takes_the_place_of_a_row_not_bought_yet(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await on.carry(numbered(tmp_path, "A", "B", "C"), max_spend=2, max_in_flight=1)
        assert on.purchases == 2
        async with Batch.open(on.journal) as batch:
            with pytest.raises(BadRows, match="line 4: it is what row 2 was bought for"):
                await batch.add(numbered(tmp_path, "New", "A", "B", "C"))
            assert [record.row.prompt async for record in batch.records()] == ["A", "B", "C"]
            planned = await batch.add(numbered(tmp_path, "New", "A", "B", "C"), keep_going=True)
            assert (planned.new, planned.replaced, planned.conflicting, planned.bad) == (1, 0, 2, 1)
        await on.carry()
        assert sorted(record.row.prompt or "" for record in await on.records()) == ["A", "B", "C"]
        assert on.purchases == 3


async def test_rows_at_the_end_and_rows_with_names_are_added_as_they_are(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        await on.carry(numbered(tmp_path, "A", "B"))
        async with Batch.open(on.journal) as batch:
            planned = await batch.add(numbered(tmp_path, "Changed", "B", "B", "C"))
            assert (planned.new, planned.conflicting, planned.bad) == (2, 1, 0), (
                "the same once more is a wish of its own"
            )
            named = written(tmp_path, "model,prompt,name\nz-image,A,first\n")
            assert (await batch.add(Manifest(named))).new == 1


@settings(deadline=None)
@given(text=st.text(st.sampled_from('{}!:.[]a"\\ ')), value=texts)
def test_a_template_shows_text_as_it_is_and_never_looks_into_a_value(text: str, value: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert Template(f"{doubled}{{a}}").filled({"a": value}) == text + value
    with suppress(ConfigurationError):
        assert set(Template(text).filled({"a": "x"})) <= set(text) | {"x"}
