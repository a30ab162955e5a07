"""The page in Debian's Chromium: what a person sees and reaches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rivya_async import GenerationFailed, PollPolicy, RivyaSession
from rivya_async.sandbox import Sandbox
from rivya_async.sandbox.dashboard.fault_toggles import READY
from rivya_async.sandbox.dashboard.task_feed import MOST_TASKS
from tests.page.chromium import CONTRAST, IN_CHROMIUM, Chromium, Tab

pytestmark = IN_CHROMIUM

LIVE = "document.querySelector('#live').dataset.state === 'open'"
EVIL = "<img src=x onerror=\"document.title='broken into'\"><script>document.title='broken into'</script>"


@asynccontextmanager
async def page(browser: Chromium, *, speed: float = 400) -> AsyncIterator[tuple[Sandbox, Tab]]:
    """A sandbox and its page, live; nothing that the page does may be an error to the browser."""
    async with (
        Sandbox(speed=speed, allow_local_webhooks=True) as sandbox,
        browser.tab(f"{sandbox.base_url}/", calm=True) as tab,
    ):
        await tab.until(LIVE)
        yield sandbox, tab
        assert tab.errors == []


def session_for(sandbox: Sandbox) -> RivyaSession:
    return RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=PollPolicy(first=0.05, base=0.05, floor=0.02))


def many(sandbox: Sandbox, count: int) -> None:
    """So many jobs at once, without a request for each."""
    account, model = next(iter(sandbox.service_state.accounts)), sandbox._api.catalogue.models["z-image"]
    for number in range(count):
        sandbox.service_state.create(account, model, f"Job {number}", {}, sandbox._clock())


async def mixed(sandbox: Sandbox) -> None:
    """One job of every kind and end, one that still runs, a fault in force, and a receiver that is not there."""
    sandbox.faults.add(route="POST /api/v1/generations", nth=2, drop=True, act=True)
    async with session_for(sandbox) as session:
        await session.webhooks.create("gone", "http://127.0.0.1:9/hooks", ["generation.failed"])
        jobs = [
            session.generate("z-image", "A red kite"),
            session.generate("z-image", "A glass house [fail]"),
            session.generate("elevenlabs-turbo-2-5", "Good morning.", params={"voice": "TX3LPaxmHKxFdv7VOQHJ"}),
            session.generate("runway", "A night train", params={"aspectRatio": "16:9", "duration": "5"}),
        ]
        await asyncio.gather(*jobs, return_exceptions=True)
        sandbox.service_state.speed = 0.01
        await session.submit("z-image", "A slow one")


def card(part: str = "") -> str:
    return f"document.querySelector('.card {part}')"


# --- jobs -------------------------------------------------------------------------------------------------------------


async def test_a_job_appears_finishes_and_shows_its_picture(browser: Chromium) -> None:
    async with page(browser, speed=20) as (sandbox, tab), session_for(sandbox) as session:
        assert "No jobs yet." in await tab.run("document.body.innerText")
        job = asyncio.create_task(session.generate("z-image", "A red kite over a calm sea"))
        await tab.until(f"{card('progress')} !== null")
        assert await tab.run(f"{card()}.dataset.status") in {"queued", "processing"}
        done = await job
        await tab.until(f"{card('img')}?.complete && {card('img')}.naturalWidth > 100")
        text = await tab.run(f"{card()}.innerText")
        assert "A red kite over a calm sea" in text
        assert "z-image" in text
        assert "Succeeded" in text
        assert f"{done.final_credits} credit" in text
        assert await tab.run(f"{card('img')}.alt") == "A red kite over a calm sea"
        assert await tab.run("document.querySelector('[data-filter=succeeded] b').innerText") == "1"
        assert await tab.run("document.querySelector('#purchases').innerText") == "1"
        await tab.until("document.querySelector('#news').innerText === '1 job succeeded.'")
        assert all(request.route != "GET /results/{task_id}/{name}" for request in sandbox.request_log)


async def test_a_sound_and_a_video_have_players_that_play(browser: Chromium) -> None:
    async with page(browser) as (sandbox, tab), session_for(sandbox) as session:
        await session.generate("elevenlabs-turbo-2-5", "Good morning.", params={"voice": "TX3LPaxmHKxFdv7VOQHJ"})
        await session.generate("runway", "A night train", params={"aspectRatio": "16:9", "duration": "5"})
        for kind in ("audio", "video"):
            await tab.until(f"document.querySelector('{kind}')?.controls")
            assert await tab.run(f"document.querySelector('{kind}').getAttribute('aria-label')")
            await tab.run(f"document.querySelector('{kind}').load()")
            await tab.until(f"document.querySelector('{kind}').duration > 0.5")


async def test_a_failed_job_says_why(browser: Chromium) -> None:
    async with page(browser) as (sandbox, tab), session_for(sandbox) as session:
        with pytest.raises(GenerationFailed) as caught:
            await session.generate("z-image", "A glass house [fail]")
        await tab.until(f"{card()}?.dataset.status === 'failed'")
        error = caught.value.generation.error
        assert error is not None
        text = await tab.run(f"{card()}.innerText")
        assert error.message in text
        assert "given back" in text


async def test_a_prompt_is_text_and_nothing_else(browser: Chromium) -> None:
    async with page(browser) as (sandbox, tab), session_for(sandbox) as session:
        await session.generate("z-image", EVIL)
        await tab.until(f"{card('img')}?.complete")
        assert EVIL in await tab.run("document.body.innerText")
        assert await tab.run("document.querySelectorAll('img[src=x], body script').length") == 0
        assert await tab.run("document.title") == "Rivya sandbox"


async def test_five_thousand_jobs_are_counted_and_the_newest_shown_a_page_at_a_time(browser: Chromium) -> None:
    async with page(browser, speed=4000) as (sandbox, tab):
        many(sandbox, 5000)
        await tab.until("document.querySelector('[data-filter=succeeded] b').innerText === '5,000'")
        assert await tab.run("[...document.querySelectorAll('.prompt')].map(each => each.innerText).slice(0, 2)") == [
            "Job 4999",
            "Job 4998",
        ]
        assert await tab.run("document.querySelector('#bound').innerText") == (
            f"The newest {MOST_TASKS} of 5,000 jobs are kept here; the rest is counted."
        )
        pages = 1
        while await tab.run("!document.querySelector('#more').hidden"):
            before = await tab.run("document.querySelectorAll('.card').length")
            await tab.run("document.querySelector('#more').click()")
            assert await tab.run("[...document.querySelectorAll('.card')].indexOf(document.activeElement)") == before
            pages += 1
        assert pages > 5
        assert await tab.run("document.querySelectorAll('.card').length") == MOST_TASKS


async def test_jobs_are_shown_by_their_status(browser: Chromium) -> None:
    async with page(browser) as (sandbox, tab):
        await mixed(sandbox)
        await tab.until("document.querySelectorAll('.card').length === 5")
        await tab.run("document.querySelector('[data-filter=failed]').click()")
        assert await tab.run("[...document.querySelectorAll('.card')].map(each => each.dataset.status)") == ["failed"]
        await tab.run("document.querySelector('[data-filter=processing]').click()")
        assert await tab.run("document.querySelector('#none').innerText") == "None of the newest 5 jobs is processing."
        pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map(each => each.dataset.filter)"
        assert await tab.run(pressed) == ["processing"]


# --- faults, and the sandbox itself -----------------------------------------------------------------------------------


async def test_a_fault_is_switched_on_and_off_by_key_and_by_click(browser: Chromium) -> None:
    async with page(browser) as (sandbox, tab):
        name = "Be down"
        number = [each for each, *_ in READY].index(name) + 1
        switch = f"document.querySelector('#fault-{number}')"
        await tab.run(f"{switch}.focus()")
        await tab.press(" ")
        await tab.until(f"{switch}.getAttribute('aria-checked') === 'true'")
        assert [fault.status for fault in sandbox.faults] == [503]
        assert await tab.run(f"document.activeElement === {switch}")
        await tab.run(f"{switch}.click()")
        await tab.until(f"{switch}.getAttribute('aria-checked') === 'false'")
        assert list(sandbox.faults) == []


async def test_a_fault_from_code_is_shown_as_text_and_counts_its_hits(browser: Chromium) -> None:
    async with page(browser) as (sandbox, tab), session_for(sandbox) as session:
        sandbox.faults.add(route="GET /api/v1/credits", times=2, status=503, code="<b>down</b>")
        await session.credits.retrieve()
        await tab.until("document.querySelector('.coded')?.innerText.includes('2 hits')")
        assert "code='<b>down</b>'" in await tab.run("document.querySelector('.coded').innerText")
        await tab.until("document.querySelector('td.bad')?.innerText === '2'")


async def test_the_page_says_that_the_sandbox_is_gone_and_comes_back_with_it(browser: Chromium) -> None:
    async with Sandbox(speed=4000) as sandbox, browser.tab(f"{sandbox.base_url}/") as tab:
        many(sandbox, 3)
        await tab.until("document.querySelectorAll('.card').length === 3")
        await sandbox.aclose()
        await tab.until("document.querySelector('#live').dataset.state === 'waiting'")
        await sandbox.start()
        await tab.until(LIVE)
        await tab.until("document.querySelectorAll('.card').length === 3")


# --- for everybody ----------------------------------------------------------------------------------------------------


async def test_nothing_is_too_faint_to_be_read(browser: Chromium) -> None:
    async with page(browser) as (sandbox, tab):
        for is_full in (False, True):
            if is_full:
                await mixed(sandbox)
                await tab.until("document.querySelectorAll('.card').length === 5")
                await tab.until("document.querySelector('.delivered li[data-status=failed]') !== null")
            for is_dark in (False, True):
                await tab.look(dark=is_dark, calm=True)
                seen = await tab.run(CONTRAST)
                assert seen["found"] == [], f"{is_full=} {is_dark=}"
                assert seen["looked"] > (80 if is_full else 40)


async def test_the_tab_key_reaches_every_control_in_the_order_of_the_page(browser: Chromium) -> None:
    async with page(browser) as (sandbox, tab):
        await mixed(sandbox)
        await tab.until("document.querySelectorAll('.card audio, .card video, .card img').length === 3")
        controls = (
            "[...document.querySelectorAll('a[href], button, audio, video')]"
            ".filter(each => each.checkVisibility()).map((each, i) => each.dataset.stop = String(i))"
        )
        expected = await tab.run(controls)
        reached: list[str] = []
        for _ in range(len(expected) * 8):  # a player has stops of its own
            await tab.press("Tab")
            stop = await tab.run("document.activeElement?.dataset.stop ?? ''")
            if not reached or stop != reached[-1]:
                reached.append(stop)
            if stop == expected[-1]:
                break
    assert reached == expected
    assert len(expected) > 15


async def test_nothing_is_wider_than_the_window(browser: Chromium) -> None:
    async with page(browser) as (sandbox, tab):
        sandbox.faults.add(route="GET /api/v1/webhooks/{endpoint_id}/deliveries", headers={"x" * 50: "y" * 500})
        await mixed(sandbox)
        await tab.until("document.querySelectorAll('.card').length === 5")
        for width in (320, 390, 768, 1440):
            await tab.look(width=width, height=800, calm=True)
            assert await tab.run("document.documentElement.scrollWidth") <= width
