"""The dashboard in Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rivya_async import GenerationFailedError, PollPolicy, RivyaSession
from rivya_async.sandbox import Sandbox
from rivya_async.sandbox.dashboard.feed import MAX_TASKS, PREDEFINED
from tests.chromium import CONTRAST, IN_CHROMIUM, Chromium, Tab

pytestmark = IN_CHROMIUM

LIVE = "document.querySelector('#live').dataset.state === 'open'"
MALICIOUS_PROMPT = "<img src=x onerror=\"document.title='broken into'\"><script>document.title='broken into'</script>"


@asynccontextmanager
async def open_dashboard(browser: Chromium, *, speed: float = 400) -> AsyncIterator[tuple[Sandbox, Tab]]:
    """Opens the dashboard of a running sandbox and checks that the browser logs no error."""
    async with (
        Sandbox(speed=speed, allow_local_webhooks=True) as sandbox,
        browser.tab(f"{sandbox.base_url}/", reduced_motion=True) as tab,
    ):
        await tab.wait_for(LIVE)
        yield sandbox, tab
        assert tab.errors == []


def session_for(sandbox: Sandbox) -> RivyaSession:
    return RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=PollPolicy(first=0.05, base=0.05, floor=0.02))


def create_jobs(sandbox: Sandbox, count: int) -> None:
    """Creates jobs without requests."""
    account, model = next(iter(sandbox.service_state.accounts)), sandbox._api.catalogue.models["z-image"]
    for number in range(count):
        sandbox.service_state.create_task(account, model, f"Job {number}", {}, sandbox._clock())


async def run_mixed_jobs(sandbox: Sandbox) -> None:
    """Runs jobs of all kinds and outcomes, one of them open, with an active fault and an unreachable receiver."""
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


async def test_job_appears_and_shows_image(browser: Chromium) -> None:
    async with open_dashboard(browser, speed=20) as (sandbox, tab), session_for(sandbox) as session:
        assert "No jobs yet." in await tab.evaluate("document.body.innerText")
        job = asyncio.create_task(session.generate("z-image", "A red kite over a calm sea"))
        await tab.wait_for(f"{card('progress')} !== null")
        assert await tab.evaluate(f"{card()}.dataset.status") in {"queued", "processing"}
        done = await job
        await tab.wait_for(f"{card('img')}?.complete && {card('img')}.naturalWidth > 100")
        text = await tab.evaluate(f"{card()}.innerText")
        assert "A red kite over a calm sea" in text
        assert "z-image" in text
        assert "Succeeded" in text
        assert f"{done.final_credits} credit" in text
        assert await tab.evaluate(f"{card('img')}.alt") == "A red kite over a calm sea"
        assert await tab.evaluate("document.querySelector('[data-filter=succeeded] b').innerText") == "1"
        assert await tab.evaluate("document.querySelector('#purchases').innerText") == "1"
        await tab.wait_for("document.querySelector('#announcer').innerText === '1 job succeeded.'")
        assert all(request.route != "GET /results/{task_id}/{name}" for request in sandbox.request_log)


async def test_audio_and_video_have_working_players(browser: Chromium) -> None:
    async with open_dashboard(browser) as (sandbox, tab), session_for(sandbox) as session:
        await session.generate("elevenlabs-turbo-2-5", "Good morning.", params={"voice": "TX3LPaxmHKxFdv7VOQHJ"})
        await session.generate("runway", "A night train", params={"aspectRatio": "16:9", "duration": "5"})
        for kind in ("audio", "video"):
            await tab.wait_for(f"document.querySelector('{kind}')?.controls")
            assert await tab.evaluate(f"document.querySelector('{kind}').getAttribute('aria-label')")
            await tab.evaluate(f"document.querySelector('{kind}').load()")
            await tab.wait_for(f"document.querySelector('{kind}').duration > 0.5")


async def test_failed_job_shows_reason(browser: Chromium) -> None:
    async with open_dashboard(browser) as (sandbox, tab), session_for(sandbox) as session:
        with pytest.raises(GenerationFailedError) as caught:
            await session.generate("z-image", "A glass house [fail]")
        await tab.wait_for(f"{card()}?.dataset.status === 'failed'")
        error = caught.value.generation.error
        assert error is not None
        text = await tab.evaluate(f"{card()}.innerText")
        assert error.message in text
        assert "refunded" in text


async def test_prompt_is_not_interpreted_as_html(browser: Chromium) -> None:
    async with open_dashboard(browser) as (sandbox, tab), session_for(sandbox) as session:
        await session.generate("z-image", MALICIOUS_PROMPT)
        await tab.wait_for(f"{card('img')}?.complete")
        assert MALICIOUS_PROMPT in await tab.evaluate("document.body.innerText")
        assert await tab.evaluate("document.querySelectorAll('img[src=x], body script').length") == 0
        assert await tab.evaluate("document.title") == "Rivya sandbox"


async def test_counts_five_thousand_jobs_and_pages_newest(browser: Chromium) -> None:
    async with open_dashboard(browser, speed=4000) as (sandbox, tab):
        create_jobs(sandbox, 5000)
        await tab.wait_for("document.querySelector('[data-filter=succeeded] b').innerText === '5,000'")
        assert await tab.evaluate(
            "[...document.querySelectorAll('.prompt')].map(each => each.innerText).slice(0, 2)"
        ) == [
            "Job 4999",
            "Job 4998",
        ]
        assert await tab.evaluate("document.querySelector('#limit-note').innerText") == (
            f"The newest {MAX_TASKS} of 5,000 jobs are listed; the others are counted."
        )
        pages = 1
        while await tab.evaluate("!document.querySelector('#more').hidden"):
            before = await tab.evaluate("document.querySelectorAll('.card').length")
            await tab.evaluate("document.querySelector('#more').click()")
            assert (
                await tab.evaluate("[...document.querySelectorAll('.card')].indexOf(document.activeElement)") == before
            )
            pages += 1
        assert pages > 5
        assert await tab.evaluate("document.querySelectorAll('.card').length") == MAX_TASKS


async def test_filters_jobs_by_status(browser: Chromium) -> None:
    async with open_dashboard(browser) as (sandbox, tab):
        await run_mixed_jobs(sandbox)
        await tab.wait_for("document.querySelectorAll('.card').length === 5")
        await tab.evaluate("document.querySelector('[data-filter=failed]').click()")
        assert await tab.evaluate("[...document.querySelectorAll('.card')].map(each => each.dataset.status)") == [
            "failed"
        ]
        await tab.evaluate("document.querySelector('[data-filter=processing]').click()")
        assert (
            await tab.evaluate("document.querySelector('#no-match').innerText")
            == "None of the newest 5 jobs is processing."
        )
        pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map(each => each.dataset.filter)"
        assert await tab.evaluate(pressed) == ["processing"]


# --- faults and restarts ----------------------------------------------------------------------------------------------


async def test_toggles_fault_by_key_and_click(browser: Chromium) -> None:
    async with open_dashboard(browser) as (sandbox, tab):
        name = "Service outage"
        number = [each for each, *_ in PREDEFINED].index(name) + 1
        toggle = f"document.querySelector('#fault-{number}')"
        await tab.evaluate(f"{toggle}.focus()")
        await tab.press(" ")
        await tab.wait_for(f"{toggle}.getAttribute('aria-checked') === 'true'")
        assert [fault.status for fault in sandbox.faults] == [503]
        assert await tab.evaluate(f"document.activeElement === {toggle}")
        await tab.evaluate(f"{toggle}.click()")
        await tab.wait_for(f"{toggle}.getAttribute('aria-checked') === 'false'")
        assert list(sandbox.faults) == []


async def test_fault_from_code_is_shown_with_hits(browser: Chromium) -> None:
    async with open_dashboard(browser) as (sandbox, tab), session_for(sandbox) as session:
        sandbox.faults.add(route="GET /api/v1/credits", times=2, status=503, code="<b>down</b>")
        await session.credits.retrieve()
        await tab.wait_for("document.querySelector('.custom')?.innerText.includes('2 hits')")
        assert "code='<b>down</b>'" in await tab.evaluate("document.querySelector('.custom').innerText")
        await tab.wait_for("document.querySelector('td.bad')?.innerText === '2'")


async def test_reconnects_after_restart(browser: Chromium) -> None:
    async with Sandbox(speed=4000) as sandbox, browser.tab(f"{sandbox.base_url}/") as tab:
        create_jobs(sandbox, 3)
        await tab.wait_for("document.querySelectorAll('.card').length === 3")
        await sandbox.aclose()
        await tab.wait_for("document.querySelector('#live').dataset.state === 'waiting'")
        await sandbox.start()
        await tab.wait_for(LIVE)
        await tab.wait_for("document.querySelectorAll('.card').length === 3")


# --- accessibility ----------------------------------------------------------------------------------------------------


async def test_text_contrast_meets_wcag(browser: Chromium) -> None:
    async with open_dashboard(browser) as (sandbox, tab):
        for is_full in (False, True):
            if is_full:
                await run_mixed_jobs(sandbox)
                await tab.wait_for("document.querySelectorAll('.card').length === 5")
                await tab.wait_for("document.querySelector('.delivered li[data-status=failed]') !== null")
            for is_dark in (False, True):
                await tab.emulate(dark=is_dark, reduced_motion=True)
                seen = await tab.evaluate(CONTRAST)
                assert seen["found"] == [], f"{is_full=} {is_dark=}"
                assert seen["looked"] > (80 if is_full else 40)


async def test_tab_reaches_every_control_in_order(browser: Chromium) -> None:
    async with open_dashboard(browser) as (sandbox, tab):
        await run_mixed_jobs(sandbox)
        await tab.wait_for("document.querySelectorAll('.card audio, .card video, .card img').length === 3")
        controls = (
            "[...document.querySelectorAll('a[href], button, audio, video')]"
            ".filter(each => each.checkVisibility()).map((each, i) => each.dataset.stop = String(i))"
        )
        expected = await tab.evaluate(controls)
        reached: list[str] = []
        for _ in range(len(expected) * 8):  # a player has stops of its own
            await tab.press("Tab")
            stop = await tab.evaluate("document.activeElement?.dataset.stop ?? ''")
            if not reached or stop != reached[-1]:
                reached.append(stop)
            if stop == expected[-1]:
                break
    assert reached == expected
    assert len(expected) > 15


async def test_page_fits_window(browser: Chromium) -> None:
    async with open_dashboard(browser) as (sandbox, tab):
        sandbox.faults.add(route="GET /api/v1/webhooks/{endpoint_id}/deliveries", headers={"x" * 50: "y" * 500})
        await run_mixed_jobs(sandbox)
        await tab.wait_for("document.querySelectorAll('.card').length === 5")
        for width in (320, 390, 768, 1440):
            await tab.emulate(width=width, height=800, reduced_motion=True)
            assert await tab.evaluate("document.documentElement.scrollWidth") <= width
