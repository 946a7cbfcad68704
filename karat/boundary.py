"""The public boundary: checks the types of arguments, and lets no library's error pass without a name and a remedy."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from karat.errors import KaratError, LibraryFailed, WrongCall

_Class = TypeVar("_Class", bound=type)
_NUMBERS: dict[object, type] = {int: numbers.Integral, float: numbers.Real}


def public_verbs(cls: _Class) -> _Class:
    """Guard every public method of a class: a wrong argument is a WrongCall, a library's error a LibraryFailed."""
    for name, verb in list(vars(cls).items()):
        if inspect.isfunction(verb) and not name.startswith("_"):
            setattr(cls, name, _guarded(verb))
    return cls


def _guarded(verb: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(verb)

    @wraps(verb)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise WrongCall(
                f"{verb.__name__}: {error}", remedy=f"call {verb.__name__}{_without_self(signature)}"
            ) from error
        check_types(verb, bound.arguments, verb.__name__)
        try:
            return verb(*args, **kwargs)
        except KaratError:
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":  # a panic of Rust is none
                raise
            raise _translated(error, verb.__name__, bound.arguments) from error

    return call


def _without_self(signature: inspect.Signature) -> str:
    return "(" + ", ".join(name for name in signature.parameters if name != "self") + ")"


def _translated(error: BaseException, verb: str, arguments: Mapping[str, Any]) -> LibraryFailed:
    lines = str(error).splitlines()
    library = type(error).__module__.partition(".")[0]
    said = f"{library}.{type(error).__name__}: {lines[0]}" if lines else f"{library}.{type(error).__name__}"
    named = ", ".join(repr(v) for k, v in arguments.items() if isinstance(v, str) and k != "self")
    return LibraryFailed(
        f"{verb} met an error that Karat has no rule for: {said}",
        where=f"{verb}({named})",
        remedy="check the types and values of what was given; the cause is chained to this error. If they are right, "
        "report it as a fault of Karat",
    )


@cache
def _hints(owner: Any) -> dict[str, Any]:
    return get_type_hints(owner)


def check_types(owner: Any, values: Mapping[str, Any], where: str) -> None:
    """Check values against the annotations of a function or class.

    Args:
        owner: The function or class.
        values: Name -> value.
        where: The call, for the error.

    Raises:
        WrongCall: A value is of another type than annotated.
    """
    hints = _hints(owner)
    for name, value in values.items():
        if name in hints and not _fits(value, hints[name]):
            wanted = inspect.formatannotation(hints[name]).replace("collections.abc.", "").replace("datetime.", "")
            raise WrongCall(
                f"{where}({name}={_short(value)}) is a {type(value).__name__}", where=where, remedy=f"give {wanted}"
            )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _fits(value: object, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:  # the verb itself says which one is near
        return any(type(value) is type(part) for part in parts)
    if origin is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(_fits(v, parts[0]) for v in value)
    if origin is Mapping:
        entries = value.items() if isinstance(value, Mapping) else ()
        return isinstance(value, Mapping) and all(_fits(k, parts[0]) and _fits(v, parts[1]) for k, v in entries)
    if hint is Any or not isinstance(hint, type) or getattr(hint, "_is_protocol", False):
        return True
    if hint in _NUMBERS:
        return isinstance(value, _NUMBERS[hint]) and not isinstance(value, bool)
    return isinstance(value, hint)
