"""The typed catalogue: one function per known model, which returns a `GenerationRequest`.

    await session.generate(catalogue.kling_3_0("A red kite", duration=10, sound=False))

A function is named after the id of its model: `-` and `.` become `_`, and `4o-image` is `model_4o_image`. Its keyword
arguments are the params of the model, with their options and defaults; its docstring lists limits, rules for references
and the price. Values are converted as by `Model.coerce`. Params that are left out, or None, are not sent.

`ModelId` is the type of the known ids. `models()` returns the models themselves, without a request. The functions are
built at first use; type checkers and editors read `__init__.pyi`, which `python -m rivya_async.catalogue` writes.

>>> from rivya_async import catalogue
>>> catalogue.kling_3_0("A red kite", duration=10).params
{'duration': '10'}
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    value = import_module(".functions", __name__).resolve(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    names: list[str] = import_module(".functions", __name__).public_names()
    return names
