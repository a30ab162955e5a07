"""A model of the catalogue: what a job for it must look like and what it will cost, said before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from .. import assumptions
from ..errors import ConfigurationError, ValidationFailed
from ..generation_request import Reference
from ..types.generations import Amount, ValidationProblem, extra_fields
from .model_param import DIALOGUE_PARAM, ModelParam
from .reference_rules import ReferenceRules, describe_reference
from .validation import closest_matches, format_problems, shorten, suggestion_text

REFERENCES_PARAM: Final = "referenceMediaItems"
"""The key of `params` that no catalogue lists: where references travel [6]."""


@attrs.frozen
class Model:
    """A model of the catalogue [5]. Whatever the service leaves out or nulls is None or empty.

    `check`, `coerce` and `estimate_credits` say what the catalogue says, and send nothing. Catalogues change: keep the
    session, not the model.

    >>> async def look(session):
    ...     return (await session.models.retrieve("kling-3-0")).param("duration").default
    >>> in_sandbox(look)
    '5'
    """

    id: str
    display_name: str = ""
    category: str = ""
    runtime: str | None = None
    base_credits: Amount | None = None
    billing_type: str | None = None
    supported_modes: tuple[str, ...] = ()
    max_prompt_length: int | None = None
    reference_media: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    params: tuple[ModelParam, ...] = ()
    api_status: str | None = None
    api_input_status: str | None = None
    supported_api_inputs: tuple[str, ...] = ()
    requires_files_api: bool | None = None
    requires_upload_for_modes: tuple[str, ...] = ()
    url_input_supported: bool | None = None
    file_kinds: tuple[str, ...] = ()
    chat_capabilities: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    notices: tuple[Any, ...] = attrs.field(default=(), hash=False)
    extra: Mapping[str, Any] = extra_fields()

    @property
    def is_available(self) -> bool:
        """Whether the service lets it be called."""
        return self.api_status == "available"

    @property
    def is_chat(self) -> bool:
        """Whether it belongs to the Chat API."""
        return self.category == "chat" or self.runtime == "chat"

    @property
    def needs_prompt(self) -> bool:
        """Whether a job needs a prompt: not where text is no input, nor where the service makes it of an array [6]."""
        return "text" in self.supported_api_inputs and not any(
            param.required and param.type == "array" for param in self.params
        )

    @property
    def reference_rules(self) -> ReferenceRules | None:
        """Which references a job may have; None if it takes none. Empty where files are taken and no rule is told."""
        if self.reference_media is not None:
            return ReferenceRules.from_catalogue(self.reference_media, self.file_kinds)
        return ReferenceRules(kinds=self.file_kinds) if "file" in self.supported_api_inputs else None

    @property
    def chat(self) -> ChatCapabilities | None:
        """What a chat model can do; None for a model of another kind."""
        return ChatCapabilities.from_catalogue(self.chat_capabilities) if self.is_chat else None

    def param(self, key: str) -> ModelParam | None:
        """The parameter of this key, or None."""
        return next((param for param in self.params if param.key == key), None)

    def check(
        self,
        prompt: str | None = None,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
    ) -> None:
        """Raise `ValidationFailed` with every problem of such a job as `problems`, or return. Sends nothing.

        Named are: a model that is not to be bought, a prompt that is missing or too long, keys that the model does not
        list, values of the wrong type, off their options, range or steps, missing params, and references of a kind,
        number or size that it does not take (a path only counts). It is stricter than the service, which ignores
        unknown keys and perhaps steps (contract section 14.17). What the catalogue leaves unsaid is not checked, and a
        model that lists no params says nothing of their keys.

        >>> async def slip(session):
        ...     kling = await session.models.retrieve("kling-2-6")
        ...     try:
        ...         kling.check("A red kite", {"duratoin": "5"})
        ...     except ValidationFailed as error:
        ...         return error.problems[0].nearest
        >>> in_sandbox(slip)
        ('duration',)
        """
        found = tuple(self.problems(prompt, params, references))
        if found:
            raise ValidationFailed(format_problems(self.id, found), problems=found)

    def problems(
        self,
        prompt: str | None = None,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
    ) -> Iterator[ValidationProblem]:
        """What `check` would raise, one by one."""
        if self.is_chat:
            yield ValidationProblem(
                "model", "unavailable", f"{self.id} is a chat model, which makes no files: use session.chat"
            )
            return
        if self.api_status is not None and not self.is_available:
            claim = f"{self.id} cannot be bought through the API now: it is {self.api_status!r}"
            yield ValidationProblem("model", "unavailable", claim)
        yield from self._prompt_problems(prompt)
        if isinstance(params, Mapping) or params is None:
            yield from self._params_problems(params or {})
            yield from self._reference_problems(params or {}, references)
        else:
            yield ValidationProblem("params", "type", f"params must be a mapping, not {shorten(params)}")

    def coerce(self, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """A copy of `params` with values as they must travel, where that is certain; `check` names the others.

        Booleans and numbers of a select become the documented string, `5` becomes `"5"` and `False` `"false"`. A number
        given as a string becomes a number if nothing is lost. Keys are never renamed, unknown ones not touched.
        Raises `ConfigurationError` for what is no mapping.

        >>> ratio = ModelParam("duration", "select", options=("5", "10"))
        >>> Model("kling-2-6", params=(ratio,)).coerce({"duration": 5, "other": 5})
        {'duration': '5', 'other': 5}
        """
        if params is not None and not isinstance(params, Mapping):
            raise ConfigurationError(f"params must be a mapping, not {type(params).__name__}")
        known = {param.key: param for param in self.params}
        return {key: known[key].coerce(value) if key in known else value for key, value in (params or {}).items()}

    def estimate_credits(
        self,
        prompt: str | None = None,  # noqa: ARG002 - what a metered price will depend on, once the catalogue tells how
        params: Mapping[str, Any] | None = None,  # noqa: ARG002
        references: Sequence[Reference] = (),  # noqa: ARG002
    ) -> int | None:
        """Credits that such a job will hold, or None where the catalogue does not say.

        Only a `FIXED` price can be told. Assumed, for no page says otherwise: it is `base_credits` whatever the params
        are (contract section 14.21), a fraction counting as one more. `METERED` and `TOKEN_BASED` depend on the work.

        >>> Model("z-image", billing_type="FIXED", base_credits=1).estimate_credits()
        1
        """
        if (
            self.billing_type not in assumptions.FIXED_PRICE_BILLING_TYPES
            or self.base_credits is None
            or not 0 <= self.base_credits < math.inf
        ):
            return None
        return math.ceil(self.base_credits)

    def _prompt_problems(self, prompt: Any) -> Iterator[ValidationProblem]:
        if prompt is not None and not isinstance(prompt, str):
            yield ValidationProblem("prompt", "type", f"prompt must be a string, not {shorten(prompt)}")
        elif self.needs_prompt and not (prompt or "").strip():
            yield ValidationProblem("prompt", "missing", f"prompt is required for {self.id}")
        else:
            yield from self._length_problems("prompt", "prompt", len(prompt or ""))

    def _length_problems(self, where: str, what: str, length: int) -> Iterator[ValidationProblem]:
        most = self.max_prompt_length
        if most is not None and length > most:
            claim = f"{what} has {length:,} characters, and {self.id} takes at most {most:,}"
            yield ValidationProblem(where, "length", claim, (most,))

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
            yield from self._length_problems(f"params.{DIALOGUE_PARAM}", "dialogue", sum(map(_count_characters, lines)))

    def _unknown_param_problems(self, key: Any, known: Iterable[str]) -> ValidationProblem:
        meant = closest_matches(key, known) if isinstance(key, str) else ()
        claim = f"{self.id} has no param {shorten(key)} {suggestion_text(meant, known)}"
        return ValidationProblem(f"params.{key}" if isinstance(key, str) else "params", "unknown", claim, meant)

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
class ModelList:
    """The whole catalogue, in the service's order [5]."""

    data: tuple[Model, ...]
    extra: Mapping[str, Any] = extra_fields()


def _count_characters(line: object) -> int:
    text = line.get("text") if isinstance(line, Mapping) else None
    return len(text) if isinstance(text, str) else 0


@attrs.frozen
class ChatCapabilities:
    """What a chat model can do, as far as the catalogue says [5]: None is what it leaves unsaid.

    `web_search`, `images` (as attachments) and `thoughts` are claims; `reasoning_efforts` are the values that the model
    takes for `reasoning_effort`. The names in the catalogue are an assumption (`from_catalogue`).

    >>> ChatCapabilities.from_catalogue({"web_search": True}).images is None
    True
    """

    web_search: bool | None = None
    images: bool | None = None
    reasoning_efforts: tuple[str, ...] | None = None
    thoughts: bool | None = None

    @classmethod
    def from_catalogue(cls, stated: Mapping[str, Any] | None) -> ChatCapabilities:
        """Read `chat_capabilities`; a member of another shape counts as unsaid."""
        told = stated or {}
        efforts = told.get(assumptions.CHAT_EFFORTS_FIELD)
        return cls(
            web_search=_read_capability(told.get(assumptions.CHAT_WEB_SEARCH_FIELD)),
            images=_read_capability(told.get(assumptions.CHAT_IMAGES_FIELD)),
            reasoning_efforts=tuple(effort for effort in efforts if isinstance(effort, str))
            if isinstance(efforts, list | tuple)
            else None,
            thoughts=_read_capability(told.get(assumptions.CHAT_THOUGHTS_FIELD)),
        )


def _read_capability(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
