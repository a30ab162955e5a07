from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
from PIL import Image

from rivya_async.cli.demo import DEMO_JOBS
from rivya_async.cli.media import mime_type, poster, shape
from tests.cli.cli_kit import Ended, environment, rivya
from tests.cli.test_cli_contact_sheet import Page


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    """One demo for all that looks at it, quick and told in JSON; a key in the environment must not matter."""
    folder = tmp_path_factory.mktemp("demo") / "sheet"
    env = environment(RIVYA_API_KEY="rvya_sk_not_to_be_used")
    return rivya("demo", "-o", str(folder), "--speed", "200", "--json", env=env), folder


def files(folder: Path, kind: str) -> list[Path]:
    return [path for path in folder.iterdir() if mime_type(path).startswith(f"{kind}/")]


def test_the_demo_ends_well_and_says_what_it_cost(demo: tuple[Ended, Path]) -> None:
    ended, folder = demo
    assert (ended.code, ended.err) == (0, "")
    *jobs, told = ended.results
    assert len(jobs) == len(DEMO_JOBS)
    assert {job["status"] for job in jobs} == {"succeeded"}
    assert told["credits"] == sum(job["final_credits"] for job in jobs) > 0
    assert (told["succeeded"], told["failed"], told["live"]) == (len(DEMO_JOBS), 0, False)
    assert Path(told["page"]) == folder / "index.html"
    assert told["seconds"] < 30


def test_every_file_of_the_demo_opens(demo: tuple[Ended, Path]) -> None:
    _, folder = demo
    pictures, films, sounds = (files(folder, kind) for kind in ("image", "video", "audio"))
    assert (len(pictures), len(films), len(sounds)) == (6, 3, 2)
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 100
    for path in films:
        with av.open(str(path)) as film:
            assert sum(1 for _ in film.decode(video=0)) > 10
    for path in sounds:
        with av.open(str(path)) as sound:
            assert sum(frame.samples for frame in sound.decode(audio=0)) > 8000


def test_films_have_a_poster_and_sounds_a_shape(demo: tuple[Ended, Path]) -> None:
    _, folder = demo
    assert all((poster(path) or b"").startswith(b"\xff\xd8") for path in files(folder, "video"))
    for path in files(folder, "audio"):
        bars = shape(path)
        assert len(bars) == 72
        assert max(bars) == 1.0
        assert min(bars) >= 0.0


def test_the_sheet_shows_every_job_and_needs_no_other_file(demo: tuple[Ended, Path]) -> None:
    ended, folder = demo
    html = (folder / "index.html").read_text(encoding="utf-8")
    found = Page(html)
    assert len(found.of("article")) == len(DEMO_JOBS)
    assert (len(found.of("img")), len(found.of("video")), len(found.of("audio"))) == (6, 3, 2)
    assert all(video["poster"] for video in found.of("video"))
    for model, prompt, params in DEMO_JOBS:
        assert model in found.text
        assert prompt in found.text
        assert all(key in found.text for key in params)
    assert all(job["id"] in found.text for job in ended.results[:-1])
    assert {link["href"] for link in found.of("a")} == {path.name for path in folder.iterdir()} - {"index.html"}
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "rvya_sk_" not in html


def test_the_demo_speaks_to_people_and_runs_again(demo: tuple[Ended, Path]) -> None:
    _, folder = demo
    ended = rivya("demo", "-o", str(folder), "--speed", "200")
    assert ended.code == 0
    assert ended.out.splitlines()[0].startswith("11 of 11 jobs in ")
    assert ended.out.splitlines()[1] == f"Contact sheet: {(folder / 'index.html').resolve().as_uri()}"
    assert "[11/11] succeeded" in ended.err
    assert "rvya_sk_" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--live",), "RIVYA_API_KEY"),
        (("--live", "--speed", "3"), "--speed"),
        (("--speed", "0"), "speed"),
    ],
)
def test_a_demo_that_cannot_be_is_refused(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    ended = rivya("demo", *arguments, "--json", cwd=tmp_path)
    assert ended.code == 2
    assert told in ended.error["message"]
    assert "ConfigurationError" in json.dumps(ended.error)


def test_what_is_no_medium_has_no_poster_and_no_shape(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"not a film")
    assert poster(path) is None
    assert shape(path) == ()
    assert mime_type(tmp_path / "what.xyz") == "application/octet-stream"
