"""Feature functions: features computed row by row from what the spine or a request brings and what was looked up."""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from pydantic import PrivateAttr, field_validator
from typing_extensions import override

from karat.declare.base import Declaration
from karat.dtypes import Dtype

_POSITIONAL = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLAIN = (bool, int, float, str, bytes, tuple, list, dict, set, frozenset, type(None))


class DeclaredFunction(Declaration):
    """A function of Polars Series, by parameter name, that gives a Series of the same length, row by row.

    ``source_hash`` is BLAKE2 over its source, that of the functions of its module that it calls, and the plain
    constants of the module that they name: models keep it, and scoring refuses a function with another one.
    ``dtype`` None takes the type of what it gives.
    """

    name: str
    function: Callable[..., object]
    dtype: Dtype | None = "float64"
    description: str = ""
    _hash: str = PrivateAttr("")

    @field_validator("function")
    @classmethod
    def _readable(cls, function: Callable[..., object]) -> Callable[..., object]:
        if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
            raise ValueError("write it as a function with def: models keep the hash of its source")
        if function.__closure__:
            names = ", ".join(function.__code__.co_freevars)
            raise ValueError(f"{function.__name__!r} reads {names} of the function around it; make them parameters")
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind not in _POSITIONAL:
                raise ValueError(f"{function.__name__!r} has the parameter {parameter}; name each parameter")
        return function

    @override
    def model_post_init(self, context: object) -> None:
        self._hash = source_hash(self.function)  # now: the file may change while the process runs

    @property
    def source_hash(self) -> str:
        """The hash of the function's source, as it was when the function was declared."""
        return self._hash

    @property
    def parameters(self) -> dict[str, bool]:
        """Parameter name -> whether it must be given."""
        found = inspect.signature(self.function).parameters.values()
        return {p.name: p.default is inspect.Parameter.empty for p in found}


def feature_function(
    name: str, function: Callable[..., object], *, dtype: Dtype = "float64", description: str = ""
) -> DeclaredFunction:
    """Declare ``function`` for the project's models and for ``FeatureFunction(udf_name=name)``."""
    return DeclaredFunction(name=name, function=function, dtype=dtype, description=description)


def source_hash(function: FunctionType | Callable[..., object]) -> str:
    """Hash a function's source, with the functions and constants of its module that it uses.

    Returns:
        32 hexadecimal digits.

    Raises:
        ValueError: The source can't be read, as of a function typed in a shell.
    """
    state = hashlib.blake2b(digest_size=16)
    for part in _meaning(function, set()):
        state.update(part.encode() + b"\x00")
    return state.hexdigest()


def _meaning(function: Any, seen: set[str]) -> Iterator[str]:
    seen.add(function.__qualname__)
    try:
        yield textwrap.dedent(inspect.getsource(function))
    except OSError as error:
        raise ValueError(f"the source of {function.__qualname__!r} can't be read; write it in a file") from error
    for name in sorted(_names(function.__code__)):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType):
            if value.__module__ == function.__module__ and value.__qualname__ not in seen:
                yield from _meaning(value, seen)
        elif name in function.__globals__ and isinstance(value, _PLAIN):
            # A set has no order of its own: its text would differ from process to process.
            shown = sorted(map(repr, value)) if isinstance(value, set | frozenset) else value
            yield f"{name} = {shown!r}"


def _names(code: CodeType) -> set[str]:
    inner = (c for c in code.co_consts if isinstance(c, CodeType))
    return set(code.co_names).union(*(_names(c) for c in inner))
