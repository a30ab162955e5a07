"""A streamed chat completion."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from ..._core.chat.accumulator import ChatStreamAccumulator
from ..._core.chat.operations import stream_chat
from ..._core.errors import ConfigurationError, RivyaError, StreamInterruptedError
from ..._core.http import sse
from ..._core.idempotency import attach_idempotency_key
from ..._core.public_module import set_public_module
from ..._core.types.purchase_cost import Charge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType

    from ..._core.chat.accumulator import ChatEvent
    from ..._core.chat.request import ChatRequest
    from ..._core.types.chat import ChatCompletion
    from ..engine import Engine
    from ..http.stream_client import OpenStream
    from ..purchase_preflight import PurchasePreflight


class ChatStream:
    """A streamed completion: iterate over it for the text, or over `events()` for every event.

    Entering the block sends the message under `idempotency_key`. Leaving it before the end closes the connection at
    once. See `session.chat.completions.stream`.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        preflight: PurchasePreflight,
        request: ChatRequest,
        key: str | None,
        *,
        check: bool,
    ) -> None:
        self._engine = engine
        self._preflight = preflight
        self._request = request
        self._key = key
        self._check = check
        self._reserved_path: str | None = None
        self._is_reading = False
        self._open_stream: OpenStream | None = None
        self._exit_stack = AsyncExitStack()
        self._decoder = sse.Decoder()
        self._accumulator = ChatStreamAccumulator()

    @property
    def idempotency_key(self) -> str | None:
        """The idempotency key of this purchase: the caller's, or one that is generated when the block is entered."""
        return self._key

    @property
    def text(self) -> str:
        """The text that was read so far."""
        return self._accumulator.text

    @property
    def session_id(self) -> str | None:
        """The id of the chat session; None until the service has sent it."""
        return self._accumulator.session_id

    @property
    def completion(self) -> ChatCompletion:
        """The completion. Raises `ConfigurationError` before the stream has been read to its end."""
        if self._accumulator.completion is None:
            raise ConfigurationError("the completion is not finished: read the stream to its end; `text` has a part")
        return self._accumulator.completion

    async def __aenter__(self) -> Self:
        with attach_idempotency_key(self._key):
            if self._open_stream is not None:
                raise ConfigurationError("a stream can be entered once: call stream() again")
            engine = self._engine()
        self._key = key = self._preflight.idempotency_key(self._key)
        self._accumulator.mask = engine.executor.mask_api_key
        with attach_idempotency_key(key):
            request = stream_chat(self._request, key)
            if self._check:
                await self._preflight.validate_chat(self._request)
            await self._preflight.reserve(self._request, key, request.path)
            try:
                self._open_stream = await self._exit_stack.enter_async_context(engine.stream_client.open(request))
            except BaseException as error:
                self._preflight.ledger.release(key, error, request.path)
                raise
            self._reserved_path = request.path
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            async with self._exit_stack:
                if error is None and self._open_stream is not None and self._accumulator.completion is not None:
                    await self._open_stream.drain()
        finally:
            self._settle_cost()
        if error is not None and not isinstance(error, Exception) and self._accumulator.completion is None:
            error.add_note(
                f"{type(error).__name__} in a chat stream: it was purchased under idempotency_key={self._key!r}, and "
                f"{len(self.text)} characters of text were received"
            )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """Returns the next part of the text."""
        while (event := await self._next_event()) is not None:
            if event.delta:
                return event.delta
        raise StopAsyncIteration

    def events(self) -> AsyncIterator[ChatEvent]:
        """Iterates over all events, including unknown types. Raises as the iteration over the text does."""
        return _EventIterator(self._next_event)

    async def _next_event(self) -> ChatEvent | None:
        """Returns the next event; None at the end of a complete response."""
        if self._open_stream is None:
            raise ConfigurationError("enter the stream first: async with session.chat.completions.stream(...)")
        if self._is_reading:
            raise ConfigurationError("another task is reading this stream: read it in one task")
        self._is_reading = True
        try:
            while self._accumulator.completion is None:
                event = self._decoder.next_event()
                if isinstance(event, sse.Event):
                    return self._accept(event)
                chunk = await self._open_stream.response.read()
                if not chunk:
                    raise self._accumulator.interruption("it ended early")
                self._decoder.feed(chunk)
        except StreamInterruptedError as error:
            raise self._add_context(error) from None
        except RivyaError as error:
            raise self._add_context(self._accumulator.interruption(error.message)) from error
        finally:
            self._is_reading = False
        return None

    def _accept(self, event: sse.Event) -> ChatEvent:
        chat_event = self._accumulator.feed(event)
        if self._accumulator.completion is not None:
            self._settle_cost()
        return chat_event

    def _settle_cost(self) -> None:
        """Records the cost once. An incomplete stream was purchased too, at an unknown cost."""
        key, path, completion = self._key, self._reserved_path, self._accumulator.completion
        if key is None or path is None:
            return
        self._reserved_path = None
        if completion is None:
            self._preflight.ledger.release(key, self._accumulator.interruption("it was left"), path)
        else:
            self._preflight.ledger.confirm(key, Charge.from_completion(completion, path))

    def _add_context(self, error: StreamInterruptedError) -> StreamInterruptedError:
        error.idempotency_key = self._key
        error.attempts = 0 if self._open_stream is None else self._open_stream.attempts
        return error


class _EventIterator:
    """An iterator over events. A generator would need to be closed when the iteration ends early."""

    def __init__(self, next_event: Callable[[], Awaitable[ChatEvent | None]]) -> None:
        self._next_event = next_event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatEvent:
        event = await self._next_event()
        if event is None:
            raise StopAsyncIteration
        return event


set_public_module("rivya_async", ChatStream)
