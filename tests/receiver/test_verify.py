"""verify(): what a receiver calls. The signature itself is tested with the pure floor."""

from __future__ import annotations

import json
import time
import traceback
from typing import Any, Final

import pytest
from multidict import CIMultiDict

from rivya_async import ConfigurationError, SignatureMismatchError, TimestampToleranceError, WebhookVerificationError
from rivya_async.receiver import RIVYA, STANDARD_WEBHOOKS, RivyaScheme, verify
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import FAST, opened, peer, until

SECRET: Final = "whsec_" + "c0ffee00" * 4
EVENT: Final = {"id": "evt_1", "type": "generation.failed", "data": {"id": "t", "status": "failed", "model": "m"}}
BODY: Final = json.dumps(EVENT).encode()


def now() -> int:
    return int(time.time())  # noqa: TID251 - what `verify` does by itself


def signed(body: bytes = BODY, *, at: int = 0, secret: str = SECRET) -> dict[str, str]:
    return RIVYA.sign(body, secret, message_id="evt_1", timestamp=at or now())


def test_an_event_is_read_by_the_clock_of_this_machine() -> None:
    event = verify(BODY, signed(), SECRET)
    assert (event.id, event.type) == ("evt_1", "generation.failed")
    assert event.generation is not None
    assert event.generation.failed
    for at in (now() - 400, now() + 400):
        with pytest.raises(TimestampToleranceError):
            verify(BODY, signed(at=at), SECRET)
        assert verify(BODY, signed(at=at), SECRET, tolerance=500).id == "evt_1"
        assert verify(BODY, signed(at=at), SECRET, clock=lambda at=at: at + 299.0).id == "evt_1"  # type: ignore[misc]


@pytest.mark.parametrize("kind", [dict, CIMultiDict])
def test_headers_of_any_framework(kind: Any) -> None:
    for case in (str.lower, str.upper, str.title):
        headers = kind({case(name): value for name, value in signed().items()})
        assert verify(BODY, headers, SECRET).id == "evt_1"


def test_secrets_are_rotated() -> None:
    assert verify(BODY, signed(), ["whsec_new", SECRET]).id == "evt_1"
    with pytest.raises(SignatureMismatchError):
        verify(BODY, signed(), "whsec_new")


def test_other_schemes() -> None:
    secret = "whsec_YWJjZGVmZ2hpamtsbW5vcA=="
    headers = STANDARD_WEBHOOKS.sign(BODY, secret, message_id="evt_1", timestamp=now())
    assert verify(BODY, headers, secret, scheme=STANDARD_WEBHOOKS).id == "evt_1"
    with pytest.raises(WebhookVerificationError, match="no Rivya-Signature"):
        verify(BODY, headers, secret)
    renamed = {"X-Signature": signed()["Rivya-Signature"]}
    assert verify(BODY, renamed, SECRET, scheme=RivyaScheme(header="X-Signature")).id == "evt_1"


@pytest.mark.parametrize("secret", ["", " ", None, []])
def test_a_missing_secret_is_a_mistake_of_the_receiver(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        verify(BODY, signed(), secret)


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"{}", signed()), (BODY, {}), (BODY, signed(at=1)), (b"{}", signed(b"{}")), (BODY.decode(), signed())],
)
def test_no_traceback_of_ours_shows_the_secret(body: Any, headers: dict[str, str]) -> None:
    with pytest.raises((WebhookVerificationError, ConfigurationError)) as raised:
        verify(body, headers, SECRET)
    stack = traceback.TracebackException.from_exception(raised.value, capture_locals=True).stack
    ours = [frame for frame in stack if "/rivya_async/" in frame.filename]
    assert ours
    assert "c0ffee" not in repr([frame.locals for frame in ours])


async def test_what_the_sandbox_delivers_is_taken() -> None:
    async with (
        peer() as there,
        Sandbox(speed=FAST, allow_local_webhooks=True) as sandbox,
        opened(sandbox) as session,
    ):
        endpoint = await session.webhooks.create("Mine", f"{there.url}/hook", ["generation.succeeded"])
        job = await session.generate("z-image", "A red kite")
        await until(lambda: len(there.seen) == 1)
        (seen,) = there.seen
        assert verify(seen.body, seen.headers, endpoint.signing_secret or "").generation == job
        with pytest.raises(SignatureMismatchError):
            verify(seen.body + b" ", seen.headers, endpoint.signing_secret or "")
