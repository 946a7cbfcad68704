"""scikit-learn estimators in skops files. Nothing is unpickled, and only trusted types are loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TypeVar
from zipfile import ZIP_DEFLATED, BadZipFile

from karat.errors import UntrustedModel

#: scikit-learn's package over torch. Nothing of ours reads it, and it imports torch: 3 seconds and 300 MB.
_OVER_TORCH = "sklearn.externals.array_api_compat.torch"


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Make ``import module`` fail in the block, unless the module is loaded already."""
    absent = module not in sys.modules
    if absent:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules[module]


@cache
def skops_io() -> ModuleType:
    """``skops.io``, imported when the first estimator is saved or loaded.

    It imports every package of scikit-learn to list its types, which takes a quarter of the time in which a process
    with models starts.
    """
    with _without(_OVER_TORCH):
        import skops.io
    io: ModuleType = skops.io
    return io


Estimator = TypeVar("Estimator")
FILE = "estimator.skops"


def save(estimator: object, folder: Path) -> None:
    """Write ``estimator`` into ``folder``."""
    skops_io().dump(estimator, folder / FILE, compression=ZIP_DEFLATED, compresslevel=1)


def load(folder: Path, expected: type[Estimator], trusted: Sequence[str]) -> Estimator:
    """Read the estimator of ``folder``.

    Args:
        folder: Where ``save`` wrote.
        expected: The class that the file must hold.
        trusted: Types to trust besides those that skops trusts.

    Returns:
        The estimator.

    Raises:
        UntrustedModel: The file names other types, holds another class, or cannot be read.
    """
    path = folder / FILE
    try:
        others = set(skops_io().get_untrusted_types(file=path)) - set(trusted)
        if others:
            raise UntrustedModel(
                f"the model's file names types that a {expected.__name__} does not use: {', '.join(sorted(others))}",
                where=str(path),
                remedy="do not load it; find out who wrote it, and train the model again",
            )
        estimator = skops_io().load(path, trusted=list(trusted))
    except (OSError, BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UntrustedModel(
            f"the model's file can't be read as a {expected.__name__}: {error}",
            where=str(path),
            remedy="load a folder that Model.save has written, or train the model again",
        ) from error
    if type(estimator) is not expected:
        raise UntrustedModel(
            f"the model's file holds a {type(estimator).__name__}, not a {expected.__name__}", where=str(path)
        )
    return estimator
