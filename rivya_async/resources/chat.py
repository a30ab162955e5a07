"""The resource `chat`: completions, whole or streamed, and the chat sessions of the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core.chat import operations
from .._core.chat.request import ChatRequest, attachment_ids
from .._core.idempotency import attach_idempotency_key
from .._core.spend import Reservation
from .._core.types.purchase_cost import Charge
from .._core.types.record import RecordList
from .._engine.streaming.chat_stream import ChatStream
from . import resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .._core.types.chat import ChatCompletion, ChatSession
    from .._core.types.generations import File
    from .._engine.engine import Engine
    from .._engine.purchase_preflight import PurchasePreflight


class ChatCompletions:
    """Messages to chat models and their answers."""

    def __init__(self, engine: Callable[[], Engine], preflight: PurchasePreflight) -> None:
        self._engine = engine
        self._preflight = preflight

    async def create(
        self,
        model: str,
        message: str,
        *,
        session_id: str | None = None,
        attachments: Sequence[str | File] = (),
        enable_web_search: bool | None = None,
        reasoning_effort: str | None = None,
        include_thoughts: bool | None = None,
        client_request_id: str | None = None,
        idempotency_key: str | None = None,
        extra: Mapping[str, Any] | None = None,
        check: bool = False,
    ) -> ChatCompletion:
        """Sends a message to a model and returns the whole answer.

        This is a purchase: the service reserves credits first and charges by use. Every attempt sends the same
        `Idempotency-Key`: the argument, or one created for this call. Every error has it. `session_id` continues a chat
        session of the same model. `attachments` are uploaded pictures, as `File` values or ids. Options are sent only
        if they are set. `extra` is merged into the request unchanged (`include_thoughts` is an assumption). With
        `check`, the message is first validated against the catalogue, which the session reads every five minutes at
        most: `InvalidRequestError` names every option that the model does not have, and nothing is sent.

        An attempt may take `Timeouts.chat` seconds. Raises as `submit` does, and `ChatSessionConflictError` for a
        chat session of another model or account. Cancelling drops the request, which the service may have processed:
        the `CancelledError` has a note with the key.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         first = await session.chat.completions.create("gpt-5-2-chat", "Name a colour.")
        ...         more = await session.chat.completions.create("gpt-5-2-chat", "Why?", session_id=first.session_id)
        ...         return more.session_id == first.session_id, more.message.role
        >>> asyncio.run(main())
        (True, 'assistant')
        """
        request = _build_request(
            idempotency_key,
            attachments,
            extra,
            model=model,
            message=message,
            session_id=session_id,
            enable_web_search=enable_web_search,
            reasoning_effort=reasoning_effort,
            include_thoughts=include_thoughts,
            client_request_id=client_request_id,
        )
        key = self._preflight.idempotency_key(idempotency_key)
        with attach_idempotency_key(key):
            operation = operations.complete_chat(request, key)
            path, executor = operation.request.path, self._engine().executor
            if check:
                await self._preflight.validate_chat(request)
            await self._preflight.reserve(request, key, path)
            with Reservation(self._preflight.ledger, key, path) as reservation:
                completion = await executor.execute(operation)
                reservation.confirm(Charge.from_completion(completion, path))
            return completion

    def stream(
        self,
        model: str,
        message: str,
        *,
        session_id: str | None = None,
        attachments: Sequence[str | File] = (),
        enable_web_search: bool | None = None,
        reasoning_effort: str | None = None,
        include_thoughts: bool | None = None,
        client_request_id: str | None = None,
        idempotency_key: str | None = None,
        extra: Mapping[str, Any] | None = None,
        check: bool = False,
    ) -> ChatStream:
        """Sends a message to a model and streams the answer. The arguments and the key are those of `create`.

        Entering the block sends the message; iteration yields the pieces of the text. `text` is the text so far,
        `completion` the final record. `events()` yields every event, unknown ones included.

        The message is retried, under its key, until an answer begins, and never after that. From then on, silence for
        `Timeouts.read` seconds (comments of the service reset it), a lost connection, an early end or an error of the
        service raises `StreamInterruptedError`, which keeps the text. It is not documented if a second stream under the
        same key replays the answer or buys another: read `chat.sessions` first. There is no total timeout. Leaving the
        block or cancelling closes the connection at once; the turn stays purchased.

        A session has at most `max_connections` open streams, apart from its other requests. Further streams wait.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         async with session.chat.completions.stream("gpt-5-2-chat", "Name a colour.") as stream:
        ...             text = "".join([delta async for delta in stream])
        ...         return text == stream.completion.text
        >>> asyncio.run(main())
        True
        """
        request = _build_request(
            idempotency_key,
            attachments,
            extra,
            model=model,
            message=message,
            session_id=session_id,
            enable_web_search=enable_web_search,
            reasoning_effort=reasoning_effort,
            include_thoughts=include_thoughts,
            client_request_id=client_request_id,
        )
        return ChatStream(self._engine, self._preflight, request, idempotency_key, check=check)


def _build_request(
    idempotency_key: str | None, attachments: Sequence[str | File], extra: Mapping[str, Any] | None, **fields: Any
) -> ChatRequest:
    with attach_idempotency_key(idempotency_key):
        return ChatRequest(attachments=attachment_ids(attachments), extra={} if extra is None else extra, **fields)


class ChatSessions:
    """Chat sessions that were started through the API."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def list(self, limit: int | None = None) -> list[ChatSession]:
        """Returns chat sessions, newest first: at most `limit`, or the service's default. Safe to cancel.

        Raises what any read can raise. The order, `limit` and the shape are assumptions.
        """
        return RecordList((await self._engine().executor.execute(operations.list_chat_sessions(limit))).data)

    async def retrieve(self, chat_session_id: str) -> ChatSession:
        """Returns a chat session with its messages. Safe to cancel.

        Raises `NotFoundError`, and what any read can raise.
        """
        return await self._engine().executor.execute(operations.retrieve_chat_session(chat_session_id))


class Chat:
    """The chat API."""

    completions: ChatCompletions = resource(ChatCompletions)
    """Messages to chat models and their answers."""
    sessions: ChatSessions = resource(ChatSessions)
    """The chat sessions of the account."""

    def __init__(self, engine: Callable[[], Engine], preflight: PurchasePreflight) -> None:
        self.completions = ChatCompletions(engine, preflight)
        self.sessions = ChatSessions(engine)
