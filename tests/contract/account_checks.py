"""API keys, the error envelope and the credit balance."""

from __future__ import annotations

from typing import Final

from .checks import INTEGER, NUMBER, OBJECT, STRING, CheckGroup, expect, expect_error, expect_fields
from .service import Inconclusive, Response, Service

api_key_checks = CheckGroup("api_keys")
error_checks = CheckGroup("errors")
credit_checks = CheckGroup("credits")

UNKNOWN_API_KEY: Final = "rvya_sk_00000000000000000000000000000000"


async def fetch_balance(service: Service) -> float:
    """Fetches the available credits."""
    response = await service.request("GET", "/credits")
    expect_fields(response.json, {"current_credits": NUMBER})
    return float(response.json["current_credits"])


async def _request_with_key(service: Service, key: str) -> Response:
    if not service.transport.accepts_api_keys:
        raise Inconclusive("the service receives no API keys")
    return await service.request("GET", "/credits", key=key)


async def _request_missing_generation(service: Service) -> Response:
    return await service.request("GET", "/generations/task_contractnone")


@api_key_checks.documented("3")
async def missing_api_key(service: Service) -> None:
    """A request without a key returns 401 api_key_missing."""
    expect_error(await _request_with_key(service, ""), 401, "api_key_missing")


@api_key_checks.documented("3")
async def unknown_api_key(service: Service) -> None:
    """A request with an unknown key returns 401 api_key_invalid."""
    expect_error(await _request_with_key(service, UNKNOWN_API_KEY), 401, "api_key_invalid")


@error_checks.documented("3")
async def error_envelope(service: Service) -> None:
    """An error is {"error": {"code", "message", "requestId"}}, as JSON."""
    response = await _request_missing_generation(service)
    expect_fields(response.json, {"error": OBJECT})
    expect_fields(response.json["error"], {"code": STRING, "message": STRING, "requestId": STRING})
    content_type = response.headers.get("Content-Type", "")
    expect(content_type.startswith("application/json"), "the content type application/json", content_type)


@error_checks.assumed("3")
async def error_envelope_has_no_other_fields(service: Service) -> None:
    """The error object has no other fields."""
    response = await _request_missing_generation(service)
    expect_fields(response.json, {"error": OBJECT})
    actual = set(response.json["error"])
    expect(actual == {"code", "message", "requestId"}, "three fields", sorted(actual))


@error_checks.inferred("1")
async def request_id_prefix(service: Service) -> None:
    """A request id begins with req_."""
    response = await _request_missing_generation(service)
    expect_fields(response.json, {"error": OBJECT})
    actual = str(response.json["error"].get("requestId"))
    expect(actual.startswith("req_"), "req_...", actual)


@error_checks.assumed("14.27")
async def unknown_path(service: Service) -> None:
    """An unknown path returns 404 not_found in the envelope."""
    expect_error(await service.request("GET", "/no-such-path"), 404, "not_found")


@error_checks.assumed("14.27")
async def wrong_method(service: Service) -> None:
    """A wrong method returns 405 method_not_allowed in the envelope."""
    expect_error(await service.request("PUT", "/credits"), 405, "method_not_allowed")


@error_checks.assumed("3")
async def invalid_json_body(service: Service) -> None:
    """A body that is not JSON returns 400 validation_failed."""
    response = await service.request("POST", "/generations", body=b"{", headers={"Content-Type": "application/json"})
    expect_error(response, 400, "validation_failed")


@credit_checks.documented("9")
async def balance_fields(service: Service) -> None:
    """The balance is {"current_credits": number}."""
    await fetch_balance(service)


@credit_checks.inferred("9")
async def integer_balance(service: Service) -> None:
    """Credits are integers."""
    expect_fields((await service.request("GET", "/credits")).json, {"current_credits": INTEGER})
