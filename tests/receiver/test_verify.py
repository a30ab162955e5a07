"""`verify()`; the signature itself is tested in tests/core."""

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
from tests.session.session_kit import FAST, open_session, plain_server, wait_until

SECRET: Final = "whsec_" + "c0ffee00" * 4
EVENT: Final = {"id": "evt_1", "type": "generation.failed", "data": {"id": "t", "status": "failed", "model": "m"}}
BODY: Final = json.dumps(EVENT).encode()


def now() -> int:
    return int(time.time())  # noqa: TID251 - the clock of `verify`


def sign(body: bytes = BODY, *, at: int = 0, secret: str = SECRET) -> dict[str, str]:
    return RIVYA.sign(body, secret, message_id="evt_1", timestamp=at or now())


def test_uses_the_wall_clock() -> None:
    event = verify(BODY, sign(), SECRET)
    assert (event.id, event.type) == ("evt_1", "generation.failed")
    assert event.generation is not None
    assert event.generation.failed
    for at in (now() - 400, now() + 400):
        with pytest.raises(TimestampToleranceError):
            verify(BODY, sign(at=at), SECRET)
        assert verify(BODY, sign(at=at), SECRET, tolerance=500).id == "evt_1"
        assert verify(BODY, sign(at=at), SECRET, clock=lambda at=at: at + 299.0).id == "evt_1"  # type: ignore[misc]


@pytest.mark.parametrize("kind", [dict, CIMultiDict])
def test_header_case_does_not_matter(kind: Any) -> None:
    for case in (str.lower, str.upper, str.title):
        headers = kind({case(name): value for name, value in sign().items()})
        assert verify(BODY, headers, SECRET).id == "evt_1"


def test_accepts_rotated_secrets() -> None:
    assert verify(BODY, sign(), ["whsec_new", SECRET]).id == "evt_1"
    with pytest.raises(SignatureMismatchError):
        verify(BODY, sign(), "whsec_new")


def test_other_schemes() -> None:
    secret = "whsec_YWJjZGVmZ2hpamtsbW5vcA=="
    headers = STANDARD_WEBHOOKS.sign(BODY, secret, message_id="evt_1", timestamp=now())
    assert verify(BODY, headers, secret, scheme=STANDARD_WEBHOOKS).id == "evt_1"
    with pytest.raises(WebhookVerificationError, match="no Rivya-Signature"):
        verify(BODY, headers, secret)
    renamed = {"X-Signature": sign()["Rivya-Signature"]}
    assert verify(BODY, renamed, SECRET, scheme=RivyaScheme(header="X-Signature")).id == "evt_1"


@pytest.mark.parametrize("secret", ["", " ", None, []])
def test_missing_secret_is_a_configuration_error(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        verify(BODY, sign(), secret)


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"{}", sign()), (BODY, {}), (BODY, sign(at=1)), (b"{}", sign(b"{}")), (BODY.decode(), sign())],
)
def test_tracebacks_have_no_secret(body: Any, headers: dict[str, str]) -> None:
    with pytest.raises((WebhookVerificationError, ConfigurationError)) as raised:
        verify(body, headers, SECRET)
    stack = traceback.TracebackException.from_exception(raised.value, capture_locals=True).stack
    our_frames = [frame for frame in stack if "/rivya_async/" in frame.filename]
    assert our_frames
    assert "c0ffee" not in repr([frame.locals for frame in our_frames])


async def test_verifies_deliveries_of_the_sandbox() -> None:
    async with (
        plain_server() as server,
        Sandbox(speed=FAST, allow_local_webhooks=True) as sandbox,
        open_session(sandbox) as session,
    ):
        endpoint = await session.webhooks.create("Mine", f"{server.url}/hook", ["generation.succeeded"])
        job = await session.generate("z-image", "A red kite")
        await wait_until(lambda: len(server.requests) == 1)
        (delivery,) = server.requests
        assert verify(delivery.body, delivery.headers, endpoint.signing_secret or "").generation == job
        with pytest.raises(SignatureMismatchError):
            verify(delivery.body + b" ", delivery.headers, endpoint.signing_secret or "")
