"""The public boundary: checks the types of arguments, and lets no library's error pass without a name and a remedy."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache, wraps
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from karat.errors import KaratError, LibraryFailed, WrongCall

_Class = TypeVar("_Class", bound=type)
_Verb = TypeVar("_Verb", bound=Callable[..., Any])
_NUMBERS: dict[object, type] = {int: numbers.Integral, float: numbers.Real}


def public_verbs(cls: _Class) -> _Class:
    """Guard every public method of a class: a wrong argument is a WrongCall, a library's error a LibraryFailed."""
    for name, verb in list(vars(cls).items()):
        if inspect.isfunction(verb) and not name.startswith("_"):
            setattr(cls, name, public_verb(verb))
    if "__init__" in vars(cls) and not is_dataclass(cls):
        setattr(cls, "__init__", public_verb(vars(cls)["__init__"], cls.__name__))  # noqa: B010 - mypy's, for a class
    return cls


def public_verb(verb: _Verb, name: str = "") -> _Verb:
    """Guard a function, as ``public_verbs`` does the methods of a class.

    Args:
        verb: The function.
        name: How a user calls it; by default its name.

    Returns:
        The guarded function.
    """
    signature, called = inspect.signature(verb), name or verb.__name__

    @wraps(verb)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise WrongCall(f"{called}: {error}", remedy=f"call {called}{_without_self(signature)}") from error
        check_types(verb, bound.arguments, called)
        try:
            return verb(*args, **kwargs)
        except KaratError:
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":  # a panic of Rust is none
                raise
            named = ", ".join(repr(v) for k, v in bound.arguments.items() if isinstance(v, str) and k != "self")
            raise library_failed(error, called, f"{called}({named})") from error

    return cast("_Verb", call)


def _without_self(signature: inspect.Signature) -> str:
    return "(" + ", ".join(name for name in signature.parameters if name != "self") + ")"


def library_failed(error: BaseException, verb: str, where: str) -> LibraryFailed:
    """The error that a user meets where Karat has no rule for a library's.

    Args:
        error: The library's error.
        verb: What the user called.
        where: The call with its arguments.

    Returns:
        The error to raise.
    """
    lines = str(error).splitlines()
    library = type(error).__module__.partition(".")[0]
    said = f"{library}.{type(error).__name__}: {lines[0]}" if lines else f"{library}.{type(error).__name__}"
    return LibraryFailed(
        f"{verb} met an error that Karat has no rule for: {said}",
        where=where,
        remedy="check the types and values of what was given; the cause is chained to this error. If they are right, "
        "report it as a fault of Karat",
    )


@cache
def _hints(owner: Any) -> dict[str, Any]:
    try:
        return get_type_hints(owner)
    except NameError:  # an annotation that type checkers alone resolve
        return {}


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
    if origin is Iterable:
        return isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if origin is tuple and Ellipsis not in parts:
        own = value if isinstance(value, tuple | list) else ()
        return len(own) == len(parts) and all(_fits(v, part) for v, part in zip(own, parts, strict=True))
    if origin is Mapping:
        entries = value.items() if isinstance(value, Mapping) else ()
        return isinstance(value, Mapping) and all(_fits(k, parts[0]) and _fits(v, parts[1]) for k, v in entries)
    if hint is Any or not isinstance(hint, type) or getattr(hint, "_is_protocol", False):
        return True
    if hint in _NUMBERS:
        return isinstance(value, _NUMBERS[hint]) and not isinstance(value, bool)
    return isinstance(value, hint)
