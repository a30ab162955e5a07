"""Models of the catalogue: validation, coercion and price of a job before it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from ..errors import ConfigurationError, InvalidRequestError
from ..generation_request import Reference
from ..public_module import set_public_module
from ..types.chat import ChatCapabilities
from ..types.generations import Amount, ValidationProblem, extra_fields
from ..types.record import Record
from .learned_prices import LearnedPrices, count_characters
from .model_param import DIALOGUE_PARAM, REFERENCES_PARAM, ModelParam
from .pricing import PriceEstimate, estimate_price, price_params
from .reference_rules import ReferenceRules, describe_reference
from .validation import closest_matches, format_problems, shorten, suggestion_text


class _PricedRecord(Record):
    """Record with the learned prices of its session in a slot that is no field: not compared, copied or sent."""

    __slots__ = ("_learned_prices",)

    _learned_prices: LearnedPrices


@attrs.frozen
class Model(_PricedRecord):
    """Model of the catalogue. Missing and null members are None or empty.

    `check`, `coerce` and `estimate_credits` use the catalogue, and the prices that the session has learned, and send
    nothing. Catalogues change: keep the session, not the model.

    >>> async def main():
    ...     async with RivyaSession() as session:
    ...         return (await session.models.retrieve("kling-3-0")).param("duration").default
    >>> asyncio.run(main())
    '5'
    """

    id: str
    """Id of the model, such as `z-image`."""
    display_name: str = ""
    """Name for people."""
    category: str = ""
    """`image`, `video`, `audio` or `chat`, an open string."""
    runtime: str | None = None
    """Kind of execution, an open string."""
    base_credits: Amount | None = None
    """Credits of a job, or the base of its price."""
    billing_type: str | None = None
    """Way in which a job is billed, an open string; see `estimate_credits`."""
    supported_modes: tuple[str, ...] = ()
    """Modes, such as `text-to-image`."""
    max_prompt_length: int | None = None
    """Maximum length of a prompt in characters."""
    reference_media: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    """Rules for references as listed in the catalogue; see `reference_rules`."""
    params: tuple[ModelParam, ...] = ()
    """Params that a job may have."""
    api_status: str | None = None
    """`available` if the model can be called through the API."""
    api_input_status: str | None = None
    """State of the inputs of the API, an open string."""
    supported_api_inputs: tuple[str, ...] = ()
    """Kinds of input, such as `text` and `image`."""
    requires_files_api: bool | None = None
    """True if references must be uploaded."""
    requires_upload_for_modes: tuple[str, ...] = ()
    """Modes whose references must be uploaded."""
    url_input_supported: bool | None = None
    """True if a reference may be any URL."""
    file_kinds: tuple[str, ...] = ()
    """Kinds of files that a job may refer to."""
    chat_capabilities: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    """Capabilities of a chat model as listed in the catalogue."""
    notices: tuple[Any, ...] = attrs.field(default=(), hash=False)
    """Notices of the service about the model."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""

    @property
    def is_available(self) -> bool:
        """True if the model can be called through the API."""
        return self.api_status == "available"

    @property
    def is_chat(self) -> bool:
        """True if the model belongs to the Chat API."""
        return self.category == "chat" or self.runtime == "chat"

    @property
    def needs_prompt(self) -> bool:
        """True if a job needs a prompt: text is an input, and no required array replaces it."""
        return "text" in self.supported_api_inputs and not any(
            param.required and param.type == "array" for param in self.params
        )

    @property
    def reference_rules(self) -> ReferenceRules | None:
        """The rules for references; None if the model takes none, empty rules if the catalogue lists none."""
        if self.reference_media is not None:
            return ReferenceRules.from_catalogue(self.reference_media, self.file_kinds)
        return ReferenceRules(kinds=self.file_kinds) if "file" in self.supported_api_inputs else None

    @property
    def chat(self) -> ChatCapabilities | None:
        """The capabilities of a chat model; None for other models."""
        return ChatCapabilities.from_catalogue(self.chat_capabilities) if self.is_chat else None

    def param(self, key: str) -> ModelParam | None:
        """Returns the parameter with this key, or None."""
        return next((param for param in self.params if param.key == key), None)

    def check(
        self,
        prompt: str | None = None,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
    ) -> PriceEstimate:
        """Returns the price estimate of a valid job. Raises `InvalidRequestError` with all `problems` otherwise.

        Sends nothing.

        Checks the availability of the model, the prompt, the keys of params, their types, options, ranges and steps,
        required params, and the kind, number and size of references. Local paths are counted, not inspected. The check
        is stricter than the service, which ignores unknown keys and perhaps steps. It skips
        rules missing from the catalogue, and the keys of params for a model without a list of params.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         kling = await session.models.retrieve("kling-2-6")
        ...         try:
        ...             kling.check("A red kite", {"duratoin": "5"})
        ...         except InvalidRequestError as error:
        ...             return error.problems[0].nearest
        >>> asyncio.run(main())
        ('duration',)
        """
        problems = tuple(self.problems(prompt, params, references))
        if problems:
            raise InvalidRequestError(format_problems(self.id, problems), problems=problems)
        return self.estimate_credits(prompt, params, references)

    def problems(
        self,
        prompt: str | None = None,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
    ) -> Iterator[ValidationProblem]:
        """Yields the problems that `check` raises together."""
        if self.is_chat:
            yield ValidationProblem(
                "model", "unavailable", f"{self.id} is a chat model, which makes no files: use session.chat"
            )
            return
        if self.api_status is not None and not self.is_available:
            message = f"{self.id} cannot be bought through the API now: it is {self.api_status!r}"
            yield ValidationProblem("model", "unavailable", message)
        yield from self._prompt_problems(prompt)
        if isinstance(params, Mapping) or params is None:
            yield from self._params_problems(params or {})
            yield from self._reference_problems(params or {}, references)
        else:
            yield ValidationProblem("params", "type", f"params must be a mapping, not {shorten(params)}")

    def coerce(self, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Returns a copy of `params` with unambiguous values converted to the type that is sent.

        Booleans and numbers of a select become the documented string: `5` becomes `"5"`, `False` becomes `"false"`. A
        number given as a string becomes a number if that is exact. Keys are never renamed, unknown keys not touched.
        Raises `ConfigurationError` if `prompt` is not a string or `params` is not a mapping.

        >>> ratio = ModelParam("duration", "select", options=("5", "10"))
        >>> Model("kling-2-6", params=(ratio,)).coerce({"duration": 5, "other": 5})
        {'duration': '5', 'other': 5}
        """
        if params is not None and not isinstance(params, Mapping):
            raise ConfigurationError(f"params must be a mapping, not {type(params).__name__}")
        known = {param.key: param for param in self.params}
        return {key: known[key].coerce(value) if key in known else value for key, value in (params or {}).items()}

    @property
    def price_params(self) -> tuple[str, ...]:
        """The params that may change the price: by their names, or because the session has observed it.

        >>> Model("m", params=(ModelParam("quality"), ModelParam("seed"))).price_params
        ('quality',)
        """
        return price_params(self, self._prices.names_of(self.id))

    def estimate_credits(
        self,
        prompt: str | None = None,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
    ) -> PriceEstimate:
        """Returns the credits that a job reserves, as far as they are known, and where the price comes from.

        The price of a `FIXED` model is `base_credits` for its default settings, rounded up. Other values of params such
        as speed, quality, resolution, duration, mode and audio may change it: then `base_credits` is a lower bound. A
        model of a session also uses the prices that its session has learned from its purchases, and those in `prices`.
        `METERED` and `TOKEN_BASED` prices are only known from purchases.

        Raises `ConfigurationError` if `prompt` is not a string or `params` is not a mapping.

        >>> estimate = Model("z-image", billing_type="FIXED", base_credits=1).estimate_credits()
        >>> estimate.credits, estimate.kind
        (1, 'exact')
        """
        if prompt is not None and not isinstance(prompt, str):
            raise ConfigurationError(f"prompt must be a string, not {type(prompt).__name__}: pass params=... by name")
        if params is not None and not isinstance(params, Mapping):
            raise ConfigurationError(f"params must be a mapping, not {type(params).__name__}")
        return estimate_price(self, prompt, params or {}, len(references), self._prices)

    @property
    def _prices(self) -> LearnedPrices:
        return getattr(self, "_learned_prices", None) or LearnedPrices()

    def _prompt_problems(self, prompt: Any) -> Iterator[ValidationProblem]:
        if prompt is not None and not isinstance(prompt, str):
            yield ValidationProblem("prompt", "type", f"prompt must be a string, not {shorten(prompt)}")
        elif self.needs_prompt and not (prompt or "").strip():
            yield ValidationProblem("prompt", "missing", f"prompt is required for {self.id}")
        else:
            yield from self._length_problems("prompt", "prompt", len(prompt or ""))

    def _length_problems(self, where: str, name: str, length: int) -> Iterator[ValidationProblem]:
        limit = self.max_prompt_length
        if limit is not None and length > limit:
            message = f"{name} has {length:,} characters, and {self.id} takes at most {limit:,}"
            yield ValidationProblem(where, "length", message, (limit,))

    def _params_problems(self, params: Mapping[str, Any]) -> Iterator[ValidationProblem]:
        known = {param.key: param for param in self.params}
        for param in self.params:
            if param.required and params.get(param.key) is None:
                yield param.missing_problem()
        for key, value in params.items():
            if key in known:
                if value is not None or not known[key].required:
                    yield from known[key].problems(value)
            elif known and "" not in known and key != REFERENCES_PARAM:
                yield self._unknown_param_problems(key, known)
        lines = params.get(DIALOGUE_PARAM)
        if DIALOGUE_PARAM in known and isinstance(lines, list | tuple):
            yield from self._length_problems(f"params.{DIALOGUE_PARAM}", "dialogue", sum(map(count_characters, lines)))

    def _unknown_param_problems(self, key: Any, known: Iterable[str]) -> ValidationProblem:
        matches = closest_matches(key, known) if isinstance(key, str) else ()
        message = f"{self.id} has no param {shorten(key)} {suggestion_text(matches, known)}"
        return ValidationProblem(f"params.{key}" if isinstance(key, str) else "params", "unknown", message, matches)

    def _reference_problems(self, params: Mapping[str, Any], references: Sequence[Any]) -> Iterator[ValidationProblem]:
        inner = params.get(REFERENCES_PARAM, ())
        if inner and references:
            yield ValidationProblem(
                "references", "type", "give references either as references=... or in params, not both"
            )
        elif not isinstance(inner, list | tuple):
            yield ValidationProblem(
                "references", "type", f"params.{REFERENCES_PARAM} must be a list, not {shorten(inner)}"
            )
        elif inner or references:
            items = inner or [describe_reference(reference) for reference in references]
            rules = self.reference_rules
            if rules is None:
                yield ValidationProblem("references", "count", f"{self.id} takes no references")
            else:
                yield from rules.problems(self.id, items)


@attrs.frozen
class ModelList(Record):
    """All models of the catalogue, in the order of the service [5]."""

    data: tuple[Model, ...]
    extra: Mapping[str, Any] = extra_fields()


def bind_prices(model: Model, prices: LearnedPrices) -> None:
    """Lets a model use the learned prices of its session."""
    object.__setattr__(model, "_learned_prices", prices)


set_public_module("rivya_async", Model)
