"""The two connections to a service: HTTP (the real service, a sandbox) and a `FakeTransport` in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, Final

import aiohttp
import attrs

from rivya_async import RivyaError, RivyaSession
from rivya_async.testing import FakeRequest, FakeTransport
from rivya_async.testing.fake_transport import API_KEY

from .service import Inconclusive, Request, Response, Service, ServiceFactory, Upload

REQUEST_TIMEOUT: Final = 60.0
"""Seconds for one HTTP request."""

POLL_INTERVAL: Final = 3.0
"""Default seconds between two polls over HTTP."""


def http_service_factory(base_url: str, api_key: str, *, poll_interval: float = POLL_INTERVAL) -> ServiceFactory:
    """Returns a factory for the service at this address, such as "https://rivya.ai" or that of a `Sandbox`."""

    @asynccontextmanager
    async def open_service() -> AsyncIterator[Service]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(REQUEST_TIMEOUT)) as http:
            transport = _HttpTransport(base_url.rstrip("/").removesuffix("/api/v1"), api_key, http)
            async with aclosing(Service(transport, api_key, poll_interval)) as service:
                yield service

    return open_service


def in_memory_service_factory(fake: FakeTransport, *, poll_interval: float = 0.01) -> ServiceFactory:
    """Returns a factory for the service behind a `FakeTransport`.

    A fake receives no API keys: the checks of API keys raise `Inconclusive`. An exception of the fake's function
    raises AssertionError with that exception as its cause.
    """
    return lambda: aclosing(Service(_InMemoryTransport(fake), API_KEY, poll_interval))


@attrs.frozen
class _HttpTransport:
    base_url: str
    api_key: str = attrs.field(repr=False)
    http: aiohttp.ClientSession = attrs.field(repr=False)
    accepts_api_keys: bool = True

    async def send(self, request: Request) -> Response:
        data = request.body if request.upload is None else _multipart_form(request.upload)
        pending = self.http.request(
            request.method,
            f"{self.base_url}{request.path}",
            headers={**request.headers, **({"Authorization": f"Bearer {request.key}"} if request.key else {})},
            data=data,
            allow_redirects=False,
        )
        return await _read_response(f"{request.method} {request.path}", pending)

    async def fetch(self, url: str) -> Response:
        return await _read_response(f"GET {url}", self.http.get(url))

    def session(self, **options: Any) -> RivyaSession:
        return RivyaSession(self.api_key, base_url=self.base_url, **options)


async def _read_response(operation: str, pending: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> Response:
    try:
        async with pending as response:
            return Response(response.status, response.headers, await response.read())
    except (aiohttp.ClientError, TimeoutError) as error:
        failure = type(error).__name__
    raise Inconclusive(f"{operation}: {failure}")  # outside of `except`: aiohttp's exceptions hold the API key


def _multipart_form(upload: Upload) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("file", upload.data, filename=upload.name, content_type="application/octet-stream")
    for field, value in upload.fields.items():
        form.add_field(field, value)
    return form


@attrs.frozen
class _InMemoryTransport:
    fake: FakeTransport
    accepts_api_keys: bool = False

    async def send(self, request: Request) -> Response:
        body, fields = request.body or b"", {}
        if request.upload is not None:
            body, fields = request.upload.data, {**request.upload.fields, "file": request.upload.name}
        key = request.headers.get("Idempotency-Key")
        return await self._call(
            FakeRequest(request.method, request.path, body, key, fields=fields, headers=request.headers)
        )

    async def fetch(self, url: str) -> Response:
        return await self._call(FakeRequest("GET", url))

    def session(self, **options: Any) -> RivyaSession:
        return self.fake.session(**options)

    async def _call(self, request: FakeRequest) -> Response:
        try:
            response = await self.fake.handle(request)
        except RivyaError as error:
            raise Inconclusive(f"{request.method} {request.path}: {type(error).__name__}") from error
        except Exception as error:
            message = f"{request.method} {request.path}: expected a response; the function raised {error!r}"
            raise AssertionError(message) from error
        return Response(response.status, response.headers, response.body)
