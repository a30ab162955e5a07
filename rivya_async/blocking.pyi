"""The types of `blocking`. `python -m tests.typing.blocking_stub` writes this file."""

from collections.abc import AsyncIterable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from rivya_async._core.catalogue.learned_prices import LearnedPrices
from rivya_async._core.catalogue.model import Model
from rivya_async._core.chat.accumulator import ChatEvent
from rivya_async._core.generation_request import FilePath
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.generation_request import Outcome
from rivya_async._core.generation_request import Reference
from rivya_async._core.limits.external_limiter import ExternalRateLimiter
from rivya_async._core.open_jobs import OpenJob
from rivya_async._core.policies import NOT_GIVEN
from rivya_async._core.policies import NotGiven
from rivya_async._core.policies import PollPolicy
from rivya_async._core.policies import RateLimit
from rivya_async._core.policies import RetryPolicy
from rivya_async._core.policies import Timeouts
from rivya_async._core.polling.adaptive.duration_estimator import DurationEstimator
from rivya_async._core.spend import SpendSummary
from rivya_async._core.types.chat import ChatCompletion
from rivya_async._core.types.chat import ChatSession
from rivya_async._core.types.generations import Credits
from rivya_async._core.types.generations import File
from rivya_async._core.types.generations import Generation
from rivya_async._core.webhooks.records import WebhookDelivery
from rivya_async._core.webhooks.records import WebhookEndpoint
from rivya_async._core.webhooks.records import WebhookEvent
from rivya_async._engine.hooks import Hooks
from rivya_async._engine.http.transport import Transport
from rivya_async._engine.polling.waiters import OnUpdate
from rivya_async._engine.transfers.upload_source import Uploadable
from rivya_async._engine.transfers.uploader import OnProgress
from rivya_async.catalogue import ModelId
from rivya_async.resources.job_arguments import OnJobProgress
from ssl import SSLContext
from typing import Any
from typing import Literal
from typing import Self
import aiohttp
import builtins
import os

class BlockingChatStream:
    """A streamed completion: iterate over it for the text, or over `events()` for every event."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: Any) -> None: ...
    def __iter__(self) -> Iterator[str]: ...
    @property
    def completion(self) -> ChatCompletion:
        """The completion. Raises `ConfigurationError` before the stream has been read to its end."""
    def events(self) -> Iterator[ChatEvent]:
        """Iterates over all events, including unknown types. Raises as the iteration over the text does."""
    @property
    def idempotency_key(self) -> str | None:
        """The idempotency key of this purchase: the caller's, or one that is generated when the block is entered."""
    @property
    def session_id(self) -> str | None:
        """The id of the chat session; None until the service has sent it."""
    @property
    def text(self) -> str:
        """The text that was read so far."""

class BlockingChatCompletions:
    """Messages to chat models and their answers."""
    def create(self, model: str, message: str, *, session_id: str | None = None, attachments: Sequence[str | File] = (), enable_web_search: bool | None = None, reasoning_effort: str | None = None, include_thoughts: bool | None = None, client_request_id: str | None = None, idempotency_key: str | None = None, extra: Mapping[str, Any] | None = None, check: bool = False) -> ChatCompletion:
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
        """
    def stream(self, model: str, message: str, *, session_id: str | None = None, attachments: Sequence[str | File] = (), enable_web_search: bool | None = None, reasoning_effort: str | None = None, include_thoughts: bool | None = None, client_request_id: str | None = None, idempotency_key: str | None = None, extra: Mapping[str, Any] | None = None, check: bool = False) -> BlockingChatStream:
        """Sends a message to a model and streams the answer. The arguments and the key are those of `create`.

        Entering the block sends the message; iteration yields the pieces of the text. `text` is the text so far,
        `completion` the final record. `events()` yields every event, unknown ones included.

        The message is retried, under its key, until an answer begins, and never after that. From then on, silence for
        `Timeouts.read` seconds (comments of the service reset it), a lost connection, an early end or an error of the
        service raises `StreamInterruptedError`, which keeps the text. It is not documented if a second stream under the
        same key replays the answer or buys another: read `chat.sessions` first. There is no total timeout. Leaving the
        block or cancelling closes the connection at once; the turn stays purchased.

        A session has at most `max_connections` open streams, apart from its other requests. Further streams wait.
        """

class BlockingChatSessions:
    """Chat sessions that were started through the API."""
    def list(self, limit: int | None = None) -> list[ChatSession]:
        """Returns chat sessions, newest first: at most `limit`, or the service's default. Safe to cancel.

        Raises what any read can raise. The order, `limit` and the shape are assumptions.
        """
    def retrieve(self, chat_session_id: str) -> ChatSession:
        """Returns a chat session with its messages. Safe to cancel.

        Raises `NotFoundError`, and what any read can raise.
        """

class BlockingChat:
    """The chat API."""
    completions: BlockingChatCompletions
    """Messages to chat models and their answers."""
    sessions: BlockingChatSessions
    """Chat sessions that were started through the API."""

class BlockingCredits:
    """The balance of the account."""
    def retrieve(self) -> Credits:
        """Returns the current balance. Raises what any read can raise. Safe to cancel."""

class BlockingFiles:
    """Images, videos and sounds that jobs refer to."""
    def check(self, path: FilePath | str, *, kind: str | None = None, model: str | None = None) -> None:
        """Validates a path as `upload` does before it sends the first byte. Sends no file.

        `kind` and `model` are those of `upload`. Raises `InvalidRequestError`, and `ConfigurationError` if the file
        cannot be read. Safe to cancel.
        """
    def retrieve(self, file_id: str) -> File:
        """Returns a file of the account. Raises `NotFoundError`, and what any read can raise. Safe to cancel."""
    def upload(self, file: Uploadable, *, kind: str | None = None, model: str | None = None, filename: str | None = None, client_request_id: str | None = None, on_progress: OnProgress | None = None) -> File:
        """Uploads a path, bytes, a binary file (from its position), an async stream or an async iterator of bytes.

        The content is streamed, never whole in memory. `kind` (`image`, `video` or `audio`) and media type are detected
        from the content. Pass `kind` if the content does not show it, and for an MP4 that contains only sound. With
        `model`, the limits of that model apply as far as the catalogue states them. Where they are unknown, a file over
        the documented default causes a `UserWarning`: 10 MB for an image or a sound, 50 MB for a video.
        `on_progress(sent, total)` is called, or awaited, after each chunk, in bytes. `total` is None if the size is
        unknown. A retry counts from 0.

        An upload costs no credits. It is retried after every transient fault, also after a lost connection when the
        file may have arrived: then an unused file may remain at the service. A source that can be read only once (an
        async iterator, a stream, a pipe) is retried only while nothing was sent. Each call uploads the content again.

        Raises `InvalidRequestError` and `ConfigurationError` before the first byte is sent (for an unknown size:
        when the limit is passed), and what any call can raise. Cancelling closes the connection and the files that it
        opened.
        """

class BlockingGenerations:
    """Jobs: buy them, wait for them, read them."""
    def as_completed(self, generations_or_task_ids: Iterable[Generation | str], *, timeout: float | NotGiven | None = NOT_GIVEN, poll: PollPolicy | None = None, on_progress: OnJobProgress | None = None) -> Generator[Generation]:
        """Yields the terminal records of many jobs as they end, each job once, failed jobs included.

        `timeout` in seconds bounds the whole loop: then `WaitTimeoutError` lists the jobs that are still open. A job
        whose wait fails (a 404, a 401) does not end the others: its error is raised when all have ended. Two or more
        errors, of jobs or of the timeout, are raised as an `ExceptionGroup`. Leaving the loop ends these waits only.

        `on_progress` is called, or awaited, with a `Progress` at the start and before each record is yielded. Its
        exceptions end the loop.
        """
    def create(self, model: ModelId | str | GenerationRequest, prompt: str | None = None, *, params: Mapping[str, Any] | None = None, references: Sequence[Reference] = (), client_request_id: str | None = None, idempotency_key: str | None = None, check: bool = False) -> Generation:
        """Buys a job and returns its first record. A `GenerationRequest` may replace the separate arguments.

        Every submit sends an `Idempotency-Key`: yours, or one that is created for this call and kept over all
        attempts. Every error has it as `idempotency_key`; repeating the call with it repeats the same purchase.
        Keys of `params` are never renamed. `references` become `params.referenceMediaItems`; local paths among them are
        uploaded first, once per content and model, before anything is bought.

        With `check` the job is first validated against the catalogue, which the session reads at most once in five
        minutes: values are converted (`Model.coerce`), and `InvalidRequestError` lists every problem (`Model.check`),
        or the closest ids of an unknown model. Nothing is sent then.

        Raises `ConfigurationError` and `SpendLimitError` before anything is sent; `APIStatusError` and its subclasses,
        `RequestNotSentError`, `OutcomeUnknownError` and `ResponseDecodeError`. Cancelling drops the request, which the
        service may have processed: the `CancelledError` has a note with the key.
        """
    def expect_deliveries(self) -> None:
        """Declares that webhooks will report most ends: polls fall to a third until they do, or do not.

        `WebhookReceiver(secret, session=session)` calls this. While `settle` brings ends, polls fall to a tenth. While
        polls find ends that no webhook has reported within five seconds, they return to the usual rate. May be called
        before the loop runs.
        """
    def generate(self, model: ModelId | str | GenerationRequest, prompt: str | None = None, *, params: Mapping[str, Any] | None = None, references: Sequence[Reference] = (), client_request_id: str | None = None, idempotency_key: str | None = None, check: bool = False, timeout: float | NotGiven | None = NOT_GIVEN, poll: PollPolicy | None = None, on_update: OnUpdate | None = None, to: str | os.PathLike[str] | None = None, exists: Literal['keep', 'error', 'overwrite', 'rename'] | None = None) -> Generation:
        """Buys a job and waits for it: `submit`, then `wait_for`, with the arguments and errors of both.

        `timeout` in seconds bounds both; it does not cancel a purchase in flight. Its end is a `TimeoutError` either
        way: `SubmitTimeoutError` if nothing was bought, `WaitTimeoutError` with the task id if the job goes on. Errors
        of the purchase before the timeout are raised as they are. `on_update` is called with the first record too.
        Cancelling after the purchase leaves the job running: the `CancelledError` has a note with the task id.

        With `to` the files of a succeeded job are saved there, as by `download` with `exists`. Raises `DownloadError`
        with the task id if they cannot be saved.
        """
    def map(self, requests: Iterable[GenerationRequest] | AsyncIterable[GenerationRequest], *, max_in_flight: int = 100, ordered: bool = False, check: bool = False, timeout: float | NotGiven | None = NOT_GIVEN, poll: PollPolicy | None = None, on_progress: OnJobProgress | None = None, to: str | os.PathLike[str] | None = None, exists: Literal['keep', 'error', 'overwrite', 'rename'] | None = None) -> Generator[Outcome]:
        """Generates a stream of requests of any length, holding at most `max_in_flight` of them in memory.

        Yields an `Outcome` for each, as they end or, with `ordered`, in the order of the requests. No failure ends the
        others; the outcome of a purchased job has its record, also if the wait failed. An error of the source is raised
        after the outcomes of all requests taken from it. `check` is that of `submit`; `timeout` in seconds bounds each
        job, as in `generate`. With `to` the files of each succeeded job are saved to this folder before its outcome is
        yielded, as by `download` with `exists`.

        Leaving the loop early cancels the rest; purchased jobs go on at the service. `undelivered_jobs` has those that
        were not yielded, also the ended ones, which a warning names. A `CancelledError` has notes with their ids, and
        with the keys of purchases in flight.

        `on_progress` is called, or awaited, with a `Progress` at the start and before each outcome is yielded. If
        `requests` has a length, the requests that were not started count as open. Its exceptions end the loop.
        `rivya_async.progress.ProgressBar` shows it as a bar.
        """
    def retrieve(self, task_id: str) -> Generation:
        """Reads a job once. A failed job is returned, not raised.

        Raises `NotFoundError` for an unknown task and for a task of another account, and what any read can raise. Safe
        to cancel.
        """
    def settle(self, generation: Generation) -> bool:
        """Applies the record of a verified webhook; returns whether it says anything new. `WebhookReceiver` calls this.

        A terminal record ends every wait for the job in the same iteration of the loop, without a poll, and frees its
        credits under `max_reserved`. The latest 5,000 ends are remembered, so that later waits end at once. A record of
        an open job is an update. A record that is known, older by its `updated_at`, or less final than the known one
        changes nothing. An end that contradicts the known record (a success without files, or an older record) is
        verified by a poll.

        It does not wait and sends nothing itself. Raises `ConfigurationError` for anything but a `Generation`, for a
        closed session, and outside of the session's event loop. From another thread, pass the record with
        `loop.call_soon_threadsafe(session.generations.settle, generation)`.
        """
    def submit(self, model: ModelId | str | GenerationRequest, prompt: str | None = None, *, params: Mapping[str, Any] | None = None, references: Sequence[Reference] = (), client_request_id: str | None = None, idempotency_key: str | None = None, check: bool = False) -> Generation:
        """Buys a job and returns its first record. A `GenerationRequest` may replace the separate arguments.

        Every submit sends an `Idempotency-Key`: yours, or one that is created for this call and kept over all
        attempts. Every error has it as `idempotency_key`; repeating the call with it repeats the same purchase.
        Keys of `params` are never renamed. `references` become `params.referenceMediaItems`; local paths among them are
        uploaded first, once per content and model, before anything is bought.

        With `check` the job is first validated against the catalogue, which the session reads at most once in five
        minutes: values are converted (`Model.coerce`), and `InvalidRequestError` lists every problem (`Model.check`),
        or the closest ids of an unknown model. Nothing is sent then.

        Raises `ConfigurationError` and `SpendLimitError` before anything is sent; `APIStatusError` and its subclasses,
        `RequestNotSentError`, `OutcomeUnknownError` and `ResponseDecodeError`. Cancelling drops the request, which the
        service may have processed: the `CancelledError` has a note with the key.
        """
    def wait_for(self, generation_or_task_id: Generation | str, *, timeout: float | NotGiven | None = NOT_GIVEN, poll: PollPolicy | None = None, on_update: OnUpdate | None = None, raise_on_failure: bool = True) -> Generation:
        """Waits until a job has ended and returns its terminal record.

        The job may come from this process or another. `timeout` is in seconds; None waits without limit; left out, the
        policy's timeout applies. `on_update` is called, or awaited, with each changed snapshot, the terminal one last.

        Transient errors of a poll never end a wait before its deadline, nor do answers that are not the API's, such as
        the page of a gateway: they end a wait after 60 s if this session never had an answer of the API. A 401 or 403
        of the API ends a wait, and so does a 404, except shortly after this session's own submit. An unknown status
        counts as open. All waits for one job share its polls.

        Raises `GenerationFailedError` if the job failed (unless `raise_on_failure=False`), `WaitTimeoutError` at the
        timeout (wait again; its cause is the error of the last poll if none succeeded), `SessionClosedError` if the
        session closes. Every error has the `task_id`. Cancelling ends this wait only.
        """
    def watch(self, generation_or_task_id: Generation | str, *, timeout: float | NotGiven | None = NOT_GIVEN, poll: PollPolicy | None = None) -> Generator[Generation]:
        """Yields every changed snapshot of a job, the terminal one last. A failed job is yielded, not raised.

        Raises as `wait_for` does otherwise. Leaving the loop ends this wait only; close the generator
        (`contextlib.aclosing`) to end it at once.
        """

class BlockingModels:
    """The catalogue of models. Needs no API key."""
    def list(self) -> list[Model]:
        """Returns every model, unavailable ones included, in the service's order.

        The catalogue is cached for five minutes. Concurrent callers share one request. Raises what any read can raise.
        Safe to cancel.
        """
    def retrieve(self, model_id: str) -> Model:
        """Returns one model of the catalogue.

        Raises `NotFoundError` with the nearest ids for an unknown id.
        """

class BlockingOpenApi:
    """The service's OpenAPI document."""
    def retrieve(self) -> dict[str, Any]:
        """Returns the document unchanged. Needs no API key. The service does not document its content.

        Raises what any read can raise. Safe to cancel.
        """

class BlockingWebhookEvents:
    """Events of the account that webhooks report. Needs the scope `webhooks:manage`."""
    def list(self, limit: int | None = None) -> builtins.list[WebhookEvent]:
        """Returns events, newest first: at most `limit`, or the service's default. Safe to cancel.

        Raises what any read can raise. The order, `limit` and the shape are assumptions.
        """

class BlockingWebhooks:
    """The webhook endpoints of the account. Needs the scope `webhooks:manage`."""
    def create(self, name: str, url: str, event_types: Iterable[str]) -> WebhookEndpoint:
        """Creates an endpoint for ended jobs. Only this record contains its `signing_secret`.

        The event types are `generation.succeeded` and `generation.failed`. The service requires https and a public
        host.

        No idempotency key is documented for this call. It is retried only if the service has definitely not processed
        it: nothing was sent, 425, 429, or the API is disabled. An ambiguous outcome is raised: `OutcomeUnknownError`,
        `InternalServerError`, or `ResponseDecodeError` for a response that cannot be decoded. Then read `list` before
        you create it again. `rotate_secret` replaces a lost secret. Cancelling is ambiguous too: the `CancelledError`
        has a note.

        Raises `BadRequestError` (code `webhook_url_rejected`) for a URL that the service rejects.
        """
    def delete(self, endpoint_id: str) -> WebhookEndpoint:
        """Revokes an endpoint permanently and returns it.

        The call is retried through every transient fault, so `NotFoundError` may mean that an earlier attempt has
        revoked the endpoint. That the service returns the endpoint is an assumption.
        """
    def deliveries(self, endpoint_id: str, limit: int | None = None) -> builtins.list[WebhookDelivery]:
        """Returns the deliveries of an endpoint, newest first. Raises what any read can raise. Safe to cancel.

        The order, `limit` and the shape are assumptions.
        """
    def list(self, limit: int | None = None) -> builtins.list[WebhookEndpoint]:
        """Returns endpoints, newest first: at most `limit`, or the service's default. Safe to cancel.

        Raises what any read can raise. The order and `limit` are assumptions.
        """
    def retrieve(self, endpoint_id: str) -> WebhookEndpoint:
        """Returns an endpoint without its secret. Safe to cancel.

        Raises `NotFoundError`, and what any read can raise.
        """
    def rotate_secret(self, endpoint_id: str) -> WebhookEndpoint:
        """Returns the endpoint with a new `signing_secret`. Only this record contains it.

        That the old secret becomes invalid at once is an assumption. Retried as `create` is. After an ambiguous error
        or a cancellation the old secret may be invalid and the new one lost: rotate it again.
        """
    def test(self, endpoint_id: str) -> WebhookDelivery:
        """Sends a test event to an endpoint and returns its delivery. Retried as `create` is.

        The event (a `generation.succeeded`) and the response (its delivery) are assumptions.
        """
    def update(self, endpoint_id: str, *, name: str | None = None, url: str | None = None, event_types: Iterable[str] | None = None, status: str | None = None) -> WebhookEndpoint:
        """Changes the given fields of an endpoint. `status` is `active` or `disabled`.

        The accepted fields are an assumption. The call is idempotent, so it is retried through every transient fault.
        After cancellation the change may or may not be applied. Raises as `create` does.
        """

class BlockingSession:
    """A `RivyaSession` for code without an event loop. The arguments are those of `RivyaSession`, except `http`.

    The session runs on an event loop of its own, in a daemon thread that the first call starts. All threads may use it
    at the same time. Callbacks such as `on_update`, and the requests of `map`, run in the calling thread; hooks run in
    the thread of the loop, where no method may be called. After a fork the child process opens a new session with the
    same arguments. Ctrl-C cancels the call; the `KeyboardInterrupt` has a note with the task id or the idempotency key.

    Use it as a context manager, or call `close()`. A session that lives as long as the process is closed at its exit.

        with BlockingSession() as session:
            for outcome in session.map(GenerationRequest("z-image", prompt) for prompt in prompts):
                print(outcome.ok)
    """
    def __enter__(self) -> Self: ...
    def __exit__(self, *_error: object) -> None: ...
    def __init__(self, api_key: str | None = None, *, base_url: str | None = None, timeouts: Timeouts | None = None, retry: RetryPolicy | None = None, poll: PollPolicy | None = None, rate_limit: RateLimit | ExternalRateLimiter | None = None, max_connections: int = 100, transport: Transport | None = None, hooks: Sequence[Hooks] = (), max_spend: float | None = None, max_reserved: float | None = None, prices: Mapping[str, float] | None = None, headers: Mapping[str, str] | None = None, user_agent: str | None = None, proxy: str | None = None, trust_env: bool = False, ssl: SSLContext | aiohttp.Fingerprint | bool | None = None, allow_plain_http: bool = False, fast: bool = False) -> None: ...
    def as_completed(self, generations_or_task_ids: Iterable[Generation | str], *, timeout: float | NotGiven | None = NOT_GIVEN, poll: PollPolicy | None = None, on_progress: OnJobProgress | None = None) -> Generator[Generation]:
        """Yields the terminal records of many jobs as they end, each job once, failed jobs included.

        `timeout` in seconds bounds the whole loop: then `WaitTimeoutError` lists the jobs that are still open. A job
        whose wait fails (a 404, a 401) does not end the others: its error is raised when all have ended. Two or more
        errors, of jobs or of the timeout, are raised as an `ExceptionGroup`. Leaving the loop ends these waits only.

        `on_progress` is called, or awaited, with a `Progress` at the start and before each record is yielded. Its
        exceptions end the loop.
        """
    @property
    def base_url(self) -> str:
        """The origin of the service."""
    chat: BlockingChat
    """The chat API."""
    def close(self) -> None:
        """Closes the session as `RivyaSession.aclose` does, and ends its thread. A view closes nothing."""
    credits: BlockingCredits
    """The balance of the account."""
    def download(self, generation_or_url: Generation | str, to: str | os.PathLike[str], *, name: str | None = None, exists: Literal['keep', 'error', 'overwrite', 'rename'] | None = None, max_bytes: int | None = 2147483648, on_progress: OnProgress | None = None) -> list[Path]:
        """Saves the files of a succeeded job, or of one URL. Returns a list of their paths, also for one file.

        The job is a record, or a task id, whose record is read first.

        `to` is a folder if it exists as one, ends with a separator (`"out/"`) or `name` is given; it is created if
        missing. Files are named after the task and their format. Otherwise `to` is the name of the first file, and
        further files get a number; a name with the extension of another format is a `DownloadError`, which names the
        right one. `name` is a template with `{task_id}`, `{model}`, `{index}` (from 1) and `{ext}` (with its dot). `~`
        is the home folder.

        `exists` says what happens where a file exists: `keep` returns its path without a request, `error` raises
        `ConfigurationError`, `overwrite` replaces it, `rename` saves as `kite (1).png`. The default is `keep` for names
        that contain the task id, and `error` for names that the caller chose.

        Each file is streamed to a hidden file in the same folder, checked for its length, and renamed when complete. An
        interrupted transfer resumes if the host names the same version of the file, by the retry policy counted from
        the last progress. An expired link (400, 401, 403, 404, 410) is refreshed by reading the job again. If the
        download of a file over 1 MiB is cancelled or fails, the partial file stays, and the next download of the same
        file to the same path resumes it; smaller partial files are deleted. A session downloads at most 16 files at
        once.

        Requests for files have no API key, headers, cookies or credentials of the session or of `http`. The links of a
        job, and every redirect, lead to public addresses only, or to the host of `base_url`, and never from https to
        http. A URL that is passed as a string may lead to any address. A page or a message in place of the file is
        retried. `on_progress(received, total)` is called, or awaited, after each chunk, in bytes; `total` is None if
        the host does not report the length. A file of more than `max_bytes` (2 GiB) is rejected; None sets no limit.
        Links may expire: download soon.

        Raises `ConfigurationError` if the job has no result, a name is invalid, or a file exists; `DownloadError` if
        the file cannot be written, is larger than `max_bytes` or not a media file, or a link is not followed; and what
        any read can raise.
        """
    @property
    def durations(self) -> DurationEstimator:
        """Learned job durations. `dump()` and `load()` transfer them to another process."""
    files: BlockingFiles
    """Images, videos and sounds that jobs refer to."""
    def generate(self, model: ModelId | str | GenerationRequest, prompt: str | None = None, *, params: Mapping[str, Any] | None = None, references: Sequence[Reference] = (), client_request_id: str | None = None, idempotency_key: str | None = None, check: bool = False, timeout: float | NotGiven | None = NOT_GIVEN, poll: PollPolicy | None = None, on_update: OnUpdate | None = None, to: str | os.PathLike[str] | None = None, exists: Literal['keep', 'error', 'overwrite', 'rename'] | None = None) -> Generation:
        """Buys a job and waits for it: `submit`, then `wait_for`, with the arguments and errors of both.

        `timeout` in seconds bounds both; it does not cancel a purchase in flight. Its end is a `TimeoutError` either
        way: `SubmitTimeoutError` if nothing was bought, `WaitTimeoutError` with the task id if the job goes on. Errors
        of the purchase before the timeout are raised as they are. `on_update` is called with the first record too.
        Cancelling after the purchase leaves the job running: the `CancelledError` has a note with the task id.

        With `to` the files of a succeeded job are saved there, as by `download` with `exists`. Raises `DownloadError`
        with the task id if they cannot be saved.
        """
    generations: BlockingGenerations
    """Jobs: buy them, wait for them, read them."""
    @property
    def is_local(self) -> bool:
        """True if the service runs on this machine, as the sandbox does."""
    def map(self, requests: Iterable[GenerationRequest] | AsyncIterable[GenerationRequest], *, max_in_flight: int = 100, ordered: bool = False, check: bool = False, timeout: float | NotGiven | None = NOT_GIVEN, poll: PollPolicy | None = None, on_progress: OnJobProgress | None = None, to: str | os.PathLike[str] | None = None, exists: Literal['keep', 'error', 'overwrite', 'rename'] | None = None) -> Generator[Outcome]:
        """Generates a stream of requests of any length, holding at most `max_in_flight` of them in memory.

        Yields an `Outcome` for each, as they end or, with `ordered`, in the order of the requests. No failure ends the
        others; the outcome of a purchased job has its record, also if the wait failed. An error of the source is raised
        after the outcomes of all requests taken from it. `check` is that of `submit`; `timeout` in seconds bounds each
        job, as in `generate`. With `to` the files of each succeeded job are saved to this folder before its outcome is
        yielded, as by `download` with `exists`.

        Leaving the loop early cancels the rest; purchased jobs go on at the service. `undelivered_jobs` has those that
        were not yielded, also the ended ones, which a warning names. A `CancelledError` has notes with their ids, and
        with the keys of purchases in flight.

        `on_progress` is called, or awaited, with a `Progress` at the start and before each outcome is yielded. If
        `requests` has a length, the requests that were not started count as open. Its exceptions end the loop.
        `rivya_async.progress.ProgressBar` shows it as a bar.
        """
    models: BlockingModels
    """The catalogue of models. Needs no API key."""
    @property
    def open_jobs(self) -> tuple[OpenJob, ...]:
        """The jobs that this session bought and has not seen end, at most the newest 100,000, the oldest first."""
    openapi: BlockingOpenApi
    """The service's OpenAPI document."""
    @property
    def prices(self) -> LearnedPrices:
        """Prices learned from purchases, and the given ones. `dump()` and `load()` transfer them to another process."""
    @property
    def spend(self) -> SpendSummary:
        """The credits that this session has spent on jobs and chat turns, per idempotency key and in total."""
    def submit(self, model: ModelId | str | GenerationRequest, prompt: str | None = None, *, params: Mapping[str, Any] | None = None, references: Sequence[Reference] = (), client_request_id: str | None = None, idempotency_key: str | None = None, check: bool = False) -> Generation:
        """Buys a job and returns its first record. A `GenerationRequest` may replace the separate arguments.

        Every submit sends an `Idempotency-Key`: yours, or one that is created for this call and kept over all
        attempts. Every error has it as `idempotency_key`; repeating the call with it repeats the same purchase.
        Keys of `params` are never renamed. `references` become `params.referenceMediaItems`; local paths among them are
        uploaded first, once per content and model, before anything is bought.

        With `check` the job is first validated against the catalogue, which the session reads at most once in five
        minutes: values are converted (`Model.coerce`), and `InvalidRequestError` lists every problem (`Model.check`),
        or the closest ids of an unknown model. Nothing is sent then.

        Raises `ConfigurationError` and `SpendLimitError` before anything is sent; `APIStatusError` and its subclasses,
        `RequestNotSentError`, `OutcomeUnknownError` and `ResponseDecodeError`. Cancelling drops the request, which the
        service may have processed: the `CancelledError` has a note with the key.
        """
    @property
    def undelivered_jobs(self) -> tuple[OpenJob, ...]:
        """The jobs that this session bought and whose end no call has returned yet: print their ids after Ctrl-C.

        These are the `open_jobs`, and before them the jobs that ended in a `map` that was left before it yielded them,
        or in a `generate` that was cancelled while it saved the files. `wait_for(task_id)` and `download(task_id, ...)`
        of any session return their results.
        """
    def wait_for(self, generation_or_task_id: Generation | str, *, timeout: float | NotGiven | None = NOT_GIVEN, poll: PollPolicy | None = None, on_update: OnUpdate | None = None, raise_on_failure: bool = True) -> Generation:
        """Waits until a job has ended and returns its terminal record.

        The job may come from this process or another. `timeout` is in seconds; None waits without limit; left out, the
        policy's timeout applies. `on_update` is called, or awaited, with each changed snapshot, the terminal one last.

        Transient errors of a poll never end a wait before its deadline, nor do answers that are not the API's, such as
        the page of a gateway: they end a wait after 60 s if this session never had an answer of the API. A 401 or 403
        of the API ends a wait, and so does a 404, except shortly after this session's own submit. An unknown status
        counts as open. All waits for one job share its polls.

        Raises `GenerationFailedError` if the job failed (unless `raise_on_failure=False`), `WaitTimeoutError` at the
        timeout (wait again; its cause is the error of the last poll if none succeeded), `SessionClosedError` if the
        session closes. Every error has the `task_id`. Cancelling ends this wait only.
        """
    def watch(self, generation_or_task_id: Generation | str, *, timeout: float | NotGiven | None = NOT_GIVEN, poll: PollPolicy | None = None) -> Generator[Generation]:
        """Yields every changed snapshot of a job, the terminal one last. A failed job is yielded, not raised.

        Raises as `wait_for` does otherwise. Leaving the loop ends this wait only; close the generator
        (`contextlib.aclosing`) to end it at once.
        """
    webhook_events: BlockingWebhookEvents
    """Events of the account that webhooks report. Needs the scope `webhooks:manage`."""
    webhooks: BlockingWebhooks
    """The webhook endpoints of the account. Needs the scope `webhooks:manage`."""
    def with_options(self, *, timeouts: Timeouts | None = None, retry: RetryPolicy | None = None, poll: PollPolicy | None = None, headers: Mapping[str, str] | None = None) -> Self:
        """Returns a view of this session with other options. Arguments that are left out keep their values.

        The view shares connections, limits, waits, spending, caches and open jobs with this session. `headers` are
        added to the default headers. All waits for a job share its polls, which use the options of this session, and
        downloads use its timeouts.

        Closing a view only ends the view. When this session closes, its views raise `SessionClosedError`.
        """
