"""Manifests: valid and invalid rows, templates, files that are no manifest, and round trips."""

from __future__ import annotations

import csv
import io
import json
import pickle
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivya_async import ConfigurationError, Model
from rivya_async.batch import Batch, InvalidRow, InvalidRowsError, Manifest, Row
from tests.batch.kit import batch_environment, load_catalogue, read_one_row, read_problem, read_rows, write_manifest


@pytest.fixture(scope="module")
def models() -> Mapping[str, Model]:
    return load_catalogue()


# --- rows -------------------------------------------------------------------------------------------------------------


def test_json_lines(tmp_path: Path) -> None:
    line = {
        "model": "z-image",
        "prompt": "A red kite",
        "params": {"seed": 7},
        "references": ["kite.png"],
        "client_request_id": "order-42",
        "name": "red",
        "_note": "mine",
    }
    path = write_manifest(tmp_path, f"\n{json.dumps(line)}\n\n", "kites.jsonl")
    assert read_one_row(path) == Row(
        number=1,
        line=2,
        model="z-image",
        prompt="A red kite",
        params={"seed": 7},
        references=("kite.png",),
        client_request_id="order-42",
        name="red",
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("byte_order_mark", ["", "\ufeff"])
def test_csv_dialects(tmp_path: Path, delimiter: str, end: str, byte_order_mark: str) -> None:
    cells = ["z-image", '"A ""red"" kite,', 'over; two lines"', "1:1", "a.png | b.png"]
    prompt = f"{cells[1]}{end}{cells[2]}"
    text = byte_order_mark + delimiter.join(["model", "prompt", "params.aspect_ratio", "references"]) + end
    text += delimiter.join([cells[0], prompt, *cells[3:]]) + end
    row = read_one_row(write_manifest(tmp_path, text))
    assert (row.number, row.line) == (1, 2)
    assert row.prompt == f'A "red" kite,{end}over; two lines'
    assert row.params == {"aspect_ratio": "1:1"}
    assert row.references == ("a.png", "b.png")


def test_line_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, 'model,prompt\nz-image,"two\nlines"\n\nz-image,one\nz-image,a,b\n')
    assert [(row.line, getattr(row, "number", None)) for row in read_rows(path)] == [(2, 1), (5, 2), (6, None)]


def test_empty_cells_are_absent_and_lists_are_json(tmp_path: Path) -> None:
    path = write_manifest(
        tmp_path, 'model,prompt,params.seed,params.dialogue,params.text\nz-image,,,"[{""text"": ""Hi""}]",[Verse\n'
    )
    row = read_one_row(path)
    assert row.prompt is None
    assert row.params == {"dialogue": [{"text": "Hi"}], "text": "[Verse"}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"model": "z-image",', "no JSON"),
        ("[1, 2]", "JSON object"),
        ('{"model": "z-image", "params": {"seed": NaN}}', "NaN"),
        ('{"prompt": "A kite"}', "model is missing"),
        ('{"model": "z-image", "promt": "A kite"}', "did you mean 'prompt'"),
        ('{"model": 7}', "model must be text"),
        ('{"model": "z-image", "prompt": ["a"]}', "prompt must be text"),
        ('{"model": "z-image", "params": [1]}', "params must be an object"),
        ('{"model": "z-image", "params": {"seed": 1}, "params.seed": 2}', "give it once"),
        ('{"model": "z-image", "references": [7]}', "list of paths"),
        ('{"model": "z-image", "name": "a/b"}', "try 'a_b'"),
        ('{"model": "z-image", "name": "row-000004"}', "looks like one"),
        ('{"model": "z-image", "client_request_id": ""}', "1 to 128"),
        ('{"model": "z-image", "prompt": "\\ud800"}', "half of a character"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_invalid_line_has_a_reason_and_leaves_others_valid(tmp_path: Path, line: str, why: str) -> None:
    good = '{"model": "z-image", "prompt": "A kite"}'
    path = write_manifest(tmp_path, f"{good}\n{line}\n{good}\n", "kites.jsonl")
    first, bad, last = read_rows(path)
    assert isinstance(first, Row)
    assert isinstance(bad, InvalidRow)
    assert isinstance(last, Row)
    assert (bad.line, last.line, last.number) == (2, 3, 3)
    assert why in bad.problems[0]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"model": "z-imgae"}, "did you mean 'z-image'"),
        ({"params": {"aspectRatio": "1:1"}}, "aspect_ratio"),
        ({"params": {"aspect_ratio": "1:7"}}, "1:7"),
        ({"prompt": ""}, "prompt is required"),
        ({"prompt": "k" * 100_000}, "at most"),
        ({"model": "gpt-image-2", "references": ["nowhere.png"]}, "there is no file 'nowhere.png'"),
        ({"references": ["https://rivya.ai/f/1.png"]}, "takes no references"),
        ({"references": ["https://rivya.ai/f/1"]}, "not clear from its ending"),
    ],
)
def test_checks_rows_with_the_catalogue_and_the_disk(
    tmp_path: Path, models: Mapping[str, Model], fields: dict[str, Any], why: str
) -> None:
    line = json.dumps({"model": "z-image", "prompt": "A kite", **fields})
    assert why in read_problem(write_manifest(tmp_path, line, "kites.jsonl"), models=models)


def test_reports_every_problem_of_a_row(tmp_path: Path, models: Mapping[str, Model]) -> None:
    line = json.dumps({"model": "z-image", "params": {"sede": 1, "aspect_ratio": "9"}})
    assert read_problem(write_manifest(tmp_path, line, "kites.jsonl"), models=models).count(";") == 2


# --- default values ---------------------------------------------------------------------------------------------------


def test_fills_in_missing_values(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "colour,prompt,_n\nred,,1\nblue,Mine,2\n")
    fill = {"model": "z-image", "prompt": "A {colour} {{kite}} {_n}", "params.seed": "{_n}"}
    rows = [row for row in read_rows(path, fill=fill) if isinstance(row, Row)]
    assert [(row.prompt, row.params) for row in rows] == [("A red {kite} 1", {"seed": "1"}), ("Mine", {"seed": "2"})]


@pytest.mark.parametrize(
    ("template", "why"),
    [("A {color} kite", "did you mean 'colour'"), ("{size}", "no value for"), ("{list}", "no text or number")],
)
def test_reports_a_missing_field(tmp_path: Path, template: str, why: str) -> None:
    path = write_manifest(tmp_path, '{"colour": "red", "list": [1], "size": null}', "kites.jsonl")
    assert why in read_problem(path, fill={"model": "z-image", "prompt": template, "name": "{colour}{list}{size}"})


@pytest.mark.parametrize("template", ["{colour.__class__}", "{colour[0]}", "{}", "{colour!r}", "{colour:>9}", "{", "}"])
def test_template_rejects_attribute_access(tmp_path: Path, template: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no field|no template"):
        Manifest(tmp_path / "kites.csv", fill={"prompt": template})


def test_fill_rejects_unknown_columns(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'prompt'"):
        Manifest(tmp_path / "kites.csv", fill={"promt": "A kite"})


# --- invalid files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"", "must name the columns"),
        (b"model,,prompt\n", "must name the columns"),
        (b"model,model\n", "must name the columns"),
        (b'model,prompt\nz-image,"open\nz-image,\n', "line 2"),
        (b"model,prompt\nz-image,\xff\xfe\n", "not UTF-8"),
        (b"mod\xe9l,prompt", "not UTF-8"),
        (b"k" * (4 * 1024 * 1024 + 1), "no manifest"),
    ],
)
def test_rejects_a_file_that_is_no_manifest(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "kites.csv" if content is None else write_manifest(tmp_path, content)
    with pytest.raises(ConfigurationError, match=why):
        read_rows(path)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
values = st.one_of(st.integers(), st.booleans(), texts, st.lists(texts, max_size=2))


@settings(deadline=None)  # a file is written for each example
@given(prompt=texts, params=st.dictionaries(texts, values, max_size=3), references=st.lists(texts, max_size=2))
def test_json_lines_round_trip(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, params: dict[str, Any], references: list[str]
) -> None:
    fields = {"model": "z-image", "prompt": prompt, "params": params, "references": references}
    path = write_manifest(tmp_path_factory.getbasetemp(), json.dumps(fields, ensure_ascii=False), "any.jsonl")
    row = read_one_row(path)
    assert (row.prompt, row.params, row.references) == (prompt, params, tuple(references))


cells = texts.filter(lambda text: text[:1].strip() not in {"[", "{"} and "\0" not in text)
keys = st.text("abcdefgh_", min_size=1, max_size=8)


@settings(deadline=None)  # a file is written for each example
@given(prompt=cells, params=st.dictionaries(keys, cells, max_size=3))
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, prompt: str, params: dict[str, str]) -> None:
    file = io.StringIO()
    csv.writer(file).writerows(
        [["model", "prompt", *(f"params.{key}" for key in params)], ["z-image", prompt, *params.values()]]
    )
    row = read_one_row(write_manifest(tmp_path_factory.getbasetemp(), file.getvalue(), "any.csv"))
    assert (row.prompt, row.params) == (prompt, params)


def test_reads_a_long_file_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        file.write("model,prompt\n")
        file.writelines(f"z-image,Kite number {number} {'k' * 200}\n" for number in range(20_000))
    tracemalloc.start()
    assert sum(isinstance(row, Row) for row in Manifest(path)) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000 < path.stat().st_size


# --- into the journal -------------------------------------------------------------------------------------------------


async def test_invalid_rows_add_nothing_without_keep_going(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "model,prompt\nz-image,A kite\n,No model\nz-image,Another\n")
    async with batch_environment(tmp_path) as env, Batch.open(env.journal) as batch:
        with pytest.raises(InvalidRowsError, match="line 3: model is missing") as caught:
            await batch.add(Manifest(path))
        assert caught.value.result.invalid == 1
        assert pickle.loads(pickle.dumps(caught.value)).result == caught.value.result
        assert not batch.counts
        result = await batch.add(Manifest(path), keep_going=True)
        assert (result.new, result.invalid) == (2, 1)


async def test_duplicate_name_is_invalid(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "model,name\nz-image,kite\nz-image,Kite\n")
    async with batch_environment(tmp_path) as env, Batch.open(env.journal) as batch:
        with pytest.raises(InvalidRowsError, match="line 3: it has the name 'Kite', and so has line 2"):
            await batch.add(Manifest(path))


async def test_lists_a_thousand_invalid_rows_and_counts_all(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "model,prompt\n" + ",x\n" * 1500)
    async with batch_environment(tmp_path) as env, Batch.open(env.journal) as batch:
        result = await batch.add(Manifest(path), keep_going=True)
    assert (result.invalid, len(result.invalid_rows)) == (1500, 1000)
