from __future__ import annotations

from html.parser import HTMLParser

from rivya_async.cli.contact_sheet import EMBED_BYTES, Card, Medium, Sheet, page

NASTY = '<script>alert("1")</script> & \'"><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def card(*media: Medium, **changed: object) -> Card:
    fields: dict[str, object] = {
        "model": "z-image",
        "prompt": "A red kite",
        "params": {"aspect_ratio": "4:3", "seed": 7},
        "status": "succeeded",
        "task_id": "task_1",
        "duration": 2.345,
        "credits": 3,
        "media": media,
    }
    return Card(**{**fields, **changed})  # type: ignore[arg-type]


def sheet(*cards: Card) -> Page:
    html = page(Sheet(title="Contact sheet", made_by="The sandbox", made_at="today", took=12.3, cards=cards))
    return Page(html)


def test_every_kind_of_medium_is_embedded() -> None:
    found = sheet(
        card(Medium("a.png", "image/png", b"png")),
        card(Medium("a.mp4", "video/mp4", b"mp4", poster=b"jpeg")),
        card(Medium("a.mp3", "audio/mpeg", b"mp3", shape=[0.0, 0.5, 1.0])),
    )
    assert found.of("img")[0]["src"] == "data:image/png;base64,cG5n"
    assert found.of("video")[0]["src"] == "data:video/mp4;base64,bXA0"
    assert found.of("video")[0]["poster"] == "data:image/jpeg;base64,anBlZw=="
    assert found.of("audio")[0]["src"] == "data:audio/mpeg;base64,bXAz"
    assert len(found.of("rect")) == 3
    assert "controls" in found.of("video")[0]
    assert "controls" in found.of("audio")[0]


def test_all_data_of_a_job_is_shown() -> None:
    text = sheet(card(Medium("a.png", "image/png", b"png"))).text
    for told in (
        "z-image",
        "A red kite",
        "aspect_ratio",
        "4:3",
        "seed",
        "7",
        "succeeded",
        "2.3 s",
        "3 credits",
        "task_1",
    ):
        assert told in text


def test_nothing_from_outside_becomes_markup() -> None:
    found = sheet(
        card(
            Medium(NASTY, "image/png", b"png"),
            model=NASTY,
            prompt=NASTY,
            params={NASTY: NASTY},
            status=NASTY,
            task_id=NASTY,
        ),
        card(problem=NASTY, status="failed"),
    )
    assert not found.of("script")
    assert len(found.of("img")) == 1
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert found.of("img")[0]["alt"] == NASTY
    assert found.text.count(NASTY) == 7


def test_the_page_loads_nothing() -> None:
    found = sheet(card(Medium("a.png", "image/png", b"png")), card(Medium("a.mp4", "video/mp4", b"mp4")))
    policies = [tag["content"] for tag in found.of("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"]
    sources = [attributes.get("src") for _, attributes in found.tags if attributes.get("src")]
    assert all(source is not None and source.startswith("data:") for source in sources)
    assert not found.of("link")


def test_a_failed_job_shows_its_reason_and_spoils_nothing() -> None:
    found = sheet(card(status="failed", problem="The model broke."), card(Medium("a.png", "image/png", b"png")))
    assert "The model broke." in found.text
    assert len(found.of("article")) == 2


def test_a_huge_file_is_linked() -> None:
    found = sheet(card(Medium("film.mp4", "video/mp4", bytes(EMBED_BYTES + 1))))
    assert not found.of("video")
    assert found.of("a")[0]["href"] == "film.mp4"
