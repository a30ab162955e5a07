"""The noun `chat`: asking a model, whole or piece by piece, and the conversations of this account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core.chat import operations
from .._core.chat.request import ChatRequest, attachment_ids
from .._core.idempotency import attach_idempotency_key
from .._core.spend import Reservation
from .._core.types.purchase_cost import Charge
from .._engine.streaming.chat_stream import ChatStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .._core.types.chat import ChatCompletion, ChatSession
    from .._core.types.generations import File
    from .._engine.engine import Engine
    from .._engine.purchase_preflight import PurchasePreflight


class Chat:
    """Asking chat models."""

    def __init__(self, engine: Callable[[], Engine], preflight: PurchasePreflight) -> None:
        self.completions = ChatCompletions(engine, preflight)
        self.sessions = ChatSessions(engine)


class ChatCompletions:
    """One message to a model, and its answer."""

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
        """Ask a model, and wait for its whole answer (contract section 10).

        A purchase: credits are held first and settled by use, and an `Idempotency-Key` is always sent: yours, or one
        minted for this call and kept over every attempt. Every error carries it. `session_id` goes on with a
        conversation of the same model. `attachments` are uploaded pictures: `File` values or their ids. Options are
        sent only if they are set; `extra` is merged into the request as it is (`include_thoughts` is an assumption).
        With `check` the message is first held against the catalogue, which the session reads once in five minutes:
        `ValidationFailed` names every option that the model does not have, and nothing is sent.

        An attempt may take `Timeouts.chat` seconds. Raises as `submit` does, and `ChatSessionConflictError` for a
        session of another model or account. Cancelling it drops the request, which may have acted: the `CancelledError`
        has a note with the key.

        >>> async def ask(session):
        ...     first = await session.chat.completions.create("gpt-5-2-chat", "Name a colour.")
        ...     more = await session.chat.completions.create("gpt-5-2-chat", "Why?", session_id=first.session_id)
        ...     return more.session_id == first.session_id, more.message.role
        >>> in_sandbox(ask)
        (True, 'assistant')
        """
        with attach_idempotency_key(idempotency_key):
            request = ChatRequest(
                model=model,
                message=message,
                session_id=session_id,
                attachments=attachment_ids(attachments),
                enable_web_search=enable_web_search,
                reasoning_effort=reasoning_effort,
                include_thoughts=include_thoughts,
                client_request_id=client_request_id,
                extra={} if extra is None else extra,
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
        """Ask a model, and read its answer as it comes: the arguments and the key of `create`.

        Entering the block sends the message, iterating gives the pieces of the text. `text` has what came so far,
        `completion` the record at the end; `events()` gives every event, also those that are not known here.

        The message is repeated, under its key, until an answer begins, and never after that. From then on a silence of
        `Timeouts.read` seconds (a comment of the service is a sign of life), a broken connection, an early end or an
        error of the service raises `StreamInterruptedError`, which keeps the text. Whether a second stream under the
        same key replays the answer or buys another is not documented: look into `chat.sessions` first. There is no
        total time-out. Leaving the block or cancelling closes the connection at once; the turn is bought all the same.

        A session keeps at most `max_connections` streams open, apart from its other requests; others wait for a place.

        >>> async def ask(session):
        ...     async with session.chat.completions.stream("gpt-5-2-chat", "Name a colour.") as stream:
        ...         text = "".join([delta async for delta in stream])
        ...     return text == stream.completion.text
        >>> in_sandbox(ask)
        True
        """
        with attach_idempotency_key(idempotency_key):
            request = ChatRequest(
                model=model,
                message=message,
                session_id=session_id,
                attachments=attachment_ids(attachments),
                enable_web_search=enable_web_search,
                reasoning_effort=reasoning_effort,
                include_thoughts=include_thoughts,
                client_request_id=client_request_id,
                extra={} if extra is None else extra,
            )
        return ChatStream(self._engine, self._preflight, request, idempotency_key, check=check)


class ChatSessions:
    """The conversations that were begun through the API."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def list(self, limit: int | None = None) -> list[ChatSession]:
        """Conversations, the newest first; at most `limit`, or as many as the service gives. Safe to cancel.

        Raises what any read can raise. The order, `limit` and the shape are assumptions.
        """
        return [*(await self._engine().executor.execute(operations.list_chat_sessions(limit))).data]

    async def retrieve(self, chat_session_id: str) -> ChatSession:
        """One conversation with its messages. Raises `NotFoundError`, and what any read can raise. Safe to cancel."""
        return await self._engine().executor.execute(operations.retrieve_chat_session(chat_session_id))
