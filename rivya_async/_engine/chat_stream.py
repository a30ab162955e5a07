"""A chat answer as it comes, before the user's eyes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from .._core import sse
from .._core.carrying import Carrying
from .._core.chat_endpoints import stream_chat
from .._core.chat_reply import ChatReply
from .._core.cost import Receipt
from .._core.errors import ConfigurationError, RivyaError, StreamInterrupted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType

    from .._core.chat_records import ChatCompletion
    from .._core.chat_reply import ChatEvent
    from .._core.chat_request import ChatRequest
    from .counter import Counter
    from .engine import Engine
    from .streamer import Opened


class ChatStream:
    """The answer of a model, piece by piece: iterate over it for the text, or over `events()` for all that comes.

    Entering the block sends the message, under `idempotency_key`; leaving it closes the connection at once. See
    `session.chat.completions.stream`.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        counter: Counter,
        turn: ChatRequest,
        key: str | None,
        *,
        check: bool,
    ) -> None:
        self._engine = engine
        self._counter = counter
        self._turn = turn
        self._key = key
        self._check = check
        self._held_at: str | None = None
        self._is_being_read = False
        self._opened: Opened | None = None
        self._closing = AsyncExitStack()
        self._decoder = sse.Decoder()
        self._reply = ChatReply()

    @property
    def idempotency_key(self) -> str | None:
        """The key of this purchase: yours, or, once the block is entered, the one that was minted for it."""
        return self._key

    @property
    def text(self) -> str:
        """The answer as far as it has been read."""
        return self._reply.text

    @property
    def session_id(self) -> str | None:
        """The chat session, once the service has named it."""
        return self._reply.session_id

    @property
    def completion(self) -> ChatCompletion:
        """The whole answer. Raises `ConfigurationError` before the stream has been read to its end."""
        if self._reply.completion is None:
            raise ConfigurationError("the answer is not whole: read the stream to its end first; `text` has what came")
        return self._reply.completion

    async def __aenter__(self) -> Self:
        with Carrying(self._key):
            if self._opened is not None:
                raise ConfigurationError("a stream is entered once: call stream() again for another answer")
            engine = self._engine()
        self._key = key = engine.caller.ambient.mint_key() if self._key is None else self._key
        self._reply.shown = engine.streamer.without_key
        with Carrying(key):
            request = stream_chat(self._turn, key)
            if self._check:
                await self._counter.check_turn(self._turn)
            await self._counter.hold(self._turn, key, request.path)
            try:
                self._opened = await self._closing.enter_async_context(engine.streamer.open(request))
            except BaseException as error:
                self._counter.purse.came_to_nothing(key, error, request.path)
                raise
            self._held_at = request.path
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._closing.aclose()
        finally:
            self._settle()
        if isinstance(error, asyncio.CancelledError) and self._reply.completion is None:
            error.add_note(
                f"CancelledError in a chat stream: it is bought, under idempotency_key={self._key!r}, and "
                f"{len(self.text)} characters of the answer had come"
            )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """The next piece of the text."""
        while (event := await self._next()) is not None:
            if event.delta:
                return event.delta
        raise StopAsyncIteration

    def events(self) -> AsyncIterator[ChatEvent]:
        """Every event as it comes, also those that this library does not know. Raises as iterating does."""
        return _Events(self._next)

    async def _next(self) -> ChatEvent | None:
        """The next event; None at the end of a whole answer."""
        if self._opened is None:
            raise ConfigurationError("enter the stream first: async with session.chat.completions.stream(...)")
        if self._is_being_read:
            raise ConfigurationError("another task is reading this stream: let one read and hand on what comes")
        self._is_being_read = True
        try:
            while self._reply.completion is None:
                event = self._decoder.next()
                if isinstance(event, sse.Event):
                    return self._take(event)
                piece = await self._opened.fetched.read()
                if not piece:
                    raise self._reply.interrupted("it ended early")
                self._decoder.feed(piece)
        except StreamInterrupted as error:
            raise self._carrying(error) from None
        except RivyaError as error:
            raise self._carrying(self._reply.interrupted(error.message)) from error
        finally:
            self._is_being_read = False
        return None

    def _take(self, event: sse.Event) -> ChatEvent:
        taken = self._reply.take(event)
        if self._reply.completion is not None:
            self._settle()
        return taken

    def _settle(self) -> None:
        """Enter in the book what came of it, once: what broke off or was left is bought, and its cost not known."""
        key, path, answer = self._key, self._held_at, self._reply.completion
        if key is None or path is None:
            return
        self._held_at = None
        if answer is None:
            self._counter.purse.came_to_nothing(key, self._reply.interrupted("it was left"), path)
        else:
            self._counter.purse.bought(key, Receipt.of_turn(answer, path))

    def _carrying(self, error: StreamInterrupted) -> StreamInterrupted:
        error.idempotency_key = self._key
        error.attempts = 0 if self._opened is None else self._opened.attempts
        return error


class _Events:
    """No generator: one that is left early would wait for the loop to close it."""

    def __init__(self, next_event: Callable[[], Awaitable[ChatEvent | None]]) -> None:
        self._next_event = next_event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatEvent:
        event = await self._next_event()
        if event is None:
            raise StopAsyncIteration
        return event
