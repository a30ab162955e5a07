"""Writes `__init__.pyi`, the types of the catalogue: `python -m rivya_async.catalogue`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, Final

from .._core.catalogue.model import Model
from .functions import build_signature, describe, function_name, models, models_by_name, public_names

STUB: Final = Path(__file__).with_name("__init__.pyi")

HEAD: Final = '''\
"""The types of the catalogue. `python -m rivya_async.catalogue` writes this file from `models.json`."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from .._core.generation_request import GenerationRequest, Reference
from .functions import DialogueLine as DialogueLine
from .functions import models as models
'''


def build_stub() -> str:
    """Returns the text of the stub."""
    names = "".join(f'    "{name}",\n' for name in public_names())
    ids = "".join(f'    "{model_id}",\n' for model_id in models())
    parts = [HEAD, f"__all__ = [\n{names}]", f"ModelId: TypeAlias = Literal[\n{ids}]"]
    return "\n".join([*parts, *map(_function_text, models_by_name().values())])


def _function_text(model: Model) -> str:
    parameters = list(build_signature(model).parameters.values())
    lines = [_parameter_text(parameter) for parameter in parameters]
    lines.insert(1, "*")
    signature = "".join(f"    {line},\n" for line in lines)
    doc = "\n".join(f"    {line}" if line else "" for line in describe(model).replace("\\", "\\\\").splitlines())
    head = f"def {function_name(model.id)}(\n{signature}) -> GenerationRequest:"
    return f'\n{head}\n    """{doc.lstrip()}\n    """\n'


def _parameter_text(parameter: inspect.Parameter) -> str:
    text = f"{parameter.name}: {_type_text(parameter.annotation)}"
    return text if parameter.default is inspect.Parameter.empty else f"{text} = {parameter.default!r}"


def _type_text(annotation: Any) -> str:
    text = inspect.formatannotation(annotation)
    text = re.sub(r"(?:typing\.)?Union\[(.*), float\]", r"\1 | float", text)
    text = re.sub(r"Sequence\[.*DialogueLine\]", "Sequence[DialogueLine]", text)
    text = re.sub(r"Sequence\[.*FilePath.*\]", "Sequence[Reference]", text)
    return text.replace("collections.abc.", "").replace("typing.", "")


if __name__ == "__main__":
    STUB.write_text(build_stub(), encoding="utf-8")
