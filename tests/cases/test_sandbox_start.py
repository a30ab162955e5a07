"""The start of a sandbox: its extra, its seed, the hosts that it serves, and the permissions of its files."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rivya_async import RivyaSession
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import QUICK_POLL

FAST = 100_000.0


@pytest.mark.parametrize("missing", ["PIL", "av"])
def test_names_the_missing_extra_at_the_start(missing: str) -> None:
    """D20: not by a 500 at the first file."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
from rivya_async.sandbox import Sandbox
try:
    Sandbox()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'rivya-async[sandbox]'" in done.stdout


async def test_generates_into_one_folder_twice(tmp_path: Path) -> None:
    """N2: two sandboxes do not make tasks of the same id."""
    saved: set[Path] = set()
    for _ in range(2):
        async with (
            Sandbox(seed=None, speed=FAST) as sandbox,
            RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=QUICK_POLL) as session,
        ):
            job = await session.generate("z-image", "A red kite")
            saved.update(await session.download(job, tmp_path))
    assert len(saved) == 2


async def _ids(seed: int | None) -> list[str]:
    async with (
        Sandbox(seed=seed, speed=FAST, allow_local_webhooks=True) as sandbox,
        RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=QUICK_POLL) as session,
    ):
        task_id = (await session.submit("z-image", "A red kite")).id
        chat = await session.chat.completions.create("gpt-5-2-chat", "Hello")
        file = await session.files.upload(b"\x89PNG\r\n\x1a\n" + bytes(100))
        endpoint = await session.webhooks.create("Mine", "http://127.0.0.1:9/", ["generation.succeeded"])
        secret = endpoint.signing_secret or ""
        return [
            sandbox.api_key,
            sandbox.add_key(),
            task_id,
            chat.id,
            chat.session_id or "",
            file.id,
            endpoint.id,
            secret,
        ]


async def test_every_id_and_secret_is_random_without_a_seed() -> None:
    """N2, S16: a page that knows the software does not know the key."""
    first, second = await _ids(None), await _ids(None)
    assert not set(first) & set(second)
    assert await _ids(7) == await _ids(7)


def test_seed_attribute_repeats_a_sandbox() -> None:
    """N2: a run with a random seed can be repeated."""
    first = Sandbox(seed=None)
    assert Sandbox(seed=first.seed).api_key == first.api_key


async def test_state_keeps_the_seed(tmp_path: Path) -> None:
    """S16: the random key of a state file stays valid."""
    keys = []
    for _ in range(2):
        async with Sandbox(seed=None, state=tmp_path / "state.db") as sandbox:
            keys.append((sandbox.api_key, sandbox.add_key("other")))
    assert keys[0] == keys[1]
    async with Sandbox(seed=None, state=tmp_path / "other.db") as sandbox:
        assert sandbox.api_key != keys[0][0]


PATHS = [
    "/",
    "/api/v1/models",
    "/api/v1/openapi.json",
    "/api/v1/credits",
    "/results/task_0/0.png",
    "/files/x",
    "/sandbox/x",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "", "a:b:c"]
)
async def test_rejects_other_host_names_on_all_routes(path: str, host: str) -> None:
    """S16: the owner of a name can let it resolve to this machine."""
    async with Sandbox(speed=FAST) as sandbox, aiohttp.ClientSession() as http:
        headers = {"Host": host, "Authorization": f"Bearer {sandbox.api_key}"}
        for method in ("GET", "POST"):
            async with http.request(method, sandbox.base_url + path, headers=headers) as response:
                assert response.status == 403
                assert (await response.json())["error"]["code"] == "host_rejected"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "app.localhost:1", "127.0.0.1", "[::1]:8000", "10.0.0.4"]
)
async def test_accepts_addresses_and_loopback_names(host: str) -> None:
    """S16: an IP address is not a name that can be rebound."""
    async with (
        Sandbox(speed=FAST) as sandbox,
        aiohttp.ClientSession(headers={"Host": host}) as http,
        http.get(f"{sandbox.base_url}/api/v1/models") as response,
    ):
        assert response.status == 200


async def test_accepts_the_bound_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """S16: people who bind to a name connect by it."""
    sandbox = Sandbox(speed=FAST, host="localhost")
    monkeypatch.setattr(sandbox, "_host", "127.0.0.1")
    async with sandbox, aiohttp.ClientSession() as http:
        monkeypatch.setattr(sandbox, "_host", "Sandbox.internal")
        url = sandbox.base_url.replace("localhost", "127.0.0.1")
        async with http.get(f"{url}/api/v1/models", headers={"Host": "sandbox.internal:80"}) as response:
            assert response.status == 200


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("exists", [False, True])
async def test_state_files_are_private(tmp_path: Path, exists: bool) -> None:
    """S18: keys, prompts and uploads are for the owner alone."""
    path = tmp_path / "state.db"
    if exists:
        async with Sandbox(state=path):
            pass
        path.chmod(0o644)
        (tmp_path / "state.db-files").chmod(0o755)
    async with (
        Sandbox(state=path, speed=FAST) as sandbox,
        RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
    ):
        await session.submit("z-image", "A red kite")
        modes: dict[str, Any] = {each.name: _mode(each) for each in tmp_path.iterdir()}
    assert modes.pop("state.db-files") == 0o700
    assert modes["state.db"] == 0o600
    assert set(modes.values()) == {0o600}


async def test_rejected_webhook_url_names_the_option() -> None:
    """N24: a receiver on this machine needs an option of the sandbox."""
    async with (
        Sandbox(speed=FAST) as sandbox,
        RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
    ):
        for url in ("http://127.0.0.1:8000/hooks", "https://localhost/hooks", "https://127.0.0.1/hooks"):
            with pytest.raises(Exception, match="allow_local_webhooks"):
                await session.webhooks.create("Mine", url, ["generation.succeeded"])


async def test_one_credit_is_singular() -> None:
    """N24: the price of the cheapest model."""
    async with (
        Sandbox(speed=FAST, credits=0) as sandbox,
        RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
    ):
        with pytest.raises(Exception, match="needs 1 credit, you have 0"):
            await session.submit("z-image", "A red kite")
