"""Manifests: what is a row, what is none and why, and that any row comes back as it was written."""

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
from tests.batch.batch_kit import bench
from tests.batch.manifest_kit import catalogue, problem_of, read, the_row, written


@pytest.fixture(scope="module")
def models() -> Mapping[str, Model]:
    return catalogue()


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
    path = written(tmp_path, f"\n{json.dumps(line)}\n\n", "kites.jsonl")
    assert the_row(path) == Row(
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
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_as_programs_write_it(tmp_path: Path, delimiter: str, end: str, mark: str) -> None:
    cells = ["z-image", '"A ""red"" kite,', 'over; two lines"', "1:1", "a.png | b.png"]
    prompt = f"{cells[1]}{end}{cells[2]}"
    text = mark + delimiter.join(["model", "prompt", "params.aspect_ratio", "references"]) + end
    text += delimiter.join([cells[0], prompt, *cells[3:]]) + end
    row = the_row(written(tmp_path, text))
    assert (row.number, row.line) == (1, 2)
    assert row.prompt == f'A "red" kite,{end}over; two lines'
    assert row.params == {"aspect_ratio": "1:1"}
    assert row.references == ("a.png", "b.png")


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'model,prompt\nz-image,"two\nlines"\n\nz-image,one\nz-image,a,b\n')
    assert [(row.line, getattr(row, "number", None)) for row in read(path)] == [(2, 1), (5, 2), (6, None)]


def test_empty_cells_are_absent_and_lists_are_json(tmp_path: Path) -> None:
    path = written(
        tmp_path, 'model,prompt,params.seed,params.dialogue,params.text\nz-image,,,"[{""text"": ""Hi""}]",[Verse\n'
    )
    row = the_row(path)
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
def test_what_is_no_row_says_why_and_leaves_the_others_alone(tmp_path: Path, line: str, why: str) -> None:
    good = '{"model": "z-image", "prompt": "A kite"}'
    path = written(tmp_path, f"{good}\n{line}\n{good}\n", "kites.jsonl")
    first, bad, last = read(path)
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
def test_the_catalogue_and_the_disk_are_asked(
    tmp_path: Path, models: Mapping[str, Model], fields: dict[str, Any], why: str
) -> None:
    line = json.dumps({"model": "z-image", "prompt": "A kite", **fields})
    assert why in problem_of(written(tmp_path, line, "kites.jsonl"), models=models)


def test_every_problem_of_a_row_is_told(tmp_path: Path, models: Mapping[str, Model]) -> None:
    line = json.dumps({"model": "z-image", "params": {"sede": 1, "aspect_ratio": "9"}})
    assert problem_of(written(tmp_path, line, "kites.jsonl"), models=models).count(";") == 2


# --- what fills rows --------------------------------------------------------------------------------------------------


def test_what_a_row_lacks_is_filled_in(tmp_path: Path) -> None:
    path = written(tmp_path, "colour,prompt,_n\nred,,1\nblue,Mine,2\n")
    fill = {"model": "z-image", "prompt": "A {colour} {{kite}} {_n}", "params.seed": "{_n}"}
    rows = [row for row in read(path, fill=fill) if isinstance(row, Row)]
    assert [(row.prompt, row.params) for row in rows] == [("A red {kite} 1", {"seed": "1"}), ("Mine", {"seed": "2"})]


@pytest.mark.parametrize(
    ("template", "why"),
    [("A {color} kite", "did you mean 'colour'"), ("{size}", "no value for"), ("{list}", "no text or number")],
)
def test_a_field_that_a_row_lacks_is_told(tmp_path: Path, template: str, why: str) -> None:
    path = written(tmp_path, '{"colour": "red", "list": [1], "size": null}', "kites.jsonl")
    assert why in problem_of(path, fill={"model": "z-image", "prompt": template, "name": "{colour}{list}{size}"})


@pytest.mark.parametrize("template", ["{colour.__class__}", "{colour[0]}", "{}", "{colour!r}", "{colour:>9}", "{", "}"])
def test_a_template_looks_into_nothing(tmp_path: Path, template: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no field|no template"):
        Manifest(tmp_path / "kites.csv", fill={"prompt": template})


def test_only_what_a_row_has_can_be_filled(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'prompt'"):
        Manifest(tmp_path / "kites.csv", fill={"promt": "A kite"})


# --- files that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"", "must name the columns"),
        (b"model,,prompt\n", "must name the columns"),
        (b"model,model\n", "must name the columns"),
        (b'model,prompt\nz-image,"open\nz-image,\n', "line 2"),
        (b"model,prompt\nz-image,\xff\xfe\n", "not UTF-8"),
        (b"\xff\xfem\x00o\x00", "not UTF-8"),
        (b"k" * (4 * 1024 * 1024 + 1), "no manifest"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "kites.csv" if content is None else written(tmp_path, content)
    with pytest.raises(ConfigurationError, match=why):
        read(path)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
values = st.one_of(st.integers(), st.booleans(), texts, st.lists(texts, max_size=2))


@settings(deadline=None)  # a file is written for each example
@given(prompt=texts, params=st.dictionaries(texts, values, max_size=3), references=st.lists(texts, max_size=2))
def test_any_row_comes_back_from_json_lines(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, params: dict[str, Any], references: list[str]
) -> None:
    fields = {"model": "z-image", "prompt": prompt, "params": params, "references": references}
    path = written(tmp_path_factory.getbasetemp(), json.dumps(fields, ensure_ascii=False), "any.jsonl")
    row = the_row(path)
    assert (row.prompt, row.params, row.references) == (prompt, params, tuple(references))


cells = texts.filter(lambda text: text[:1].strip() not in {"[", "{"} and "\0" not in text)
keys = st.text("abcdefgh_", min_size=1, max_size=8)


@settings(deadline=None)  # a file is written for each example
@given(prompt=cells, params=st.dictionaries(keys, cells, max_size=3))
def test_any_row_comes_back_from_csv(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, params: dict[str, str]
) -> None:
    file = io.StringIO()
    csv.writer(file).writerows(
        [["model", "prompt", *(f"params.{key}" for key in params)], ["z-image", prompt, *params.values()]]
    )
    row = the_row(written(tmp_path_factory.getbasetemp(), file.getvalue(), "any.csv"))
    assert (row.prompt, row.params) == (prompt, params)


def test_a_long_file_is_read_line_by_line(tmp_path: Path) -> None:
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


async def test_bad_rows_are_told_and_nothing_is_taken_unless_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "model,prompt\nz-image,A kite\n,No model\nz-image,Another\n")
    async with bench(tmp_path) as on, Batch.open(on.journal) as batch:
        with pytest.raises(InvalidRowsError, match="line 3: model is missing") as caught:
            await batch.add(Manifest(path))
        assert caught.value.planned.bad == 1
        assert pickle.loads(pickle.dumps(caught.value)).planned == caught.value.planned
        assert not batch.counts
        planned = await batch.add(Manifest(path), keep_going=True)
        assert (planned.new, planned.bad) == (2, 1)


async def test_a_name_stands_once_in_a_manifest(tmp_path: Path) -> None:
    path = written(tmp_path, "model,name\nz-image,kite\nz-image,Kite\n")
    async with bench(tmp_path) as on, Batch.open(on.journal) as batch:
        with pytest.raises(InvalidRowsError, match="line 3: it has the name 'Kite', and so has line 2"):
            await batch.add(Manifest(path))


async def test_many_bad_rows_are_counted_and_a_thousand_told(tmp_path: Path) -> None:
    path = written(tmp_path, "model,prompt\n" + ",x\n" * 1500)
    async with bench(tmp_path) as on, Batch.open(on.journal) as batch:
        planned = await batch.add(Manifest(path), keep_going=True)
    assert (planned.bad, len(planned.bad_rows)) == (1500, 1000)
