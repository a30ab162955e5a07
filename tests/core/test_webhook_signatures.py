"""Signatures of webhooks: vectors of OpenSSL, and errors for malformed ones."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rivya_async._core.errors import (
    ConfigurationError,
    SignatureMismatchError,
    TimestampToleranceError,
    WebhookVerificationError,
)
from rivya_async._core.webhooks.signatures import (
    RIVYA,
    STANDARD_WEBHOOKS,
    ParsedSignature,
    RivyaScheme,
    Scheme,
    StandardWebhooks,
    Verifier,
    read_event,
)

NOW: Final = 1_700_000_000
BODY: Final = b'{"id":"evt_1"}'
SECRET: Final = "whsec_sandbox"
DIGEST: Final = "5c83ca56a76fc13716319e676dde1719da89def4594f7494e0b1de8abe94ed7d"
"""printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_sandbox"""

STANDARD_SECRET: Final = "whsec_plJ3nmyCDGBKInavdOK15jsl"
STANDARD_BODY: Final = b'{"event_type":"ping","data":{"success":true}}'
STANDARD_HEADERS: Final = {
    "webhook-id": "msg_loFOjxBNrRLzqYUf",
    "webhook-timestamp": "1731705121",
    "webhook-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
}
"""Digest of OpenSSL with the hex key a6527f9e6c8218304a2276af74e2b5e63b25, which is the secret."""

SCHEMES: Final = [RIVYA, STANDARD_WEBHOOKS]
SECRETS: Final = {RIVYA: SECRET, STANDARD_WEBHOOKS: STANDARD_SECRET}

schemes = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)


def signed(scheme: Scheme, body: bytes = BODY, *, secret: str | None = None, at: int = NOW) -> dict[str, str]:
    return scheme.sign(body, secret or SECRETS[scheme], message_id="msg_1", timestamp=at)  # type: ignore[index]


def verifier(scheme: Scheme, **options: Any) -> Verifier:
    return Verifier(SECRETS[scheme], scheme=scheme, **options)  # type: ignore[index]


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_rivya_signs_like_openssl() -> None:
    assert RIVYA.sign(BODY, SECRET, message_id="msg_1", timestamp=NOW) == {"Rivya-Signature": f"t={NOW},v1={DIGEST}"}


def test_rivya_verifies_openssl_signature() -> None:
    headers = {"rivya-SIGNATURE": f"v0=old, t={NOW}, v1={'0' * 64}, v1={DIGEST.upper()}, new"}
    assert Verifier(SECRET).verify(BODY, headers, now=NOW).id == "evt_1"


def test_standard_webhooks_signs_like_specification() -> None:
    headers = STANDARD_WEBHOOKS.sign(
        STANDARD_BODY, STANDARD_SECRET, message_id="msg_loFOjxBNrRLzqYUf", timestamp=1_731_705_121
    )
    assert headers == STANDARD_HEADERS


def test_standard_webhooks_accepts_one_of_several_signatures() -> None:
    several = f"v1a,c29tZQ== v1,{base64.b64encode(bytes(32)).decode()} {STANDARD_HEADERS['webhook-signature']}"
    headers = {**STANDARD_HEADERS, "webhook-signature": several}
    with pytest.raises(
        WebhookVerificationError, match="body is not an event: it is missing"
    ):  # signed by another service
        Verifier(STANDARD_SECRET, scheme=STANDARD_WEBHOOKS).verify(STANDARD_BODY, headers, now=1_731_705_121.0)


def test_header_names_are_configurable() -> None:
    assert set(signed_by := RivyaScheme("X-Sig").sign(BODY, SECRET, message_id="", timestamp=NOW)) == {"X-Sig"}
    assert Verifier(SECRET, scheme=RivyaScheme("X-Sig")).verify(BODY, signed_by, now=NOW).id == "evt_1"
    assert set(StandardWebhooks("svix-").sign(BODY, STANDARD_SECRET, message_id="m", timestamp=NOW)) == {
        "svix-id",
        "svix-timestamp",
        "svix-signature",
    }


class Plain:
    """Custom scheme."""

    def parse(self, headers: Mapping[str, str]) -> ParsedSignature:
        return ParsedSignature(NOW, b"", (headers["x-plain"].encode(),))

    def key(self, secret: str) -> bytes:
        return secret.encode()

    def digest(self, key: bytes, signed: bytes) -> bytes:
        return key[::-1] + signed[:1]

    def sign(self, body: bytes, secret: str, *, message_id: str, timestamp: int) -> dict[str, str]:
        return {"X-Plain": self.digest(self.key(secret), body).decode()}


def test_accepts_custom_scheme() -> None:
    scheme = Plain()
    headers = scheme.sign(BODY, "abc", message_id="", timestamp=NOW)
    assert Verifier("abc", scheme=scheme).verify(BODY, headers, now=NOW).id == "evt_1"
    with pytest.raises(SignatureMismatchError):
        Verifier("xyz", scheme=scheme).verify(BODY, headers, now=NOW)


# --- rejected deliveries ----------------------------------------------------------------------------------------------


@schemes
@given(place=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_rejects_changed_body(scheme: Scheme, place: int, bit: int) -> None:
    changed = bytearray(BODY)
    changed[place] ^= 1 << bit
    with pytest.raises(SignatureMismatchError):
        verifier(scheme).verify(bytes(changed), signed(scheme), now=NOW)


@schemes
@pytest.mark.parametrize("age", [0, 300, -300, 299.5])
def test_accepts_time_within_tolerance(scheme: Scheme, age: float) -> None:
    assert verifier(scheme).verify(BODY, signed(scheme), now=NOW + age).id == "evt_1"


@schemes
@pytest.mark.parametrize("now", [NOW + 300.5, NOW - 301, 0.0, float("nan"), float("inf")])
def test_rejects_time_outside_tolerance(scheme: Scheme, now: float) -> None:
    with pytest.raises(TimestampToleranceError, match="tolerance is 300 s"):
        verifier(scheme).verify(BODY, signed(scheme), now=now)


@schemes
def test_checks_signature_before_tolerance(scheme: Scheme) -> None:
    with pytest.raises(SignatureMismatchError):
        verifier(scheme).verify(b"{}", signed(scheme), now=0.0)


@schemes
def test_rejects_changed_time(scheme: Scheme) -> None:
    headers = {name: value.replace(str(NOW), str(NOW + 1)) for name, value in signed(scheme).items()}
    with pytest.raises(SignatureMismatchError):
        verifier(scheme).verify(BODY, headers, now=NOW)


def test_rejects_changed_message_id() -> None:
    with pytest.raises(SignatureMismatchError):
        verifier(STANDARD_WEBHOOKS).verify(BODY, signed(STANDARD_WEBHOOKS) | {"webhook-id": "msg_2"}, now=NOW)


@schemes
def test_accepts_either_secret_during_rotation(scheme: Scheme) -> None:
    old, new = "whsec_b2xkLW9sZC1vbGQ=", "whsec_bmV3LW5ldy1uZXc="
    both = Verifier([old, new], scheme=scheme)
    for secret in (old, new):
        assert both.verify(BODY, signed(scheme, secret=secret), now=NOW).id == "evt_1"
    with pytest.raises(SignatureMismatchError):
        Verifier(new, scheme=scheme).verify(BODY, signed(scheme, secret=old), now=NOW)


@pytest.mark.parametrize(
    "value",
    [
        "",
        ",",
        "v1=" + DIGEST,
        f"t=,v1={DIGEST}",
        f"t=1e9,v1={DIGEST}",
        f"t=-1,v1={DIGEST}",
        f"t=١٢٣,v1={DIGEST}",
        f"t={'9' * 5000},v1={DIGEST}",
        f"t={NOW},t={NOW},v1={DIGEST}",
        f"t={NOW}\n,v1={DIGEST}\x00",
        f"t={NOW}",
        f"t={NOW},v1=",
        f"t={NOW},v1={DIGEST[:-1]}",
        f"t={NOW},v1={DIGEST}00",
        f"t={NOW},v1={DIGEST[:-1]}g",
        f"t={NOW},v1=\udcff{DIGEST}",
        f"t={NOW},v0={DIGEST}",
    ],
)
def test_rejects_malformed_signature(value: str) -> None:
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(BODY, {"Rivya-Signature": value}, now=NOW)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", ""),
        ("webhook-id", "a b"),
        ("webhook-id", "\udcff"),
        ("webhook-timestamp", "soon"),
        ("webhook-timestamp", "9" * 5000),
        ("webhook-signature", "v1"),
        ("webhook-signature", "v1,===="),
        ("webhook-signature", "v1,\udcff"),
        ("webhook-signature", "v2,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="),
    ],
)
def test_rejects_malformed_standard_webhooks_header(name: str, value: str) -> None:
    with pytest.raises(WebhookVerificationError):
        verifier(STANDARD_WEBHOOKS).verify(STANDARD_BODY, STANDARD_HEADERS | {name: value}, now=1_731_705_121)


@schemes
def test_rejects_missing_and_duplicate_headers(scheme: Scheme) -> None:
    headers = signed(scheme)
    with pytest.raises(WebhookVerificationError, match="has no"):
        verifier(scheme).verify(BODY, {}, now=NOW)
    for name, value in headers.items():
        with pytest.raises(WebhookVerificationError, match="or more than one"):
            verifier(scheme).verify(
                BODY, {**headers, name.upper(): value, name.title() + "": value, name: value}, now=NOW
            )


texts = st.text() | st.text(alphabet=st.characters()) | st.from_regex(r"t=[0-9]*,v1=[0-9a-f]*")


@schemes
@given(
    body=st.binary(),
    names=st.lists(
        st.sampled_from(["Rivya-Signature", "webhook-id", "webhook-timestamp", "webhook-signature"]) | st.text()
    ),
    value=texts,
)
@example(body=b"", names=["Rivya-Signature"], value="t=1,v1=\ud800")
def test_any_headers_raise_webhook_errors_only(scheme: Scheme, body: bytes, names: list[str], value: str) -> None:
    with pytest.raises(WebhookVerificationError):
        verifier(scheme).verify(body, dict.fromkeys(names, value), now=NOW)


# --- the event --------------------------------------------------------------------------------------------------------


@schemes
@given(
    body=st.binary()
    | st.text().map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "type", "data", "created_at"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
@example(body=b"[" * 100_000)
@example(body=b'{"id": ' + b"9" * 10_000 + b"}")
@example(body=b'{"id": "evt_1", "created_at": "9999-12-31T23:59:59-23:59"}')
def test_signed_body_is_event_or_webhook_error(scheme: Scheme, body: bytes) -> None:
    try:
        event = verifier(scheme).verify(body, signed(scheme, body), now=NOW)
    except WebhookVerificationError:
        return
    assert event.id.strip()
    assert event.generation is None or isinstance(event.generation.id, str)


def test_accepts_unknown_event_type() -> None:
    event = read_event(b'{"id": "evt_1", "type": "chat.answered", "data": {"text": "Hello"}, "mood": "calm"}')
    assert (event.type, event.generation, event.extra) == ("chat.answered", None, {"mood": "calm"})


@pytest.mark.parametrize("event_id", ["", " ", "\\u2003\\n"])
def test_rejects_event_without_id(event_id: str) -> None:
    with pytest.raises(WebhookVerificationError, match="has no id"):
        read_event(f'{{"id": "{event_id}"}}'.encode())


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["", " ", "\n", [], [""], ["whsec_1", " "], None, 5, b"whsec_1", [None], {"a": 1}])
def test_rejects_missing_secret(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="missing or blank"):
        Verifier(secret)


@pytest.mark.parametrize("secret", ["whsec_1\n", " whsec_1", "whsec_é", "whsec_\ud800", "whsec_\x00"])
def test_rejects_malformed_secret_without_showing_it(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="copy it again") as raised:
        Verifier(secret)
    assert "whsec" not in str(raised.value)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!!", "whsec_abc"])
def test_standard_webhooks_secret_is_base64(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="base64"):
        Verifier(secret, scheme=STANDARD_WEBHOOKS)


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf"), "300", None, True])
def test_rejects_invalid_tolerance(tolerance: Any) -> None:
    with pytest.raises(ConfigurationError, match="tolerance"):
        Verifier(SECRET, tolerance=tolerance)


def test_rejects_parsed_body() -> None:
    with pytest.raises(ConfigurationError, match="raw bytes"):
        Verifier(SECRET).verify({"id": "evt_1"}, signed(RIVYA), now=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "headers",
    [
        None,
        list(signed(RIVYA).items()),
        {name.encode(): value.encode() for name, value in signed(RIVYA).items()},
        dict.fromkeys(signed(RIVYA), b"t=1"),
    ],
    ids=repr,
)
def test_rejects_headers_that_are_not_text(headers: Any) -> None:
    with pytest.raises(ConfigurationError, match="headers must be"):
        Verifier(SECRET).verify(BODY, headers, now=NOW)


def test_verifier_shows_no_secret_and_is_not_pickled() -> None:
    one = Verifier(SECRET)
    assert SECRET not in repr(one)
    with pytest.raises(TypeError, match="signing secrets"):
        pickle.dumps(one)
