"""Adds the pages of the site: the manual's pages from their places in the tree, the examples, and the API reference."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]
MANUAL: Final = (
    *("README.md", "CHANGELOG.md", "benchmarks/README.md", "examples/README.md"),
    *("tests/contract/README.md", "tests/cases/README.md", "tests/simulation/README.md"),
    *("rivya_async/TROUBLESHOOTING.md", "rivya_async/CONTRIBUTING.md"),
)
PICTURES: Final = (".jpg", ".png", ".svg")
SOURCES: Final = {".py": "python", ".toml": "toml", ".csv": "text", ".json": "json", ".ipynb": "json", "": "text"}
LINK: Final = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")

PACKAGES: Final = {
    "blocking": "Blocking session",
    "progress": "Progress bars",
    "batch": "Batches",
    "workers": "Workers",
    "receiver": "Webhook receiver",
    "testing": "Testing",
    "sandbox": "Sandbox",
    "otel": "OpenTelemetry",
}
"""Title of the reference page of each package."""

SESSION_PAGE: Final = ("RivyaSession", "GenerationRequest", "Outcome", "OpenJob", "ChatStream")
RESOURCES: Final = ("Generations", "Models", "Files", "Chat", "CreditsResource", "Webhooks", "WebhookEvents", "OpenApi")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds every page, and each file of the tree that a page links to."""
    wanted = {*MANUAL, *(str(path.relative_to(ROOT)) for path in ROOT.glob("rivya_async/*/README.md"))}
    done: set[str] = set()
    while pending := wanted - done:
        for name in pending:
            path = ROOT / name
            if name.endswith(".md"):
                text = path.read_text(encoding="utf-8")
                wanted |= {target for target, _ in linked_files(name, text)}
                files.append(File.generated(config, name, content=with_site_links(name, text)))
            elif name.endswith(PICTURES):
                files.append(File.generated(config, name, abs_src_path=str(path)))
            else:
                files.append(File.generated(config, f"{name}.md", content=source_page(path)))
        done |= pending
    for name, content in reference_pages():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Leaves pages of source files and cases out of the search's first results."""
    if page.file.src_uri.endswith(".py.md"):
        page.meta["search"] = {"boost": 0.5}
    return markdown


def linked_files(page: str, text: str) -> Iterator[tuple[str, str]]:
    """Returns the files of the tree that a page links to, with the link. Raises `PluginError` for a missing file."""
    for link, _ in LINK.findall(text):
        path = (ROOT / page).parent.joinpath(link).resolve()
        if not path.is_file():
            raise PluginError(f"{page} links to {link}: no such file. Correct the link.")
        yield str(path.relative_to(ROOT)), link


def with_site_links(page: str, text: str) -> str:
    """Returns a page whose links to source files lead to the pages of these files."""
    for _, link in set(linked_files(page, text)):
        if not link.endswith((".md", *PICTURES)):
            text = re.sub(rf"(?<=\]\(){re.escape(link)}(?=[)#])", f"{link}.md", text)
    return text


def source_page(path: Path) -> str:
    language = SOURCES[path.suffix]
    return f"# {path.name}\n\n````{language}\n{path.read_text(encoding='utf-8')}````\n"


def reference_pages() -> Iterator[tuple[str, str]]:
    """Returns name and text of each page of the API reference. Every public name is on exactly one page."""
    package = importlib.import_module("rivya_async")
    names = [name for name in package.__all__ if name != "__version__"]
    groups: dict[str, list[str]] = {"session": list(SESSION_PAGE), "errors": [], "settings": [], "records": []}
    for name in (name for name in names if name not in SESSION_PAGE):
        groups[group_of(getattr(package, name))].append(name)
    titles = {"session": "Session", "errors": "Errors", "settings": "Settings and hooks", "records": "Records"}
    groups["errors"].sort(key=list(vars(importlib.import_module("rivya_async._core.errors"))).index)
    groups["settings"].sort(key=lambda name: (name.endswith("Details"), name == "ExternalRateLimiter"))
    for page, members in groups.items():
        options = {"inherited_members": "false"} if page == "errors" else {}
        yield page, reference_page(titles[page], [f"rivya_async.{name}" for name in members], **options)
    resources = [f"rivya_async.resources.{name}" for name in resource_modules()]
    yield "resources", reference_page("Resources of the API", resources)
    yield "catalogue", f"# Typed catalogue\n\n{entry('rivya_async.catalogue', show_root_heading='false')}"
    for name, title in PACKAGES.items():
        module = f"rivya_async.{name}"
        exported = getattr(importlib.import_module(module), "__all__", ["BlockingSession"])
        yield name, reference_page(title, [f"{module}.{each}" for each in exported])


def group_of(value: type) -> str:
    """Returns the page of a public name."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return "errors"
    settings = ("Policy", "RateLimit", "Timeouts", "RateLimiter", "Hooks", "Details")
    return "settings" if value.__name__.endswith(settings) else "records"


def resource_modules() -> Iterator[str]:
    """Returns the resource classes with their modules, in the order of `RESOURCES`."""
    session = importlib.import_module("rivya_async.session")
    for name in RESOURCES:
        cls = getattr(session, name)
        module = next(
            key for key, value in sys.modules.items() if ".resources." in key and vars(value).get(name) is cls
        )
        yield f"{module.removeprefix('rivya_async.resources.')}.{name}"


def reference_page(title: str, names: list[str], **options: str) -> str:
    return f"# {title}\n\n" + "\n\n".join(entry(name, **options) for name in names) + "\n"


def entry(name: str, **options: str) -> str:
    lines = "".join(f"\n      {option}: {value}" for option, value in options.items())
    return f"::: {name}" + (f"\n    options:{lines}" if lines else "")
