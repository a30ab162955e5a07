"""A transport whose requests other HTTP instrumentation ignores, so that no request is reported twice."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from .._core.http.messages import MultipartForm, Request, Response

SUPPRESSION_KEYS: Final = (
    "suppress_instrumentation",
    *(getattr(context, name, None) for name in ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY")),
)
"""Context keys that instrumentation checks: the older name, and the names of newer versions, which are not public."""


class SuppressingTransport:
    """The transport of a session, used in a context in which other HTTP instrumentation is suppressed."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def send(self, request: Request) -> Response:
        """See `rivya_async.Transport`."""
        with _suppressed():
            response: Response = await self._transport.send(request)
        return response

    async def upload(self, request: Request, form: MultipartForm, file: AsyncIterator[bytes]) -> Response:
        """See `rivya_async.Transport`."""
        with _suppressed():
            response: Response = await self._transport.upload(request, form, file)
        return response

    def stream(self, request: Request) -> AbstractAsyncContextManager[Any]:
        """See `rivya_async.Transport`."""
        return _open_suppressed(self._transport.stream(request))

    def fetch(self, url: str, headers: Mapping[str, str], **options: Any) -> AbstractAsyncContextManager[Any]:
        """See `rivya_async.Transport`."""
        return _open_suppressed(self._transport.fetch(url, headers, **options))


@contextmanager
def _suppressed() -> Iterator[None]:
    suppressing = context.get_current()
    for key in filter(None, SUPPRESSION_KEYS):
        suppressing = context.set_value(key, True, suppressing)  # noqa: FBT003 - the value of the key
    token = context.attach(suppressing)
    try:
        yield
    finally:
        context.detach(token)


@asynccontextmanager
async def _open_suppressed(opening: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        with _suppressed():
            response = await stack.enter_async_context(opening)
        yield response
