"""The envelope of a failure, unknown paths."""

from __future__ import annotations

from .check import TEXT, Checks, expect, expect_members
from .service import Reply, Service

checks = Checks()


def expect_refusal(reply: Reply, status: int, *codes: str) -> None:
    """AssertionError unless this is the envelope with this status and one of these codes."""
    came = f"{reply.status} {reply.raw[:200].decode(errors='replace')}"
    expect(reply.status == status and reply.code in codes, f"{status} {' or '.join(codes)}", came)


def expect_success(reply: Reply, what: str) -> None:
    """AssertionError unless this is what was asked for."""
    expect(200 <= reply.status < 300, what, f"{reply.status} {reply.code}")


async def refused(service: Service) -> Reply:
    """A failure: nobody has this job."""
    return await service.ask("GET", "/generations/task_contractnone")


@checks.documented("3")
async def the_envelope(service: Service) -> None:
    """A failure is {"error": {"code", "message", "requestId"}}, as JSON."""
    reply = await refused(service)
    expect_members(reply.json, {"error": (dict,)})
    expect_members(reply.json["error"], {"code": TEXT, "message": TEXT, "requestId": TEXT})
    kind = reply.headers.get("Content-Type", "")
    expect(kind.startswith("application/json"), "the content type application/json", kind)


@checks.assumed("3")
async def the_envelope_has_no_more(service: Service) -> None:
    """The error object has no other members."""
    reply = await refused(service)
    expect_members(reply.json, {"error": (dict,)})
    expect(set(reply.json["error"]) == {"code", "message", "requestId"}, "three members", sorted(reply.json["error"]))


@checks.inferred("1")
async def a_request_id(service: Service) -> None:
    """A request id begins with req_."""
    reply = await refused(service)
    expect_members(reply.json, {"error": (dict,)})
    came = str(reply.json["error"].get("requestId"))
    expect(came.startswith("req_"), "req_...", came)


@checks.assumed("14.27")
async def an_unknown_path(service: Service) -> None:
    """An unknown path is 404 not_found in the envelope."""
    expect_refusal(await service.ask("GET", "/no-such-path"), 404, "not_found")


@checks.assumed("14.27")
async def a_wrong_method(service: Service) -> None:
    """A wrong method is 405 method_not_allowed in the envelope."""
    expect_refusal(await service.ask("PUT", "/credits"), 405, "method_not_allowed")


@checks.assumed("3")
async def a_body_that_is_no_json(service: Service) -> None:
    """A body that is no JSON is 400 validation_failed."""
    reply = await service.ask("POST", "/generations", body=b"{", headers={"Content-Type": "application/json"})
    expect_refusal(reply, 400, "validation_failed")
