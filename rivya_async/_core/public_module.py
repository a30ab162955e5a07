"""The module that public classes show in tracebacks, reprs and pickles."""

from __future__ import annotations

import sys


def set_public_module(package: str, *classes: type) -> None:
    """Sets `__module__` of classes to the package that exports them.

    Their annotations are evaluated before, since `typing.get_type_hints`, attrs and cattrs would search the package for
    their names, which it does not define.
    """
    for cls in classes:
        namespace = vars(sys.modules[cls.__module__])
        if "__annotations__" in vars(cls):  # not those of a base class
            annotations = cls.__annotations__.items()
            cls.__annotations__ = {name: _evaluate(value, namespace) for name, value in annotations}
        cls.__module__ = package


def _evaluate(annotation: object, namespace: dict[str, object]) -> object:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, namespace)  # noqa: S307 - an annotation of this package
    except NameError:  # imported for type checkers only
        return annotation
