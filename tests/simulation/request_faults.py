"""Faults of one request: the answers of a network, a gateway or a replica in place of the service."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

import attrs
from multidict import CIMultiDict

from rivya_async._core.errors import OutcomeUnknownError, RequestNotSentError
from rivya_async._core.http.messages import Response
from rivya_async.sandbox.responses import ApiResponse, error_body
from rivya_async.sandbox.service_state import Task

if TYPE_CHECKING:
    from .network import Exchange, Network

PAGE: Final = b"<html><head><title>Gateway</title></head><body>Something else has answered.</body></html>"
PAGE_STATUSES: Final = (401, 403, 404, 407, 421, 499)
REFUSAL_STATUSES: Final = (400, 413, 415, 422)
SERVER_STATUSES: Final = (500, 502, 503, 504)
RETRY_AFTERS: Final = ("0", "1", "2", "5", "20", "60", "300")
MAX_REPLICA_LAG: Final = 8.0
"""Seconds by which a replica of the service may be behind, less than `NOT_FOUND_GRACE`."""

ODD_BODIES: Final = (
    *(b"null", b"[]", b"{}", b"", b'"ok"', b"7", PAGE, b'{"status": "queued"}', b'{"id": 5, "status": "queued"}'),
    *(b'{"data": {"id": "task_1"}}', b'{"id": "", "status": "queued"}', b'{"id": "task_other", "status": "succeeded"'),
)


def to_response(response: ApiResponse) -> Response:
    headers = CIMultiDict({"Content-Type": response.content_type, **response.headers})
    return Response(response.status, headers, response.body)


def page(status: int, **headers: str) -> Response:
    """Returns the page of a gateway."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, CIMultiDict({"Content-Type": "text/html", **named}), PAGE)


def envelope(status: int, code: str, headers: Mapping[str, str] | None = None) -> Response:
    """Returns an error of the API."""
    body = error_body(code, "Rejected.", "req_fault")
    return Response(status, CIMultiDict({"Content-Type": "application/json", **(headers or {})}), body)


def _choose(options: Any, value: float) -> Any:
    return options[int(value * len(options))]


def _error(kind: type[Exception]) -> Callable[[Network, Exchange, float], bool]:
    def apply(network: Network, exchange: Exchange, value: float) -> bool:
        exchange.fail(kind("the network has failed"), value * network.latency())
        return True

    return apply


def _answer(response: Callable[[float], Response]) -> Callable[[Network, Exchange, float], bool]:
    """The response of a gateway that passes nothing on."""

    def apply(network: Network, exchange: Exchange, value: float) -> bool:
        exchange.succeed(response(value), network.latency())
        return True

    return apply


def _change(
    change: Callable[[Response, float], Response | Exception | None],
) -> Callable[[Network, Exchange, float], bool]:
    """A change of the response after the service has acted."""

    def apply(network: Network, exchange: Exchange, value: float) -> bool:
        network._pass_on(exchange, network.latency(), change=lambda response: change(response, value))
        return True

    return apply


def _silence(network: Network, exchange: Exchange, value: float) -> bool:
    return True  # until the timeout


def _slow(network: Network, exchange: Exchange, value: float) -> bool:
    network._pass_on(exchange, 2 * value * exchange.transport.timeout)  # it may arrive after the timeout
    return True


def _slow_response(network: Network, exchange: Exchange, value: float) -> bool:
    network._pass_on(exchange, network.latency(), held=1.5 * value * exchange.transport.timeout)
    return True


def _duplicated(network: Network, exchange: Exchange, value: float) -> bool:
    """A copy of the request arrives later. A copy of a rejected request would buy after the rejection."""
    copy = network.copy(exchange)

    def change(response: Response) -> Response:
        if response.is_success:
            network._pass_on(copy, value * 30.0, change=lambda _: None)
        return response

    network._pass_on(exchange, network.latency(), change=change)
    return True


def _retry_after(value: float) -> Response:
    return envelope(429, "rate_limited", {"Retry-After": _choose(RETRY_AFTERS, value)})


def _retry_after_date(network: Network, exchange: Exchange, value: float) -> bool:
    if value < 0.7:
        return _answer(lambda rest: _retry_after(rest / 0.7))(network, exchange, value)
    now = network.service.now()
    headers = {"Date": formatdate(now, usegmt=True), "Retry-After": formatdate(now + 100 * (value - 0.7), usegmt=True)}
    exchange.succeed(envelope(429, "rate_limited", headers), network.latency())
    return True


def _server_error(value: float) -> Response:
    status = _choose(SERVER_STATUSES, value)
    return page(status) if value * 100 % 1 < 0.5 else envelope(status, "internal_error")


def _odd_body(response: Response, value: float) -> Response:
    return attrs.evolve(response, status=200, body=_choose(ODD_BODIES, value))


def _truncated(response: Response, value: float) -> Response:
    return attrs.evolve(response, body=response.body[: int(value * len(response.body))])


def _unknown_members(response: Response, value: float) -> Response:
    record = json.loads(response.body)
    odd: Mapping[str, Any] = _choose(
        [{"created_at": 7}, {"updated_at": "soon"}, {"error": "none"}, {"new": {"a": [1]}}, {"result": "later"}], value
    )
    if "result" in odd and record.get("status") == "succeeded":
        odd = {"priority": None}
    return attrs.evolve(response, body=json.dumps({**record, **odd}).encode())


def _task_of(network: Network, exchange: Exchange) -> Task | None:
    request = exchange.request
    return network.service.state.tasks.get(request.path.rpartition("/")[2]) if request.method == "GET" else None


def _stale_read(network: Network, exchange: Exchange, value: float) -> bool:
    task = _task_of(network, exchange)
    if task is None:
        return False
    at = max(task.created_at, network.service.now() - value * MAX_REPLICA_LAG)
    body = network.service.read(task, at)
    exchange.succeed(Response(200, CIMultiDict({"Content-Type": "application/json"}), body), network.latency())
    return True


def _not_found_yet(network: Network, exchange: Exchange, value: float) -> bool:
    task = _task_of(network, exchange)
    if task is None or network.service.now() - task.created_at > MAX_REPLICA_LAG - network._latency * 4:
        return False
    exchange.succeed(envelope(404, "not_found"), network.latency())
    return True


FAULT_FUNCTIONS: Final[Mapping[str, Callable[[Network, Exchange, float], bool]]] = {
    "not sent": _error(RequestNotSentError),
    "dropped before": _error(OutcomeUnknownError),
    "dropped after": _change(lambda _, __: OutcomeUnknownError("the connection was lost")),
    "silent before": _silence,
    "silent after": _change(lambda _, __: None),
    "slow": _slow,
    "slow response": _slow_response,
    "duplicated": _duplicated,
    "429": _answer(lambda _: envelope(429, "rate_limited")),
    "429 with Retry-After": _retry_after_date,
    "429 page": _answer(lambda _: page(429)),
    "4xx page": _answer(lambda value: page(_choose(PAGE_STATUSES, value))),
    "4xx page after": _change(lambda _, value: page(_choose(PAGE_STATUSES, value))),
    "refused by a page": _answer(lambda value: page(_choose(REFUSAL_STATUSES, value))),
    "5xx": _answer(_server_error),
    "5xx after": _change(lambda _, value: _server_error(value)),
    "503 disabled": _answer(lambda _: envelope(503, "public_api_disabled")),
    "408 or 425": _answer(lambda value: page(408 if value < 0.5 else 425)),
    "redirect page": _answer(lambda _: page(302, Location="https://login.test/")),
    "odd 2xx": _change(_odd_body),
    "truncated": _change(_truncated),
    "unknown members": _change(
        lambda response, value: _unknown_members(response, value) if response.is_success else response
    ),
    "stale read": _stale_read,
    "not found yet": _not_found_yet,
}
