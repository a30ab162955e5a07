"""The drawings of the manual are written by one command, and each of them is shown."""

from __future__ import annotations

from pathlib import Path

from benchmarks import drawings

ROOT = Path(__file__).parents[2]


def test_every_drawing_is_written_and_shown(tmp_path: Path) -> None:
    drawings.main(str(tmp_path))
    pages = "".join(path.read_text() for path in [ROOT / "README.md", *ROOT.glob("rivya_async/**/*.md")])
    assert {path.stem for path in tmp_path.iterdir()} == set(drawings.DRAWINGS)
    for name in drawings.DRAWINGS:
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")
        assert f"examples/{name}.svg)" in pages
        assert (ROOT / "examples" / f"{name}.svg").is_file()
