"""The site of the manual builds without a warning, and is readable in a browser."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.chromium import CONTRAST, IN_CHROMIUM, Chromium, Tab

ROOT = Path(__file__).parents[2]
LOOKS: dict[str, dict[str, Any]] = {"light": {}, "dark": {"dark": True}, "phone": {"width": 390, "height": 844}}
PAGES = ("", "rivya_async/", "rivya_async/TROUBLESHOOTING/", "examples/", "reference/session/")
SEARCH = "document.querySelector('.md-search__input')"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the site as `nox -s docs` does."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--config-file", str(Path(__file__).with_name("mkdocs.yml")), "--site-dir", str(folder)]
    command = [sys.executable, "-m", "mkdocs", "build", *options]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return folder


def test_every_page_of_the_navigation_is_built(site: Path) -> None:
    for page in PAGES:
        assert (site / page / "index.html").is_file(), page


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert 'src="http' not in text, page
        assert 'rel="stylesheet" href="http' not in text, page


def test_reference_shows_defaults_as_values(site: Path) -> None:
    text = (site / "reference/settings/index.html").read_text()
    assert "field(" not in text
    assert "NOTHING" not in text


def test_links_between_pages_lead_to_anchors(site: Path) -> None:
    for page in site.glob("reference/*/index.html"):
        for link, anchor in re.findall(r'href="([^":#]+/)#([^"]+)"', page.read_text()):
            assert f'id="{anchor}"' in (page.parent / link / "index.html").read_text(), (page, link, anchor)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(site: Path) -> AsyncIterator[str]:
    """Serves the site on loopback."""

    async def page(request: web.Request) -> web.FileResponse:
        path = site / request.match_info["path"]
        return web.FileResponse(path / "index.html" if path.is_dir() else path)

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


class TestInBrowser:
    pytestmark = IN_CHROMIUM

    @pytest.mark.parametrize("look", LOOKS)
    @pytest.mark.parametrize("page", PAGES)
    async def test_page_is_readable(self, browser: Chromium, url: str, page: str, look: str) -> None:
        async with browser.tab(url + page, reduced_motion=True, **LOOKS[look]) as tab:
            await tab.wait_for("document.documentElement.classList.contains('js')")
            assert (await tab.evaluate(CONTRAST))["found"] == []
            assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert tab.errors == []

    async def test_search_finds_a_method(self, browser: Chromium, url: str) -> None:
        async with browser.tab(url) as tab:
            await search(tab, "wait_for")
            await tab.wait_for("document.querySelector('.md-search-result__link[href*=\"reference/session\"]')")


async def search(tab: Tab, text: str) -> None:
    """Enters a text into the search field."""
    await tab.wait_for(SEARCH)
    await tab.evaluate(f"{SEARCH}.focus()")
    await tab.send_command("Input.insertText", text=text)
